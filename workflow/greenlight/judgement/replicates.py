"""Errors with further seeds, as a `replicate` trial left them, held against what the run expected of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from greenlight.judgement.comparison import look_at
from greenlight.judgement.expected import Expected
from greenlight.judgement.records import ReplicateErrors, ReplicateResult


@dataclass(frozen=True)
class Replicates:
    """Errors of a variant (`own`) and of its partner (`other`), [further seeds, windows] by name of the error; windows
    in the order of `Expected.rows()`.
    """

    own: dict[str, np.ndarray]
    other: dict[str, np.ndarray]


def read_replicates(
    result: ReplicateResult, expected: Expected, model: str, variant: str
) -> tuple[Replicates | None, list[str]]:
    """The errors, and problems in words; None where there is any."""
    asked, entry = expected.models[model].variants[variant].jobs["replicate"], expected.models[model]
    problems = []
    if result.partner != entry.partner(variant):
        problems.append(f"the errors are held against {result.partner}, expected {entry.partner(variant)}")
    if result.windows != [f"{symbol}/{window}" for symbol, window in expected.rows()]:
        problems.append("the windows are not those of the run, each once and in their order")
    if result.looks != asked.looks:
        problems.append(f"there were {result.looks} looks, expected {asked.looks}")
    if look_at(1 + len(result.seeds), asked.looks) != result.look:
        problems.append(f"{len(result.seeds)} further seeds are not those of look {result.look} of {asked.looks}")
    if expected.seed is not None and result.seeds != [expected.seed + 1 + i for i in range(len(result.seeds))]:
        problems.append(f"the seeds are not those that follow {expected.seed}, each once and in their order")
    if absent := [name for name in expected.errors if None in (getattr(result.own, name), getattr(result.other, name))]:
        problems.append(f"the errors {', '.join(absent)} are missing")
    if problems:
        return None, problems
    arms = (_arrays(arm, expected.errors, len(result.windows)) for arm in (result.own, result.other))
    return Replicates(*arms), []


def _arrays(arm: ReplicateErrors, errors: Iterable[str], windows: int) -> dict[str, np.ndarray]:
    return {name: np.array(getattr(arm, name), dtype=np.float64).reshape(-1, windows) for name in errors}
