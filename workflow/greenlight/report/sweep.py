"""Speed, memory and cost by size, and from which batch another variant is the fastest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.report.drawing import canvas, label, look_of
from greenlight.report.formats import NONE, mebibytes, significant
from greenlight.report.markup import anchor
from greenlight.report.render import data_uri, html_page, markdown_page
from greenlight.statistics.intervals import Interval, log_ratio_interval

AXES = {
    "windows": "windows in a call",
    "contexts": "rows of context",
    "horizons": "rows of horizon",
    "samples": "sample paths",
}


@dataclass(frozen=True)
class Point:
    """A variant in one size.

    Attributes:
        axis: which of AXES moves; value: its size.
        windows: in a call, as were measured: fewer than asked where memory ran out.
        seconds: of a call, median with bounds over calls, widened to hold each process's own; None where one failed.
        first_call: seconds of the first call with its compilation, the longest.
        memory: bytes at the peak, on the device where there is one, the largest.
        problem: how a process ended that did not succeed, or that it took fewer windows; empty where all went well.
    """

    model: str
    variant: str
    axis: str
    value: int
    windows: int
    seconds: Interval | None
    first_call: float | None
    memory: int | None
    problem: str

    @property
    def throughput(self) -> float | None:
        """Windows a second."""
        return None if self.seconds is None else self.windows / self.seconds.estimate

    def cost(self, price_per_hour: float | None) -> float | None:
        """Of 1,000 windows, where an hour has a price."""
        if self.throughput is None or price_per_hour is None:
            return None
        return 1000 / self.throughput / 3600 * price_per_hour


def point_of(
    model: str, variant: str, axis: str, value: int, asked: int, trials: Sequence[Mapping[str, Any]], alpha: float
) -> Point:
    """A point from the trials of its processes, with bounds of each rate `alpha`.

    Args:
        asked: windows in a call that were asked for.
    """
    good = [trial for trial in trials if trial["kind"] == "ok"]
    windows = {int(trial["sizes"]["timed_windows"]) for trial in good}
    problems = [f"{trial['kind']}: {trial['message']}" for trial in trials if trial["kind"] != "ok"]
    if windows - {asked}:
        problems.append(f"memory was enough for {min(windows)} windows in a call")
    if problems or not good:
        return Point(model, variant, axis, value, asked, None, None, None, "; ".join(dict.fromkeys(problems)))
    results = [trial["result"] for trial in good]
    logs = np.log(np.concatenate([result["seconds"] for result in results]))
    process = np.repeat(range(len(results)), [len(result["seconds"]) for result in results])
    interval = log_ratio_interval(logs, process, alpha)[0].scaled(np.exp)
    memory = [result["device_peak_bytes"] or result["peak_memory_bytes"] for result in results]
    first = max(result["first_call_seconds"] for result in results)
    return Point(model, variant, axis, value, asked, interval, first, max(memory, default=None), "")


@dataclass(frozen=True)
class Fastest:
    """Of a model and a batch: the variants that are not shown to be slower than another, the fastest first."""

    batch: int
    variants: tuple[str, ...]

    @property
    def shown(self) -> str | None:
        """The fastest, where it is told apart from all others."""
        return self.variants[0] if len(self.variants) == 1 else None


def fastest_by_batch(points: Iterable[Point]) -> list[Fastest]:
    """By batch, ascending; bounds that do not overlap tell two variants apart."""
    own = sorted((p for p in points if p.axis == "windows" and p.seconds is not None), key=lambda p: p.value)
    found = []
    for batch, group in groupby(own, key=lambda p: p.value):
        at_batch = sorted(group, key=lambda p: p.seconds.estimate if p.seconds else math.inf)
        best = at_batch[0].seconds
        assert best is not None
        near = [p.variant for p in at_batch if p.seconds is not None and p.seconds.lower <= best.upper]
        found.append(Fastest(batch, tuple(near)))
    return found


def decision(fastest: Sequence[Fastest]) -> str:
    """From which batch which variant is the fastest, in a sentence."""
    if not fastest:
        return "no batch was measured"
    told: list[str] = []
    for variants, group in groupby(fastest, key=lambda own: own.variants if own.shown is None else own.variants[:1]):
        batches = [own.batch for own in group]
        where = f"at {batches[0]}" if len(batches) == 1 else f"from {batches[0]} to {batches[-1]}"
        who = variants[0] if len(variants) == 1 else f"not told apart: {', '.join(sorted(variants))}"
        told.append(f"{where} windows in a call {who}")
    shown = [own.shown for own in fastest if own.shown]
    changed = next((own.batch for own in fastest if own.shown and own.shown != shown[0]), None)
    head = "is not shown to change with the batch" if changed is None else f"changes at {changed} windows in a call"
    return f"the fastest variant {head}: {'; '.join(told)}"


@dataclass(frozen=True)
class Sweep:
    """A whole sweep.

    Attributes:
        base: the sizes that do not move.
        left_out: (model variant, why) of what was not swept.
    """

    when: str
    commit: str
    device: str
    base: Mapping[str, int]
    price_per_hour: float | None
    processes: int
    calls: int
    points: tuple[Point, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def models(self) -> dict[str, dict[str, list[Point]]]:
        """By model and axis, in the order in which they were measured."""
        found: dict[str, dict[str, list[Point]]] = {}
        for point in self.points:
            found.setdefault(point.model, {}).setdefault(point.axis, []).append(point)
        return found

    @property
    def decisions(self) -> dict[str, str]:
        """By model, its sentence."""
        return {model: decision(fastest_by_batch(own.get("windows", []))) for model, own in self.models.items()}

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"format": 1, **asdict(self), "decisions": self.decisions}


def draw(sweep: Sweep, folder: Path) -> dict[tuple[str, str], Path]:
    """A picture of each model and axis that has two sizes: windows a second; where they lie."""
    drawn = {}
    for model, axes in sweep.models.items():
        for axis, points in axes.items():
            good = [point for point in points if point.seconds is not None]
            if len({point.value for point in good}) > 1:
                path = folder / f"{anchor(model, axis)}.svg"
                _draw(path, good, AXES[axis])
                drawn[model, axis] = path
    return drawn


def _draw(path: Path, points: Sequence[Point], title: str) -> None:
    with canvas(path, 6.4, 3.0) as (figure, (axes,)):
        for number, variant in enumerate(dict.fromkeys(point.variant for point in points)):
            own = sorted((point for point in points if point.variant == variant), key=lambda point: point.value)
            color, marker, line = look_of(number)
            values = np.array([point.throughput for point in own], dtype=float)
            ends = [[p.windows / (p.seconds.upper, p.seconds.lower)[end] for p in own if p.seconds] for end in (0, 1)]
            error = np.abs(np.where(np.isfinite(ends), ends, [values, values]) - values)
            look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": line, "markersize": 5, "capsize": 3}
            axes.errorbar([point.value for point in own], values, yerr=error, label=label(variant, 40), **look)
        sizes = sorted({point.value for point in points})
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel(title)
        axes.set_ylabel("windows a second")
        figure.legend(loc="outside upper right", ncols=2)


def rows(sweep: Sweep) -> list[dict[str, Any]]:
    """The table: texts, and the values by which they sort."""
    return [
        {
            "point": point,
            "milliseconds": NONE if point.seconds is None else significant(1000 * point.seconds.estimate),
            "bounds": _bounds(point),
            "throughput": point.throughput,
            "cost": point.cost(sweep.price_per_hour),
            "memory": mebibytes(point.memory),
        }
        for point in sweep.points
    ]


def _bounds(point: Point) -> str:
    if point.seconds is None:
        return NONE
    ends = (point.seconds.lower, point.seconds.upper)
    return " to ".join(significant(1000 * end) if 0 < end < math.inf else "unbounded" for end in ends)


def sweep_html(sweep: Sweep, figures: Mapping[tuple[str, str], Path]) -> str:
    """The page as one HTML file that fetches nothing."""
    sources = {key: data_uri(path) for key, path in figures.items()}
    return html_page("sweep.html.jinja", ["report"], sweep=sweep, rows=rows(sweep), sources=sources, axes=AXES)


def sweep_markdown(sweep: Sweep, figures: Mapping[tuple[str, str], str]) -> str:
    """The same as Markdown; figures by their paths relative to it."""
    return markdown_page("sweep.md.jinja", sweep=sweep, rows=rows(sweep), figures=figures, axes=AXES)
