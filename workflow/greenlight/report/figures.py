"""The pictures of the report. Importing this imports matplotlib, so only the stages that draw do.

Nothing is told by colour alone: every series has its own marker or line style, and a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, ScalarFormatter

from greenlight.report.drawing import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    canvas,
    label,
    look_of,
    seconds_unit,
)

SYMBOLS_BY_NAME = 40
CALLS_DRAWN = 60


@dataclass(frozen=True)
class ForecastCase:
    """One window as it is drawn; times are datetime64[ns], prices in the symbol's own unit.

    Attributes:
        title: what the window is.
        context_times, context: [rows] the last rows that the model saw.
        times, actual: [horizon] the outcome.
        median, low, high: [horizon] the forecast's 50%, 10% and 90% quantiles.
        other: [horizon] the median of the reference; None where that is what is drawn.
    """

    title: str
    context_times: np.ndarray
    context: np.ndarray
    times: np.ndarray
    actual: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    other: np.ndarray | None


@dataclass(frozen=True)
class Latencies:
    """Seconds of the calls of a variant, and of the reference in the same pairs; [pairs] each."""

    variant: str
    seconds: np.ndarray
    reference_seconds: np.ndarray


@dataclass(frozen=True)
class Speedup:
    """Speedup over the reference with its interval, and the A/A bounds (eager over eager); None where unknown."""

    variant: str
    value: float
    lower: float | None
    upper: float | None
    noise: tuple[float, float] | None


def draw_forecasts(path: Path, cases: Sequence[ForecastCase], variant: str, reference: str) -> None:
    """Forecast against outcome, one panel a window, at most six."""
    shown = list(cases)[:6]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with canvas(path, 3.4 * columns, 2.3 * rows + 0.5, rows, columns) as (figure, axes):
        for panel, case in zip(axes, shown, strict=False):
            hatched: dict[str, Any] = {"facecolor": BLUE, "alpha": 0.16, "linewidth": 0}
            panel.fill_between(case.times, case.low, case.high, label="10 to 90% band", **hatched)
            panel.plot(case.context_times, case.context, color=FAINT, linewidth=1, label="context")
            panel.plot(case.times, case.actual, color=INK, marker=".", markersize=3.5, label="outcome")
            panel.plot(case.times, case.median, color=BLUE, linestyle="--", label=f"median of {label(variant)}")
            if case.other is not None:
                panel.plot(case.times, case.other, color=ORANGE, linestyle=":", label=f"median of {label(reference)}")
            panel.axvline(case.context_times[-1], color=FAINT, linewidth=0.6)
            panel.set_title(label(case.title, 44))
            locator = AutoDateLocator(minticks=3, maxticks=5)  # type: ignore[no-untyped-call]
            panel.xaxis.set_major_locator(locator)
            panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
            panel.ticklabel_format(axis="y", useOffset=False)
        for unused in axes[len(shown) :]:
            unused.set_visible(False)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(5, len(names)))


def draw_latencies(path: Path, latencies: Sequence[Latencies], reference: str) -> None:
    """Timed calls: the variant's and, in the same pairs, the reference's; medians as bars.

    Of more calls than can be told apart, every so many'th of the sorted ones is drawn, the fastest and the slowest
    among them.
    """
    every = np.concatenate([np.r_[entry.seconds, entry.reference_seconds] for entry in latencies])
    factor, unit = seconds_unit(float(every.max()))
    with canvas(path, 7.6, 0.72 * len(latencies) + 1.1) as (figure, (axes,)):
        for row, entry in enumerate(latencies):
            lanes = ((entry.reference_seconds, -0.18, ORANGE, "o", "none"), (entry.seconds, 0.18, BLUE, "^", BLUE))
            for seconds, offset, color, marker, face in lanes:
                # The golden ratio spreads points evenly without a random number.
                drawn = _thinned(seconds)
                spread = ((np.arange(len(drawn)) * 0.618034) % 1 - 0.5) * 0.22
                axes.plot(
                    drawn * factor,
                    row + offset + spread,
                    linestyle="none",
                    marker=marker,
                    markersize=4,
                    markerfacecolor=face,
                    markeredgecolor=color,
                    markeredgewidth=0.8,
                    alpha=0.75,
                )
                middle = float(np.median(seconds)) * factor
                axes.plot([middle, middle], [row + offset - 0.16, row + offset + 0.16], color=INK, linewidth=2)
        axes.plot([], [], linestyle="none", marker="o", markerfacecolor="none", markeredgecolor=ORANGE, label=reference)
        axes.plot([], [], linestyle="none", marker="^", color=BLUE, label="variant")
        axes.plot([], [], color=INK, linewidth=2, label="median")
        axes.set_yticks(range(len(latencies)), [label(entry.variant) for entry in latencies])
        axes.set_ylim(len(latencies) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"latency of one call, {unit}")
        if every.max() > 8 * every.min():
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.set_xlim(left=0)
        figure.legend(loc="outside upper right", ncols=3)


def _thinned(seconds: np.ndarray) -> np.ndarray:
    """At most CALLS_DRAWN of the seconds, in the order that they were measured in where all are drawn."""
    if len(seconds) <= CALLS_DRAWN:
        return seconds
    return np.sort(seconds)[np.linspace(0, len(seconds) - 1, CALLS_DRAWN).round().astype(int)]


def draw_speedups(path: Path, speedups: Sequence[Speedup], reference: str) -> None:
    """Speedup of each variant over the reference with its interval; the hatched band is the A/A noise."""
    with canvas(path, 7.6, 0.42 * len(speedups) + 1.1) as (figure, (axes,)):
        noises = [entry.noise for entry in speedups if entry.noise is not None]
        if noises:
            low, high = min(bounds[0] for bounds in noises), max(bounds[1] for bounds in noises)
            look: dict[str, Any] = {"facecolor": "none", "edgecolor": FAINT, "hatch": "////", "linewidth": 0}
            axes.axvspan(low, high, label=f"{label(reference)} against itself (A/A)", **look)
        axes.axvline(1, color=INK, linewidth=1)
        for row, entry in enumerate(speedups):
            ends = [entry.value if end is None else end for end in (entry.lower, entry.upper)]
            error = [[max(0.0, entry.value - ends[0])], [max(0.0, ends[1] - entry.value)]]
            axes.errorbar(entry.value, row, xerr=error, fmt="D", color=BLUE, markersize=5, capsize=4)
            note = f"{entry.value:.2f}×"
            axes.annotate(note, (ends[1], row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(range(len(speedups)), [label(entry.variant) for entry in speedups])
        axes.set_ylim(len(speedups) - 0.5, -0.5)
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"speedup over {label(reference)} (above 1 is faster), median and interval")
        if noises:
            figure.legend(loc="outside upper right")


def draw_mae_ratios(path: Path, symbols: Sequence[str], ratios: Mapping[str, np.ndarray]) -> None:
    """MAE over that of the compared variant, by symbol; with many symbols as their distribution.

    Args:
        symbols: [symbols] names.
        ratios: by label of the comparison, [symbols]; NaN where there is none.
    """
    draw = _ratios_by_name if len(symbols) <= SYMBOLS_BY_NAME else _ratio_distribution
    draw(path, symbols, ratios)


def _ratios_by_name(path: Path, symbols: Sequence[str], ratios: Mapping[str, np.ndarray]) -> None:
    with canvas(path, 7.6, max(0.3, 0.07 * len(ratios)) * len(symbols) + 0.08 * len(ratios) + 1.1) as (figure, (axes,)):
        height = 0.7 / max(1, len(ratios))
        for number, (name, values) in enumerate(ratios.items()):
            color, marker, _ = look_of(number)
            rows = np.arange(len(symbols)) + (number - (len(ratios) - 1) / 2) * height
            look: dict[str, Any] = {"linestyle": "none", "color": color, "marker": marker, "markersize": 4.5}
            axes.plot(values, rows, label=label(name, 60), **look)
        axes.set_yticks(range(len(symbols)), [label(symbol) for symbol in symbols])
        axes.set_ylim(len(symbols) - 0.5, -0.5)
        _ratio_axis(axes)
        figure.legend(loc="outside upper left", ncols=2)


def _ratio_distribution(path: Path, symbols: Sequence[str], ratios: Mapping[str, np.ndarray]) -> None:
    with canvas(path, 7.6, 3.6) as (figure, (axes,)):
        for number, (name, values) in enumerate(ratios.items()):
            color, marker, line = look_of(number)
            known = np.sort(values[np.isfinite(values)])
            share = np.arange(1, len(known) + 1) / max(1, len(known))
            every = max(1, len(known) // 8)
            look: dict[str, Any] = {"color": color, "linestyle": line, "marker": marker, "markersize": 4}
            axes.plot(known, share, label=label(name, 60), markevery=(number, every), **look)
        axes.set_ylabel(f"share of {len(symbols)} symbols")
        axes.set_ylim(0, 1)
        _ratio_axis(axes)
        figure.legend(loc="outside upper left", ncols=2)


def _ratio_axis(axes: Axes) -> None:
    """A line at 1, and at least half a percent to either side of it: rounding must not look like a difference."""
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_xlabel("MAE ratio (below 1 is better)")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.995), max(high, 1.005))
    axes.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))


def draw_shapes(path: Path, shapes: Sequence[str], seconds: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Seconds of the first call in each shape (filled) and of a later one (hollow), by variant; NaN where unknown."""
    known = [values[np.isfinite(values)] for pair in seconds.values() for values in pair]
    factor, unit = seconds_unit(float(np.concatenate(known).max()))
    with canvas(path, 7.6, 0.2 * len(shapes) + 1.4) as (figure, (axes,)):
        for number, (name, pair) in enumerate(seconds.items()):
            color, marker, _ = look_of(number)
            for values, face, what in zip(pair, (color, "none"), ("first call", "later call"), strict=True):
                look: dict[str, Any] = {"marker": marker, "color": color, "markerfacecolor": face, "markersize": 5}
                name_of_both = f"{label(name, 40)}, {what}"
                axes.plot(values * factor, range(len(shapes)), label=name_of_both, linestyle="none", **look)
        axes.set_yticks(range(len(shapes)), [label(shape, 50) for shape in shapes])
        axes.set_ylim(len(shapes) - 0.5, -0.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(f"one call, {unit}")
        figure.legend(loc="outside upper left", ncols=2)


def draw_trend(path: Path, runs: Sequence[str], series: Mapping[str, np.ndarray], title: str) -> None:
    """A figure of each model over archived runs, oldest first; NaN where a run has none."""
    with canvas(path, 7.6, 2.6) as (figure, (axes,)):
        for number, (name, values) in enumerate(series.items()):
            color, marker, line = look_of(number)
            axes.plot(range(len(runs)), values, color=color, marker=marker, linestyle=line, label=label(name, 40))
        axes.set_xticks(range(len(runs)), runs, rotation=30, ha="right")
        if len(runs) > 12:
            axes.set_xticks(range(0, len(runs), -(-len(runs) // 12)))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(title)
        figure.legend(loc="outside upper right", ncols=3)
