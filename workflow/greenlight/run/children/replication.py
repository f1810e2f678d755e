"""In a trial: forecast every window with further seeds, in a variant and in its partner, until their errors decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from greenlight.api import Forecaster
from greenlight.data.returns import AS_PRICES
from greenlight.data.windows import Window
from greenlight.judgement.comparison import Arms, Limits, compare, look_at, seeds_at, undecided
from greenlight.measures.accuracy import score_windows, window_context
from greenlight.measures.forecasts import forecast_table
from greenlight.measures.points import with_point
from greenlight.measures.returns import with_returns
from greenlight.run.children.common import Request, calls_of, load, pin_process, windows_of, worked
from greenlight.run.children.outputs import problem_of
from greenlight.trials.child import serve
from greenlight.trials.kinds import InvalidOutput
from greenlight.watch.health import HealthRecorder

Errors = dict[str, np.ndarray]
# Errors [windows] of the variant and of its partner with a seed.
Measure = Callable[[int], tuple[Errors, Errors]]


def run(request: Request) -> dict[str, Any]:
    """Returns what `judgement.records.ReplicateResult` reads; no model is loaded where there is no time for a seed."""
    pin_process(request)
    windows = [window for symbol in sorted(request["series"]) for window in windows_of(request, symbol)]
    with HealthRecorder(waits=request["mode"] == "eager") as recorder:
        arms = replicate(
            lambda: _both_arms(request, windows, recorder),
            Arms.of_plain(request["scores"]),
            {symbol: int(request["windows"]) for symbol in sorted(request["series"])},
            Limits(**request["limits"]),
            family=request["family"],
            seed=request["seed"],
            seconds_each=request["seconds_each"],
            extra_seconds=request["extra_seconds"],
            clock=lambda: worked(request),
        )
    looks, found = request["limits"]["looks"], arms.plain()
    return {
        "partner": request["partner"],
        "windows": [window.key for window in windows],
        "seeds": [request["seed"] + number for number in range(1, arms.seeds)],
        "look": look_at(arms.seeds, looks),
        "looks": looks,
        **{arm: {error: rows[1:] for error, rows in found[arm].items()} for arm in ("own", "other")},
        "health": recorder.record() if arms.seeds > 1 else None,
    }


def replicate(
    start: Callable[[], Measure],
    first: Arms,
    windows: Mapping[str, int],
    limits: Limits,
    *,
    family: int,
    seed: int,
    seconds_each: float,
    extra_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Arms:
    """The errors of the first seed and of as many further ones as decide, or as there is time for.

    The number of seeds doubles with each look, at most until the last, and a doubling that does not fit into what is
    left of the time is not begun.

    Args:
        start: called once, before the first further seed, in time that does not count.
        first: the errors with `seed`.
        windows: number of windows of each series.
        family: variants that are judged together, whose p-values are corrected for their number.
        seconds_each: what a seed is expected to take, in both arms; then what the last doubling took.
    """
    arms, measure, left = first, None, extra_seconds
    for look in range(2, limits.looks + 1):
        more = seeds_at(look) - arms.seeds
        if not undecided(compare({"variant": arms}, windows, limits, family), limits) or more * seconds_each > left:
            break
        measure = measure or start()
        began = clock()
        found = [measure(seed + arms.seeds + number) for number in range(more)]
        spent = clock() - began
        seconds_each, left = spent / more, left - spent
        own, other = (
            {e: np.stack([errors[e] for errors in arm]) for e in limits.errors} for arm in zip(*found, strict=True)
        )
        arms = arms.with_replicates(own, other)
    return arms


def _both_arms(request: Request, windows: list[Window], recorder: HealthRecorder) -> Measure:
    """Load both, and forecast once, so that what compiles has compiled."""
    variant = load(request, request["variant"])
    partner = load(request, request["partner"])
    if request["mode"] != "eager":
        variant.compile(request["mode"])
    for forecaster, fill in ((variant, request["mode"] != "eager"), (partner, False)):
        practice, _ = next(calls_of(windows, request["windows_per_call"], fill))
        forecaster.forecast(practice, request["samples"], request["seed"])
    recorder.end_of_warm_up(variant)

    def measure(seed: int) -> tuple[Errors, Errors]:
        own = _errors(request, variant, windows, seed, fill=request["mode"] != "eager")
        return own, _errors(request, partner, windows, seed, fill=False)

    return measure


def _errors(request: Request, forecaster: Forecaster, windows: list[Window], seed: int, fill: bool) -> Errors:
    """Errors [windows] of forecasts with a seed; InvalidOutput where these can't be forecasts."""
    paths: list[np.ndarray] = []
    for part, count in calls_of(windows, request["windows_per_call"], fill):
        samples = forecaster.forecast(part, request["samples"], seed)
        if problem := problem_of(request, samples, part):
            raise InvalidOutput(f"seed {seed}: {problem}")
        paths += list(samples[:count])
    table = forecast_table(request["model"], request["variant"], windows, paths, {}, request["levels"])
    contexts = {(window.symbol, window.index): window_context(window.known) for window in windows}
    table = with_point(table, request["point"], request["levels"])
    if request["input"] != AS_PRICES:
        last = np.repeat([window.context[-1, window.column] for window in windows], request["horizon"])
        table = with_returns(table, last, request["input"], request["point"])
    scores, problems = score_windows(table, contexts, request["horizon"])
    if problems:
        raise InvalidOutput(f"seed {seed}: {problems[0]}")
    return {error: scores.column(error).to_numpy() for error in request["limits"]["errors"]}


if __name__ == "__main__":
    serve(run)
