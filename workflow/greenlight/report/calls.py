"""The call as production makes it: shapes, threads and a soak of each variant, as the report shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from greenlight.report.reading import at, number

LISTED = 60


@dataclass(frozen=True)
class ShapeRow:
    """One shape of a sweep; None where a figure is not known.

    Attributes:
        name: such as `96 → 16, 2 windows, 16 samples`.
        compiled: frames compiled at the first call; again: in the second pass.
        first, second: seconds of the first call and of that in the second pass.
        error: the largest of the quantities' RMS errors against float64, as a share of their RMS value.
        parted: share of the sample paths that part from the eager ones.
    """

    name: str
    compiled: int | None
    again: int | None
    first: float | None
    second: float | None
    error: float | None
    parted: float | None


@dataclass(frozen=True)
class Calls:
    """What calls of a variant as production makes them found.

    Attributes:
        shapes: a row each, at most LISTED; more: how many are not listed.
        sentences: about threads and soak.
    """

    model: str
    variant: str
    shapes: tuple[ShapeRow, ...]
    more: int
    sentences: tuple[str, ...]


def calls_of(
    probed: Mapping[tuple[str, str], dict[str, Any]], called: Mapping[tuple[str, str], dict[str, Any]]
) -> Iterator[Calls]:
    """One entry for each variant that was called as production calls it.

    Args:
        probed, called: by (model, variant), the result of its probe, and of its call trial.
    """
    for model, variant in {**probed, **called}:
        own, result = (found.get((model, variant), {}) for found in (probed, called))
        rows = [_row(shape) for shape in at(result, "shapes", kind=list, default=[])]
        sentences = (*_of_threads(own), *_of_soak(result))
        if rows or sentences:
            yield Calls(model, variant, tuple(rows[:LISTED]), max(0, len(rows) - LISTED), sentences)


def _row(shape: Any) -> ShapeRow:
    sizes = [at(shape, name, kind=int, default="?") for name in ("context", "horizon", "batch", "samples")]
    paths, parted = number(shape, "agreement", "paths"), number(shape, "agreement", "parted")
    errors = [
        error / (number(quantity, "scale") or 1.0)
        for quantity in at(shape, "quantities", kind=list, default=[])
        if at(quantity, "kind") == "float" and (error := number(quantity, "error_variant")) is not None
    ]
    return ShapeRow(
        name="{} → {}, {} windows, {} samples".format(*sizes),
        compiled=at(shape, "first", "compiled", kind=int),
        again=at(shape, "again", "compiled", kind=int),
        first=number(shape, "first", "seconds"),
        second=number(shape, "again", "seconds"),
        error=max(errors, default=None),
        parted=parted / paths if paths and parted is not None else None,
    )


def _of_threads(result: Mapping[str, Any]) -> Iterator[str]:
    together = at(result, "together", kind=dict, default={})
    alone, beside = (_numbers(together, f"seconds_{name}") for name in ("alone", "together"))
    if alone and beside:
        wall = number(together, "wall_seconds")
        yield (
            f"{at(together, 'threads', default='?')} threads on one object: p50 {1000 * median(beside):.3g} ms beside "
            f"each other, {1000 * median(alone):.3g} ms alone"
            + (f"; {sum(alone) / wall:.2f} times as many calls a second" if wall else "")
        )


def _of_soak(result: Mapping[str, Any]) -> Iterator[str]:
    soak = at(result, "soak", kind=dict, default={})
    seconds = _numbers(soak, "seconds")
    if seconds:
        memory = _numbers(soak, "memory_readings") or [0.0]
        yield (
            f"soak of {at(soak, 'calls', default='?')} calls: p50 {1000 * median(seconds):.3g} ms, slowest "
            f"{1000 * max(seconds):.3g} ms, memory {(memory[-1] - memory[0]) / 2**20:+.1f} MiB from first to last"
        )


def _numbers(value: Mapping[str, Any], key: str) -> list[float]:
    listed = at(value, key, kind=list, default=[])
    found = [number(listed, index) for index in range(len(listed))]
    return [one for one in found if one is not None]
