"""Which code each stage runs: modules of ours, whose imports are followed, and packages and folders of others."""

from __future__ import annotations

from collections.abc import Iterable

from greenlight.api import Implementation
from greenlight.code import Code
from greenlight.plugins import Reference
from greenlight.provenance import FIRST_PARTY

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


def code_of(stage: str, plugin: Reference, every: Iterable[Implementation], run: Iterable[Implementation]) -> Code:
    """The code of a stage of a model.

    Args:
        plugin: where the model's plug-in is.
        every: all implementations of the model, whose modules count.
        run: those that the stage runs, whose packages and folders count too.
    """
    beside = plugin.file.absolute().parent if plugin.file is not None else None
    own = plugin.file.stem if plugin.file is not None else plugin.module
    modules = [own, *(entry.target.rpartition(":")[0] or own for entry in every)]
    run = list(run)
    packages = [name for entry in run for name in entry.packages]
    followed = []
    for module in modules:
        top = module.split(".")[0]
        ours = top in FIRST_PARTY or (beside is not None and any((beside / n).exists() for n in (top, f"{top}.py")))
        (followed if ours else packages).append(module if ours else top)
    return Code(
        tuple(dict.fromkeys((*STAGE_MODULES[stage], *followed))),
        str(beside) if beside is not None else None,
        tuple(dict.fromkeys(packages)),
        tuple(dict.fromkeys(pair for entry in run for pair in entry.folders.items())),
    )
