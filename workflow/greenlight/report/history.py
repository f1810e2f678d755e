"""Archived runs: a table with the changes from run to run, and the steps in every figure of every variant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from greenlight.judgement.seal import SEAL
from greenlight.report.archive import read_archived
from greenlight.report.formats import mebibytes, milliseconds, seconds, significant
from greenlight.report.reading import at
from greenlight.report.variants import VariantRow, variant_row
from greenlight.statistics.steps import Level, find_levels

# Of pages in which nothing ever changed, at most this share shows any step.
FALSE_ALARMS = 0.05


@dataclass(frozen=True)
class Metric:
    """A figure that is followed over runs.

    Attributes:
        name: of the figure in `VariantRow`, or of its estimate.
        title: as a heading; noun: in a sentence.
        grows: what a variant does whose figure is larger now, such as `slower`; shrinks: the same of a smaller one.
        worse: the sign of a change for the worse.
        smallest: relative change below which a step is left out.
    """

    name: str
    title: str
    noun: str
    grows: str
    shrinks: str
    worse: int
    smallest: float

    def of(self, row: VariantRow) -> float | None:
        """The figure of a variant; None where it was not measured, or can't be followed."""
        value = getattr(row, self.name)
        value = getattr(value, "value", value)
        return value if value is not None and math.isfinite(value) and value > 0 else None

    def text(self, value: float) -> str:
        """The figure with its unit."""
        match self.name:
            case "mae_percent":
                return f"{significant(value)}%"
            case "median_seconds":
                return f"{milliseconds(value)} ms"
            case "cold":
                return seconds(value)
            case "peak_memory":
                return mebibytes(int(value))
        return significant(value)


METRICS = (
    Metric("mae_percent", "MAE, % of price", "MAE", "larger errors", "smaller errors", 1, 0.005),
    Metric("speedup", "Speedup over the reference", "speedup", "faster", "slower", -1, 0.03),
    Metric("median_seconds", "p50 of a call", "p50", "longer calls", "shorter calls", 1, 0.05),
    Metric("cold", "Cold start", "cold start", "longer cold start", "shorter cold start", 1, 0.1),
    Metric("peak_memory", "Peak memory", "peak memory", "more memory", "less memory", 1, 0.02),
)
# The figures of the table of runs, with the titles of their trends.
FOLLOWED = {"mae_percent": "MAE, % of price", "speedup": "speedup over the reference", "median_seconds": "p50, s"}


@dataclass(frozen=True)
class ArchivedRun:
    """One archived run.

    Attributes:
        page: its report, relative to the archive's folder.
        machine: the platform's id; rows: by (model, variant).
        judged: by model, the variant that was judged; "" where none passed.
        made_with: what figures depend on besides code, by name: a change of one explains a step.
    """

    folder: str
    time: str
    commit: str
    verdict: str
    page: str
    machine: str
    rows: dict[tuple[str, str], VariantRow]
    judged: dict[str, str]
    made_with: dict[str, Any]

    @property
    def when(self) -> str:
        """Its time to the minute, for people."""
        return self.time[:16].replace("T", " ")


@dataclass(frozen=True)
class Line:
    """A model in one archived run, by the variant that was judged; "" where none passed.

    Attributes:
        figures: FOLLOWED by name; None where it was not measured.
        changes: of each against the run before that has it, as a share.
    """

    run: ArchivedRun
    variant: str
    figures: dict[str, float | None]
    changes: dict[str, float | None]


@dataclass(frozen=True)
class Series:
    """A figure of one variant on one machine: the runs that have it, oldest first, and its levels."""

    machine: str
    model: str
    variant: str
    metric: Metric
    runs: tuple[ArchivedRun, ...]
    values: tuple[float, ...]
    levels: tuple[Level, ...]

    @property
    def steps(self) -> list[Step]:
        """Where it stepped, oldest first."""
        return [Step(self, *pair) for pair in zip(self.levels, self.levels[1:], strict=False)]


@dataclass(frozen=True)
class Step:
    """A figure that is at another level since a run."""

    series: Series
    level_before: Level
    level: Level

    @property
    def first(self) -> ArchivedRun:
        """The first run at the new level."""
        return self.series.runs[self.level.start]

    @property
    def before(self) -> ArchivedRun:
        """The last run at the old level."""
        return self.series.runs[self.level.start - 1]

    @property
    def worse(self) -> bool:
        """Whether it is a change for the worse."""
        return (self.level.median > self.level_before.median) == (self.series.metric.worse > 0)

    @property
    def words(self) -> str:
        """Such as `1.31 times slower (speedup 4.20 to 3.21)`."""
        metric, then, now = self.series.metric, self.level_before.median, self.level.median
        factor = max(now / then, then / now)
        many = f"{factor:.2f}" if factor >= 1.02 else f"{factor:.3f}"
        how = metric.grows if now > then else metric.shrinks
        return f"{many} times {how} ({metric.noun} {metric.text(then)} to {metric.text(now)})"

    @property
    def changed_with(self) -> list[str]:
        """What else is not as in the run before, besides code: weights, settings, data, versions."""
        then, now = self.before.made_with, self.first.made_with
        return [name for name in now if then.get(name) != now[name]]


@dataclass(frozen=True)
class History:
    """All archived runs.

    Attributes:
        every: the runs, oldest first.
        broken: (folder, what is wrong) of archived runs that can't be trusted.
    """

    every: list[ArchivedRun]
    broken: list[tuple[str, str]]

    @property
    def runs(self) -> int:
        """How many there are."""
        return len(self.every)

    @property
    def machines(self) -> list[str]:
        """The machines, by name."""
        return sorted({run.machine for run in self.every})

    @property
    def models(self) -> list[str]:
        """The models, by name."""
        return sorted({model for run in self.every for model in run.judged})

    def lines(self, model: str) -> list[Line]:
        """The table of a model, newest first."""
        lines, last = [], dict[str, float]()
        for run in self.every:
            if model in run.judged:
                variant = run.judged[model]
                figures = _figures(run.rows.get((model, variant)))
                known = {name: figure for name, figure in figures.items() if figure is not None}
                changes = {
                    name: known[name] / last[name] - 1 if name in known and last.get(name) else None for name in figures
                }
                lines.append(Line(run, variant, figures, changes))
                last |= known
        return lines[::-1]

    @cached_property
    def series(self) -> list[Series]:
        """Every figure of every variant on every machine that two runs have, with its levels."""
        found = list(self._measured())
        rate = FALSE_ALARMS / max(1, len(found))
        return [
            Series(machine, model, variant, metric, runs, values, tuple(find_levels(values, rate, metric.smallest)))
            for (machine, model, variant), metric, runs, values in found
        ]

    def _measured(self) -> Iterator[tuple[tuple[str, str, str], Metric, tuple[ArchivedRun, ...], tuple[float, ...]]]:
        for machine in self.machines:
            runs = [run for run in self.every if run.machine == machine]
            for model, variant in dict.fromkeys(name for run in runs for name in run.rows):
                for metric in METRICS:
                    own = [(run, metric.of(run.rows[model, variant])) for run in runs if (model, variant) in run.rows]
                    own = [(run, value) for run, value in own if value is not None]
                    if len(own) > 1:
                        runs_with, values = zip(*own, strict=True)
                        yield (machine, model, variant), metric, runs_with, values

    @property
    def steps(self) -> list[Step]:
        """All steps, the newest first."""
        return sorted((step for series in self.series for step in series.steps), key=_order, reverse=True)


def _order(step: Step) -> tuple[str, bool]:
    return step.first.time, step.worse


def _figures(row: VariantRow | None) -> dict[str, float | None]:
    """FOLLOWED of a variant; the reference is as fast as itself."""
    found = {name: getattr(row, name, None) for name in FOLLOWED}
    figures = {name: getattr(value, "value", value) for name, value in found.items()}
    return figures | ({"speedup": 1.0} if row is not None and row.is_reference else {})


def read_history(archive: Path) -> History:
    """Read every archived run, oldest first; a folder that can't be trusted is listed, not used."""
    broken, runs, seen = [], [], dict[str, str]()
    for folder in sorted(archive.glob("*")) if archive.is_dir() else []:
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        try:
            found = read_archived(folder)
            if (first := seen.setdefault(found["manifest"][SEAL], folder.name)) != folder.name:
                raise ValueError(f"it is a copy of {first}, which is counted. Delete it")
            runs.append(_run(folder.name, found))
        except ValueError as error:
            broken.append((folder.name, str(error)))
    return History(sorted(runs, key=lambda run: (run.time, len(run.folder), run.folder)), broken)


def _run(folder: str, found: dict[str, dict[str, Any]]) -> ArchivedRun:
    manifest, verdict, expected = (found[name] for name in ("manifest", "verdict", "expected"))
    rows, judged, weights = {}, {}, {}
    for model, entry in at(verdict, "models", kind=dict, default={}).items():
        judged[model] = at(entry, "decision", "judged", kind=str, default="")
        reference = at(expected, "models", model, "reference", kind=str)
        for variant in at(entry, "variants", kind=dict, default={}):
            rows[model, variant] = variant_row(verdict, model, variant, reference)
        weights[model] = at(expected, "models", model, "weights_hash")
    data = {name: at(entry, "data_hash") for name, entry in at(expected, "symbols", kind=dict, default={}).items()}
    platform = at(expected, "platform", kind=dict, default={})
    made_with = {"weights": weights, "settings": expected.get("settings_hash"), "data": data, "machine": platform}
    when, commit, word = (str(manifest.get(key, "")) for key in ("time", "commit", "verdict"))
    files = at(manifest, "files", kind=dict, default={})
    page = f"{folder}/{'report.html' if 'report.html' in files else 'report.md'}"
    return ArchivedRun(folder, when, commit, word, page, str(platform.get("id", "unknown")), rows, judged, made_with)
