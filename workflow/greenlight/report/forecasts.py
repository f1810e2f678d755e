"""Forecasts of all variants beside the outcome, packed small enough to be drawn where they are read.

A chart is drawn in the browser from whole numbers: 0 is the lowest price that the case shows and SCALE the highest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from greenlight.layout import Layout
from greenlight.report.facts import ModelFacts
from greenlight.report.reading import Reader
from greenlight.report.symbols import case_symbols, context_arrays, forecast_windows

SCALE = 9999
# Bytes of charts of one model in the report, and in the page of one symbol.
IN_THE_REPORT, IN_A_PAGE = 150_000, 1_500_000
BANDS = ("q10", "q50", "q90")


@dataclass(frozen=True)
class Charts:
    """What a page draws for one model.

    Attributes:
        model: its name; reference: its reference variant.
        variants: (name, verdict) of those with forecasts, each of which gets a chart.
        without: (name, why) of the others.
        labels: what the choices are called, one a case: a symbol's name, or a window's number and time.
        packed: JSON of all cases, for the script of the page.
        left_out: how many cases are not there, for their size.
    """

    model: str
    reference: str
    variants: tuple[tuple[str, str], ...]
    without: tuple[tuple[str, str], ...]
    labels: tuple[str, ...]
    packed: str
    left_out: int


def report_charts(reader: Reader, layout: Layout, model: ModelFacts, most: int = IN_THE_REPORT) -> Charts:
    """The last window of as many symbols as fit: the worst, middle and best ones first.

    Args:
        most: bytes that the cases may take.
    """
    telling = case_symbols(model.symbols)
    chosen = [*telling, *((row.symbol, "") for row in model.symbols if row.symbol not in dict(telling))]
    found = (
        (f"{symbol} ({why})" if why else symbol, case)
        for symbol, why in chosen
        for case in islice(_cases(reader, layout, model, symbol), 1)
    )
    return _charts(layout, model, found, most, len(chosen))


def symbol_charts(reader: Reader, layout: Layout, model: ModelFacts, symbol: str, most: int = IN_A_PAGE) -> Charts:
    """All windows of one symbol, the last first, as far as they fit; no case where it has no forecasts."""
    cases = list(_cases(reader, layout, model, symbol))
    labels = [f"window {case['w']}: {_day(case['t'][0])} to {_day(sum(case['t']))}" for case in cases]
    return _charts(layout, model, zip(labels, cases, strict=True), most, len(cases))


def _charts(
    layout: Layout, model: ModelFacts, cases: Iterable[tuple[str, dict[str, Any]]], most: int, possible: int
) -> Charts:
    names, without = variants_with_forecasts(layout, model)
    labels: list[str] = []
    texts: list[str] = []
    size = 0
    for label, case in cases:
        text = json.dumps(case, ensure_ascii=False, separators=(",", ":"))
        size += len(text.encode())
        if size > most:
            break
        labels.append(label)
        texts.append(text)
    known = {row.name: row.verdict for row in model.rows}
    return Charts(
        model.name,
        model.reference,
        tuple((name, known[name]) for name in names),
        tuple(without),
        tuple(labels),
        f"[{','.join(texts)}]",
        possible - len(labels),
    )


def variants_with_forecasts(layout: Layout, model: ModelFacts) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of the variants that have forecasts, and (name, why not) of the others."""
    names, without = [], []
    for row in model.rows:
        if layout.stage("forecasts", model.name, row.name).is_dir():
            names.append(row.name)
        else:
            same = next((role for role in row.roles if role.startswith("same as")), "")
            without.append((row.name, same or "it left no forecasts"))
    return names, without


def _cases(reader: Reader, layout: Layout, model: ModelFacts, symbol: str) -> Iterator[dict[str, Any]]:
    """The windows of a symbol, the last first, each as the page's script reads it.

    Keys: `w` number, `t` seconds of the first step since 1970 and from step to step, `lo` and `hi` prices, `c` the
    last rows before, `a` the outcome, `v` for each variant its 10%, 50% and 90% quantiles or null.
    """
    names, _ = variants_with_forecasts(layout, model)
    paths = {name: layout.forecast(model.name, name, symbol) for name in names}
    by_variant = {name: forecast_windows(reader, path) if path.is_file() else {} for name, path in paths.items()}
    for window in sorted({number for found in by_variant.values() for number in found}, reverse=True):
        own = [by_variant[name].get(window) for name in names]
        first = next(found for found in own if found is not None)
        length = len(first["actual"])
        # A forecast of another length is damaged; the verdict says so.
        own = [found if found is not None and len(found["actual"]) == length else None for found in own]
        times = first["timestamp"].astype("datetime64[s]").astype(np.int64)
        _, context = context_arrays(reader, layout, symbol, first["timestamp"][0], model.target)
        yield {"w": window, "t": [int(times[0]), *map(int, np.diff(times))]} | _scaled(context, first["actual"], own)


def _scaled(
    context: np.ndarray, actual: np.ndarray, variants: Sequence[dict[str, np.ndarray] | None]
) -> dict[str, Any]:
    lines = [context, actual, *(found[name] for found in variants if found is not None for name in BANDS)]
    every = np.concatenate([np.asarray(line, dtype=float) for line in lines])
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 0.0)
    spread = (high - low) or 1.0

    def whole(values: np.ndarray) -> list[int | None]:
        return [round((v - low) / spread * SCALE) if np.isfinite(v) else None for v in map(float, values)]

    bands = [None if found is None else [whole(found[name]) for name in BANDS] for found in variants]
    return {"lo": low, "hi": low + spread, "c": whole(context), "a": whole(actual), "v": bands}


def _day(seconds: int) -> str:
    return str(np.datetime64(seconds, "s"))[:16].replace("T", " ").removesuffix(" 00:00")
