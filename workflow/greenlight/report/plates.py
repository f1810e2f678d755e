"""Which figures a report has, and their data; drawing is in `figures`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.layout import Layout
from greenlight.report import figures
from greenlight.report.facts import Facts, ModelFacts
from greenlight.report.markup import anchor
from greenlight.report.reading import Reader
from greenlight.report.render import FigureFile
from greenlight.report.symbols import case_symbols, context_arrays, forecast_arrays, latency_arrays

Drawing = Callable[[Path], None]


def draw_all(layout: Layout, facts: Facts, folder: Path) -> tuple[list[FigureFile], list[str]]:
    """Draw every figure that there is data for into a folder; return them, and what could not be drawn."""
    reader = Reader(layout.root)
    drawn = []
    for model in facts.models:
        for kind, caption, draw in (*_plates(reader, layout, model), *_shapes(facts, model)):
            file = FigureFile(model.name, f"{anchor(model.name, kind)}.svg", caption)
            try:
                draw(folder / file.name)
            except (ValueError, TypeError, ArithmeticError, IndexError) as error:
                # Figures show evidence that may be damaged in any way; a report without one is still a report.
                reader.problems.append(f"the figure {file.name} could not be drawn: {error}")
                continue
            drawn.append(file)
    return drawn, reader.problems


def _plates(reader: Reader, layout: Layout, model: ModelFacts) -> Iterator[tuple[str, str, Drawing]]:
    """(kind, caption, drawing) of the figures of one model, the deciding ones first."""
    timed = [row for row in model.rows if row.speedup is not None and not row.is_reference]
    speedups = [
        figures.Speedup(row.name, found.value, found.lower, found.upper, row.noise_bounds)
        for row in timed
        if (found := row.speedup)
    ]
    if speedups:
        caption = f"{model.name}: speedup of each variant over {model.reference}, with intervals; right of 1 is faster."
        yield "speedup", caption, partial(figures.draw_speedups, speedups=speedups, reference=model.reference)
    latencies = [
        figures.Latencies(row.name, *seconds)
        for row in timed
        if (seconds := latency_arrays(reader, layout.pairs(model.name, row.name)))
    ]
    if latencies:
        many = max(len(entry.seconds) for entry in latencies) > figures.CALLS_DRAWN
        more = f"; of more than {figures.CALLS_DRAWN} calls that many are drawn, evenly from the sorted" if many else ""
        caption = f"{model.name}: latency of timed calls, {model.reference} and the variant in turn{more}."
        yield "latency", caption, partial(figures.draw_latencies, latencies=latencies, reference=model.reference)
    yield from _ratios(model)
    naive = {f"{model.shown} / {name}": _values(model.symbols, name) for name in ("naive", "drift")}
    if model.symbols:
        symbols = [row.symbol for row in model.symbols]
        caption = (
            f"{model.name} {model.shown}: MAE of each symbol over that of naive and drift; left of 1 it is better."
        )
        yield "mae-over-naive", caption, partial(figures.draw_mae_ratios, symbols=symbols, ratios=naive)
    yield from _forecasts(reader, layout, model)


def _shapes(facts: Facts, model: ModelFacts) -> Iterator[tuple[str, str, Drawing]]:
    """The first and a later call in each shape, of the variants that were called in the same shapes."""
    swept = [entry for entry in facts.calls if entry.model == model.name and entry.shapes]
    shapes = [shape.name for shape in swept[0].shapes] if swept else []
    seconds = {
        entry.variant: (_values(entry.shapes, "first"), _values(entry.shapes, "second"))
        for entry in swept
        if [shape.name for shape in entry.shapes] == shapes
    }
    if seconds:
        caption = f"{model.name}: seconds of the first call in each shape, which compiles, and of a later one."
        yield "shapes", caption, partial(figures.draw_shapes, shapes=shapes, seconds=seconds)


def _values(rows: Iterable[Any], name: str) -> np.ndarray:
    """[rows] a figure of each row; NaN where there is none."""
    return np.array([np.nan if (value := getattr(row, name)) is None else value for row in rows])


def _ratios(model: ModelFacts) -> Iterator[tuple[str, str, Drawing]]:
    symbols = [row.symbol for row in model.symbols]
    ratios = {}
    for row in model.rows:
        if row.name in model.scores and row.against in model.scores:
            own, other = (model.scores[name].column("mae", symbols) for name in (row.name, row.against))
            with np.errstate(invalid="ignore", divide="ignore"):
                ratios[f"{row.name} / {row.against}"] = np.where(np.isfinite(own / other), own / other, np.nan)
    ratios = {name: values for name, values in ratios.items() if np.isfinite(values).any()}
    if ratios:
        caption = f"{model.name}: MAE of each symbol over that of the variant with the same random numbers."
        yield "mae-ratio", caption, partial(figures.draw_mae_ratios, symbols=symbols, ratios=ratios)


def _forecasts(reader: Reader, layout: Layout, model: ModelFacts) -> Iterator[tuple[str, str, Drawing]]:
    cases = []
    for symbol, why in case_symbols(model.symbols):
        found = forecast_arrays(reader, layout.forecast(model.name, model.shown, symbol))
        if found is None:
            continue
        other = None
        if model.shown != model.reference:
            reference = forecast_arrays(reader, layout.forecast(model.name, model.reference, symbol))
            other = reference["q50"] if reference and len(reference["q50"]) == len(found["q50"]) else None
        times, prices = context_arrays(reader, layout, symbol, found["timestamp"][0], model.target)
        title = f"{symbol} ({why})" if why else symbol
        actual, median, low, high = (found[name] for name in ("actual", "q50", "q10", "q90"))
        cases.append(figures.ForecastCase(title, times, prices, found["timestamp"], actual, median, low, high, other))
    if cases:
        caption = f"{model.name} {model.shown}: forecast against outcome in the last window of some symbols."
        draw = partial(figures.draw_forecasts, cases=cases, variant=model.shown, reference=model.reference)
        yield "forecasts", caption, draw
