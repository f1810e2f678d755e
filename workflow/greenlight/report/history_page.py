"""history.html: every figure of every variant over all archived runs, with the steps found in them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from greenlight.report.history import FALSE_ALARMS, METRICS, History, Series, Step
from greenlight.report.markup import anchor
from greenlight.report.render import html_page

WIDTH, HEIGHT, MARGIN = 320.0, 96.0, 6.0


@dataclass(frozen=True)
class Chart:
    """A series as it is drawn; lengths in units of the picture.

    Attributes:
        points: path of a dot a run; levels: path of a line a level; cuts: where steps stand, left to right.
        low, high: the ends of the scale, as text.
        told: JSON of what a cursor on the chart says, run by run.
    """

    series: Series
    points: Markup
    levels: Markup
    cuts: list[float]
    low: str
    high: str
    told: str

    @property
    def label(self) -> str:
        """What the chart shows, for those who can't see it."""
        series, last = self.series, self.series.levels[-1]
        steps = "; ".join(f"since {step.first.when} {step.words}" for step in series.steps) or "no step"
        return (
            f"{series.metric.title} of {series.model} {series.variant} on {series.machine}, {len(series.values)} runs, "
            f"{series.metric.text(last.median)} now; {steps}"
        )


def history_html(history: History, archive: str) -> str:
    """The page.

    Args:
        archive: the archive's folder relative to the page, for links to reports.
    """
    charts: dict[str, dict[str, list[Chart]]] = {}
    for series in history.series:
        own = charts.setdefault(series.machine, {}).setdefault(f"{series.model} {series.variant}", [])
        own.append(_chart(series))
    ids = {step_id(step): step for step in history.steps}
    about = {"alarms": FALSE_ALARMS, "metrics": METRICS, "steps": ids, "step_id": step_id, "size": (WIDTH, HEIGHT)}
    looks = ["report", "history"]
    return html_page("history.html.jinja", looks, history=history, charts=charts, archive=archive, **about)


def step_id(step: Step) -> str:
    """A fragment by which a step is linked."""
    series = step.series
    return anchor("step", series.machine, series.model, series.variant, series.metric.name, step.first.folder)


def _chart(series: Series) -> Chart:
    values = np.array(series.values)
    low, high = float(values.min()), float(values.max())
    # At least 2% from bottom to top, so that rounding does not look like a change.
    spare = max(0.0, 0.01 * (low + high) / 2 - (high - low) / 2)
    low, high = low - spare, high + spare
    x = np.linspace(MARGIN, WIDTH - MARGIN, len(values)) if len(values) > 1 else np.array([WIDTH / 2])
    half = (x[1] - x[0]) / 2 if len(x) > 1 else MARGIN

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    points = "".join(f"M{across:.1f} {y(value):.1f}h0" for across, value in zip(x, values, strict=True))
    levels = "".join(
        f"M{max(0.0, x[level.start] - half):.1f} {y(level.median):.1f}H{min(WIDTH, x[level.stop - 1] + half):.1f}"
        for level in series.levels
    )
    cuts = [round(float(x[level.start] - half), 1) for level in series.levels[1:]]
    told = [
        f"{run.when}, commit {run.commit}: {series.metric.text(value)}"
        for run, value in zip(series.runs, values, strict=True)
    ]
    lowest, highest = (series.metric.text(float(value)) for value in (values.min(), values.max()))
    return Chart(series, Markup(points), Markup(levels), cuts, lowest, highest, json.dumps(told, ensure_ascii=False))
