"""Which code each stage runs: modules of ours, whose imports are followed, and packages and folders of others."""

from __future__ import annotations

from collections.abc import Iterable

from greenlight.api import Implementation
from greenlight.code import Code
from greenlight.plugins import Reference
from greenlight.provenance import FIRST_PARTY


def code_of(
    stage: Iterable[str], plugin: Reference, every: Iterable[Implementation], run: Iterable[Implementation]
) -> Code:
    """The code of a stage of a model.

    Args:
        stage: the modules that it runs.
        plugin: where the model's plug-in is.
        every: all implementations of the model, whose modules count.
        run: those that the stage runs, whose packages and folders count too.
    """
    beside = plugin.file.absolute().parent if plugin.file is not None else None
    own = plugin.file.stem if plugin.file is not None else plugin.module
    modules = [own, *(entry.target.rpartition(":")[0] or own for entry in every)]
    run = list(run)
    packages = [name for entry in run for name in entry.packages]
    followed: list[str] = []
    for module in modules:
        top = module.split(".")[0]
        ours = top in FIRST_PARTY or (beside is not None and any((beside / n).exists() for n in (top, f"{top}.py")))
        (followed if ours else packages).append(module if ours else top)
    return Code(
        tuple(dict.fromkeys((*stage, *followed))),
        str(beside) if beside is not None else None,
        tuple(dict.fromkeys(packages)),
        tuple(dict.fromkeys(pair for entry in run for pair in entry.folders.items())),
    )
