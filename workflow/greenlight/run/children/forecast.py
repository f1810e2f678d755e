"""In a trial: forecast every window of a shard, and see whether the variant repeats itself."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.api import Forecaster
from greenlight.data.windows import FEATURES, Window, practice_windows, same_shape
from greenlight.files import write_parquet
from greenlight.measures.forecasts import forecast_table, paths_hash
from greenlight.measures.independence import likeness, new_paths
from greenlight.measures.memory import MemoryMeter
from greenlight.run.children.common import (
    Request,
    calls_of,
    load,
    pin_process,
    practice,
    windows_of,
    worked,
)
from greenlight.run.children.outputs import problem_of
from greenlight.trials.child import serve
from greenlight.trials.kinds import InvalidOutput
from greenlight.variants import ROUNDOFF
from greenlight.watch.health import HealthRecorder
from greenlight.watch.overwrites import check_overwrites

# Of the paths at a step, the share that is held to the tolerance. In a reduced precision a path that is drawn near a
# tie takes another course (up to 3 of 16 were seen to in bfloat16, on a CPU and on an H200).
HELD = 0.75

# a of f(ax + b) against a f(x) + b: a power of two, which rounds nothing.
_UNIT = 4.0

# By how much seeds are larger that must draw anew, too, where a part of a seed is used: its parity, or its last bits.
_FURTHER_SEEDS = (2, 1 << 16)

# Bytes of forecasts that are kept to be made again.
ROOM = 256 << 20


def tolerance(precision: str) -> float:
    """Share of a window's spread by which its paths may differ: rounding reaches about 1e-5 in float32 and 0.04 in
    bfloat16, a wrong row about 1.
    """
    return {ROUNDOFF["float32"]: 0.01, ROUNDOFF["tf32"]: 0.02, ROUNDOFF["bf16"]: 0.10}[ROUNDOFF[precision]]


def run(request: Request) -> dict[str, Any]:
    """Write one forecast file a symbol below the trial's folder; return figures and reproducibility."""
    pin_process(request)
    started = time.perf_counter()
    forecaster = load(request, request["variant"])
    load_seconds = time.perf_counter() - started
    compiled = request["mode"] != "eager"
    windows = practice(request)
    with MemoryMeter(request["device"]) as meter, HealthRecorder(waits=request["mode"] == "eager") as recorder:
        if compiled:
            forecaster.compile(request["mode"])
        before = time.perf_counter()
        first_call = forecaster.forecast(windows, request["samples"], request["seed"])
        first_call_seconds = time.perf_counter() - before
        first_call_hash = paths_hash(first_call)
        repeats = reproducibility(forecaster, windows, request)
        if problem := misuse_of(forecaster, windows, request):
            raise InvalidOutput(problem)
        recorder.end_of_warm_up(forecaster)
        before = worked(request)
        kept = Kept(request) if request["again"] else None
        forecast_hash, distinct_paths = _forecast_all(forecaster, request, meter, kept)
        forecast_seconds = worked(request) - before
        again = kept.forecast_again(forecaster) if kept else None
    return {
        "load_seconds": load_seconds,
        "first_call_seconds": first_call_seconds,
        "first_call_hash": first_call_hash,
        "forecast_seconds": forecast_seconds,
        "forecast_hash": forecast_hash,
        "distinct_paths": distinct_paths,
        "memory_readings": meter.readings["host_bytes"],
        "device_memory_readings": meter.readings["device_bytes"],
        "peak_memory_bytes": meter.record()["host_peak_bytes"],
        "device_peak_bytes": meter.record()["device_peak_bytes"],
        "memory": meter.record(),
        "reproducibility": repeats,
        "in_other_calls": again,
        "health": recorder.record(),
    }


class Kept:
    """Forecasts that are kept to be made again, as many as there is room for, evenly spaced."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._windows: list[Window] = []
        self._paths: list[np.ndarray] = []
        bytes_each = 8 * request["horizon"] * (len(request["levels"]) or request["samples"])
        self._stride = -(-len(request["series"]) * request["windows"] * bytes_each // ROOM)
        self._seen = 0

    def add(self, window: Window, paths: np.ndarray) -> None:
        """A window and its forecast, [samples, horizon]."""
        if self._seen % self._stride == 0:
            self._windows.append(window)
            self._paths.append(paths.copy())
        self._seen += 1

    def forecast_again(self, forecaster: Forecaster) -> dict[str, Any]:
        """The same windows in another order, and so in other calls, in other places there and later.

        Nothing else sees that a row of a batch, a batch that is not full, or a later call is wrong where no other
        variant draws the same random numbers.
        """
        request, worst = self._request, {"max_abs_difference": 0.0, "window": self._windows[0].key}
        order = np.random.default_rng(request["seed"]).permutation(len(self._windows))
        fill, done = request["mode"] != "eager", 0
        for part, count in calls_of([self._windows[i] for i in order], request["windows_per_call"], fill=fill):
            again = forecaster.forecast(part, request["samples"], request["seed"])[:count]
            first = np.stack([self._paths[i] for i in order[done : done + count]])
            each = _apart(first, again, request["precision"])
            row = int(np.argmax(each))
            if not each[row] <= worst["max_abs_difference"]:
                worst = {"max_abs_difference": float(each[row]), "window": part[row].key}
            done += count
        return worst | {"tolerance": tolerance(request["precision"]), "windows": done}


def _apart(one: np.ndarray, other: np.ndarray, precision: str) -> np.ndarray:
    """[windows] difference of two forecasts of the same windows at the worst step, as a share of the spread of `one`.

    In a reduced precision, the share of the paths that is `HELD` is looked at.
    """
    share = 1.0 if precision == "float32" else HELD
    spread = np.maximum(one.std(axis=1).mean(axis=-1), np.finfo(float).tiny)[:, None, None]
    apart: np.ndarray = np.quantile(np.abs(one - other) / spread, share, axis=1).max(axis=-1)
    return apart


def _forecast_all(forecaster: Forecaster, request: Request, meter: MemoryMeter, kept: Kept | None) -> tuple[str, float]:
    """Forecast symbol after symbol; a file is written once all windows of its symbol are done.

    Returns a hash over all sampled paths, and the smallest share of distinct paths among those of a window.
    """
    due = {symbol: windows_of(request, symbol) for symbol in sorted(request["series"])}
    done: dict[str, list[np.ndarray]] = {symbol: [] for symbol in due}
    digest = hashlib.sha256()
    distinct = 1.0
    every = [window for windows in due.values() for window in windows]
    for windows, count in calls_of(every, request["windows_per_call"], fill=request["mode"] != "eager"):
        samples = forecaster.forecast(windows, request["samples"], request["seed"])
        meter.read()
        if problem := problem_of(request, samples, windows):
            raise InvalidOutput(problem)
        for window, paths in zip(windows[:count], samples[:count], strict=True):
            digest.update(np.ascontiguousarray(paths).tobytes())
            distinct = min(distinct, len(np.unique(paths, axis=0)) / len(paths))
            if kept:
                kept.add(window, paths)
            finished = done[window.symbol]
            finished.append(paths)
            if len(finished) == len(due[window.symbol]):
                _write(request, window.symbol, due[window.symbol], finished)
                done[window.symbol] = []
    return digest.hexdigest(), distinct


def _write(request: Request, symbol: str, windows: list[Window], samples: list[np.ndarray]) -> None:
    own = (request["model"], request["variant"], windows, samples, request["provenance"], request["levels"])
    write_parquet(
        Path(request["forecasts"]) / f"symbol={symbol}" / "part-0.parquet", forecast_table(*own), durable=False
    )


def misuse_of(forecaster: Forecaster, windows: Sequence[Window], request: Request) -> str:
    """What a forecaster does with windows that it must not, in words: read their future, or change them; or nothing.

    Where reference and variant share such a mistake no comparison of the two tells.
    """
    given = [replace(window, context=window.context.copy(), future=window.future.copy()) for window in windows]
    # Prices that stay prices: half as high, and in another order.
    other = [replace(window, future=window.future[::-1] / 2) for window in windows]
    first, again, changed = (
        forecaster.forecast(each, request["samples"], request["seed"]).copy() for each in (given, given, other)
    )
    for window, own in zip(windows, given, strict=True):
        if not all(np.array_equal(getattr(window, n), getattr(own, n), equal_nan=True) for n in ("context", "future")):
            return f"the forecaster changes the window that it is given, first {window.key}"
    for window, one, two, three in zip(windows, first, again, changed, strict=True):
        # What does not repeat itself, or is no number, has checks of its own.
        if np.array_equal(one, two) and not np.array_equal(one, three):
            return f"the forecast depends on the rows that it forecasts, first in {window.key}"
    return ""


def reproducibility(forecaster: Forecaster, windows: list[Window], request: Request) -> dict[str, Any]:
    """Whether seeds, batches, order, repeated calls and units do to the forecasts what they should.

    Differences are measured against the spread of a window's own sample paths, so that one tolerance fits every
    price: rounding moves a path by millionths of its spread, a wrong row or stale buffer by about all of it.
    """
    count, seed, precision = request["samples"], request["seed"], request["precision"]
    shifts = _shifts(forecaster, windows)
    # The calls that follow while an output is kept are those whose results are looked at.
    asked = {
        "same": (windows, seed),
        "others": (practice_windows(len(windows), *same_shape(windows), seed, windows[0].column), seed),
        "other seed": (windows, seed + 1),
        "other symbol": ([replace(window, symbol=f"{window.symbol}+") for window in windows], seed),
        "order": (windows[::-1], seed),
        "unit": ([_in_unit(window, _UNIT, shift) for window, shift in zip(windows, shifts, strict=True)], seed),
    }
    gave: dict[str, list[np.ndarray]] = {name: [] for name in asked}

    def call(name: str) -> np.ndarray:
        chosen, with_seed = asked[name]
        output = forecaster.forecast(chosen, count, with_seed)
        gave[name].append(np.array(output))
        return output

    overwritten = check_overwrites(call, list(asked))
    first, latest = gave["same"][0], gave["same"][-1]

    def difference(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
        """Of two forecasts of the same windows, at the worst step of the worst window."""
        return {"max_abs_difference": float(_apart(one, other, precision).max()), "tolerance": tolerance(precision)}

    further = [np.array(forecaster.forecast(windows, count, seed + more)) for more in _FURTHER_SEEDS]
    seeds = [first, gave["other seed"][0], *further]
    # Where a call is filled up, windows stand in it more than once.
    own = list({window.key: row for row, window in enumerate(windows)}.values())
    later = np.array(forecaster.forecast([_a_day_later(window) for window in windows], count, seed))
    # Each window alone; a compiled variant has the shapes that it was compiled for, so the call is filled with it.
    size, fill = request["timed_windows"], request["mode"] != "eager"
    alone = (next(calls_of([window], size, fill=fill))[0] for window in windows)
    rows = np.concatenate([forecaster.forecast(filled, count, seed)[:1] for filled in alone])
    unit = difference(first, (gave["unit"][0] - shifts[:, None, None]) / _UNIT)
    return {
        "same_seed_differing": int((first != latest).sum()),
        "other_seed_changed": min(new_paths(one[own], other[own]) for one, other in combinations(seeds, 2)),
        "other_symbol_changed": new_paths(first[own], gave["other symbol"][0][own]),
        "alike": {
            "seed": likeness(*(forecast[own] for forecast in seeds)),
            "symbol": likeness(first[own], gave["other symbol"][0][own]),
            "time": likeness(first[own], later[own]),
        },
        "batch_equals_rows": difference(first, rows),
        "order_irrelevant": difference(first, gave["order"][0][::-1]),
        "a_b_a": overwritten["same_input_same_output"],
        "output_overwritten": not overwritten["kept_output_unchanged"],
        "overwrites": overwritten,
        "affine": {
            "applies": forecaster.scales_with_prices,
            "shifted": forecaster.shifts_with_prices,
            "max_relative_difference": unit["max_abs_difference"],
            "tolerance": unit["tolerance"],
        },
    }


def _a_day_later(window: Window) -> Window:
    """The window with other times, and the clock that the model reads as it was: another draw of the same forecast."""
    return replace(window, timestamps=window.timestamps + np.timedelta64(1, "D"), wall=window.calendar)


def _shifts(forecaster: Forecaster, windows: Sequence[Window]) -> np.ndarray:
    """[windows] b of f(ax + b) = a f(x) + b: each context's own spread, and none where the model has no such rule."""
    if not forecaster.shifts_with_prices:
        return np.zeros(len(windows))
    return np.array([_UNIT * float(window.known.std()) for window in windows])


def _in_unit(window: Window, factor: float, shift: float) -> Window:
    """The window with its prices times `factor` plus `shift`; volumes stay, amounts follow the prices."""
    prices = np.array([name != "volume" for name in FEATURES])
    factors, shifts = np.where(prices, factor, 1.0), np.where(prices, shift, 0.0)
    amount = window.amount
    if amount is not None:
        volume = np.concatenate((window.context, window.future))[:, FEATURES.index("volume")]
        amount = amount * factor + (volume * shift if shift else 0.0)
    return replace(window, context=window.context * factors + shifts, amount=amount)


if __name__ == "__main__":
    serve(run)
