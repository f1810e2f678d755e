"""Which modules each stage runs: their imports, followed, are the code that its result depends on."""

from __future__ import annotations

from greenlight.models.registry import MODELS
from greenlight.stages.job import Job

TRIAL_STAGES = ("compile", "predict", "probe", "repeat", "time", "replicate")
SUPERVISOR = "greenlight.trials.supervisor"
# The modules that a stage runs, what it starts by name included; their imports are followed.
STAGE_MODULES = {
    "prepare": ("greenlight.stages.prepare",),
    "weights": ("greenlight.stages.weights",),
    "clear": ("greenlight.stages.clear",),
    "compile": ("greenlight.stages.compile_variant", "greenlight.stages.children.warm_up", SUPERVISOR),
    "predict": ("greenlight.stages.predict", "greenlight.stages.children.forecast", SUPERVISOR),
    "probe": ("greenlight.stages.probe", "greenlight.stages.children.numerics", SUPERVISOR),
    "repeat": ("greenlight.stages.repeat", "greenlight.stages.children.repetition", SUPERVISOR),
    "time": ("greenlight.stages.time_variant", "greenlight.stages.children.latency", SUPERVISOR),
    "score": ("greenlight.stages.score",),
    "replicate": ("greenlight.stages.replicate", "greenlight.stages.children.replication", SUPERVISOR),
    "expect": ("greenlight.stages.expect",),
    "diff": ("greenlight.stages.diff",),
    "judge": ("greenlight.stages.judge",),
    "report": ("greenlight.stages.report",),
    "archive": ("greenlight.stages.archive",),
    "gate": ("greenlight.stages.gate",),
}


def modules_of(job: Job) -> tuple[tuple[str, ...], list[str]]:
    """(modules that a job runs, packages left out because they are a model's that the job does not run)."""
    others = [f"greenlight.models.{name}" for name in MODELS if name != job.get("model")]
    return STAGE_MODULES[job["stage"]], others
