"""Which modules each stage runs: their imports, followed, are the code that its result depends on."""

from __future__ import annotations

from greenlight.plugins import MODELS
from greenlight.run.job import Job

TRIAL_STAGES = ("compile", "predict", "probe", "repeat", "time", "replicate")
SUPERVISOR = "greenlight.trials.supervisor"
# The modules that a stage runs, what it starts by name included; their imports are followed.
STAGE_MODULES = {
    "prepare": ("greenlight.run.stages.prepare",),
    "weights": ("greenlight.run.stages.weights",),
    "clear": ("greenlight.run.stages.clear",),
    "compile": ("greenlight.run.stages.compile_variant", "greenlight.run.children.warm_up", SUPERVISOR),
    "predict": ("greenlight.run.stages.predict", "greenlight.run.children.forecast", SUPERVISOR),
    "probe": ("greenlight.run.stages.probe", "greenlight.run.children.numerics", SUPERVISOR),
    "repeat": ("greenlight.run.stages.repeat", "greenlight.run.children.repetition", SUPERVISOR),
    "time": ("greenlight.run.stages.time_variant", "greenlight.run.children.latency", SUPERVISOR),
    "score": ("greenlight.run.stages.score",),
    "replicate": ("greenlight.run.stages.replicate", "greenlight.run.children.replication", SUPERVISOR),
    "expect": ("greenlight.run.stages.expect",),
    "diff": ("greenlight.run.stages.diff",),
    "judge": ("greenlight.run.stages.judge",),
    "report": ("greenlight.run.stages.report",),
    "archive": ("greenlight.run.stages.archive",),
    "gate": ("greenlight.run.stages.gate",),
}


def modules_of(job: Job) -> tuple[tuple[str, ...], list[str]]:
    """(modules that a job runs, packages left out because they are a model's that the job does not run)."""
    others = [f"greenlight_forecasters.{name}" for name in MODELS if name != job.get("model")]
    return STAGE_MODULES[job["stage"]], others
