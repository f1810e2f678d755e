"""score: how good each variant's forecasts are, window by window, by symbol and in all."""

from __future__ import annotations

import argparse

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.returns import AS_PRICES
from greenlight.data.stored import Prices, load_series
from greenlight.data.windows import FEATURES
from greenlight.files import read_parquet, write_parquet
from greenlight.layout import Layout
from greenlight.measures.accuracy import (
    SCORES_SCHEMA,
    WindowContext,
    score_windows,
    window_context,
)
from greenlight.measures.points import with_point
from greenlight.measures.returns import with_returns
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.run.records import write_record


def score(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Score every variant of a model against the canonical series, not against what the forecasts say of it."""
    prices = {symbol: load_series(layout.series(symbol)) for symbol in job["symbols"]}
    for variant in job["variants"]:
        _score_variant(layout, job | {"variant": variant}, prices)


def _score_variant(layout: Layout, job: Job, prices: dict[str, Prices]) -> None:
    model, variant = job["model"], job["variant"]
    files = [layout.forecast(model, variant, symbol) for symbol in job["symbols"]]
    tables = [_with_errors(read_parquet(file), job, prices) for file in files]
    forecasts = pa.concat_tables([table.replace_schema_metadata() for table in tables])
    column = FEATURES.index(job["target"])
    honest, problems = forecasts, ["there are no forecasts"]
    if forecasts.num_rows:
        honest, problems = _that_fit(forecasts, prices, column)
    scores = SCORES_SCHEMA.empty_table()
    if honest.num_rows:
        scores, found = score_windows(honest, _contexts(honest, prices, job["context_length"], column), job["horizon"])
        problems += found
    target = layout.window_scores(model, variant)
    write_parquet(target, scores)
    job = {key: value for key, value in job.items() if key != "variant"}
    write_record(
        layout.record("scores", model, variant),
        job,
        variant=variant,
        problems=problems,
        inputs=layout.hashes(files),
        outputs=layout.hashes([target]),
    )


def _with_errors(forecasts: pa.Table, job: Job, prices: dict[str, Prices]) -> pa.Table:
    """Forecasts with their point forecast, and its errors as returns, without the samples that these are made of."""
    found = with_point(forecasts, job["point"], job["levels"])
    if job["input"] != AS_PRICES and len(found):
        last = _last_prices(found, prices, FEATURES.index(job["target"]))
        found = with_returns(found, last, job["input"], job["point"])
    return found.drop_columns("samples")


def _last_prices(forecasts: pa.Table, prices: dict[str, Prices], column: int) -> np.ndarray:
    """[rows] the price before the first step of each row's window; NaN where its series has none."""
    last = np.full(len(forecasts), np.nan)
    symbols = np.array(forecasts.column("symbol").to_pylist())
    times = forecasts.column("timestamp").to_numpy().astype("datetime64[ns]")
    step = forecasts.column("step").to_numpy()
    for symbol in np.unique(symbols):
        if symbol in prices:
            rows = np.flatnonzero(symbols == symbol)
            place = np.searchsorted(prices[symbol].timestamps, times[rows]) - step[rows]
            known = (place >= 0) & (place < len(prices[symbol].timestamps))
            last[rows[known]] = prices[symbol].values[place[known], column]
    return last


def _that_fit(forecasts: pa.Table, prices: dict[str, Prices], column: int) -> tuple[pa.Table, list[str]]:
    """The rows whose time and outcome are those of the symbol's series, and a sentence about the others."""
    symbols = np.array(forecasts.column("symbol").to_pylist())
    times = forecasts.column("timestamp").to_numpy().astype("datetime64[ns]")
    actual = forecasts.column("actual").to_numpy()
    fits = np.zeros(len(symbols), dtype=bool)
    names, which, counts = np.unique(symbols, return_inverse=True, return_counts=True)
    of_each = np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])
    for symbol, rows in zip(names, of_each, strict=True):
        if symbol not in prices:
            continue
        known, values = prices[symbol].timestamps, prices[symbol].values
        place = np.minimum(np.searchsorted(known, times[rows]), len(known) - 1)
        fits[rows] = (known[place] == times[rows]) & (values[place, column] == actual[rows])
    wrong = int((~fits).sum())
    message = f"{wrong} of {len(fits)} forecast rows do not fit the time and price of their symbol's series"
    return forecasts.filter(pa.array(fits)), [message] if wrong else []


def _contexts(
    forecasts: pa.Table, prices: dict[str, Prices], length: int, column: int
) -> dict[tuple[str, int], WindowContext]:
    """Context figures of every window that has its first step."""
    first = forecasts.filter(pc.equal(forecasts.column("step"), 1))
    times = first.column("timestamp").to_numpy().astype("datetime64[ns]")
    contexts = {}
    for row, key in enumerate(zip(*first.select(["symbol", "window"]).to_pydict().values(), strict=True)):
        known, values = prices[key[0]].timestamps, prices[key[0]].values
        start = int(np.searchsorted(known, times[row]))
        if start >= length:
            contexts[key] = window_context(values[start - length : start, column])
    return contexts


if __name__ == "__main__":
    run_stage("Score the forecasts of a model.", score)
