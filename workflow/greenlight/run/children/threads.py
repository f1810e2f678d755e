"""Several threads call one loaded variant at the same time, in the shape of the run's own calls."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from greenlight.data.windows import Window
from greenlight.measures.concurrency import Together, call_together, chance_of_ends
from greenlight.run.children.caller import Caller, differences, windows_in
from greenlight.trials.call_settings import Shape
from greenlight.trials.kinds import InvalidOutput

SECONDS = 2.0  # of calls one by one, as many as fit: races show in what is called often
FEWEST, MOST = 2, 8  # calls of each thread
# How likely it may be, over all calls of a trial, that other draws from the same distributions end so far out.
_ALARM = 1e-4

Outputs = dict[tuple[int, int], Any]


def threads(caller: Caller) -> dict[str, Any]:
    """Calls of several threads against the same calls one by one, as `judgement.probe_records.TogetherResult` reads.

    Windows are seeded random walks, and so are alike for each thread but in their values.
    """
    request, variant = caller.request, caller.variant
    own = Shape(*(request[name] for name in ("context_length", "horizon", "windows_per_call", "samples")))
    asked, count = request["together"], request["together"]["threads"]
    groups = [windows_in(own, request, group) for group in range(count)]

    def forecast(thread: int, number: int) -> np.ndarray:
        return np.array(variant.forecast(groups[thread], own.samples, request["seed"] + number))

    for number in (0, 1):  # what compiles at a first or second call has compiled
        output, seen = caller.watched(str(own), partial(forecast, number, 0))
        caller.check(str(own), output, groups[number], own.samples)
    rounds = min(MOST, max(FEWEST, int(SECONDS / (count * seen["seconds"]))))
    alone = call_together(forecast, count, rounds, one_by_one=True)
    caller.recorder.end_of_warm_up()
    beside = call_together(forecast, count, rounds)
    compiled = caller.recorder.record()["compilations_after_warm_up"]
    found = _held(caller, alone, beside, groups)
    apart = _numerics_apart(caller, groups) if asked["shares_generator"] else None
    return {
        "threads": count,
        "calls": len(beside.outputs),
        "shares_generator": asked["shares_generator"],
        **found,
        "numerics_apart": apart,
        "errors": [*_told(alone), *_told(beside)],
        "compiled": compiled,
        "seconds_alone": list(alone.seconds.values()),
        "seconds_together": list(beside.seconds.values()),
        "wall_seconds": beside.wall,
    }


def _told(calls: Together) -> list[str]:
    return [f"thread {thread}, call {number}: {text}" for (thread, number), text in calls.errors.items()]


def _held(caller: Caller, alone: Together, beside: Together, groups: list[list[Window]]) -> dict[str, Any]:
    """How many calls and paths differ from those of calls one by one.

    Where threads share the generator of the process, each path is another draw; paths count where so many of their
    call's lie beyond what was drawn one by one that other draws hardly do.
    """
    asked = caller.request["together"]
    differing, parted, paths, farthest = 0, 0, 0, 0.0
    for key, output in beside.outputs.items():
        expected = alone.outputs[key]
        if output is None or expected is None or np.array_equal(output, expected):
            continue
        differing += 1
        if output.shape != expected.shape or not np.isfinite(output).all():
            raise InvalidOutput(f"a call beside others gave {output.shape} or values that are not finite")
        each = differences(output, expected, groups[key[0]])
        apart = each.apart > asked["tolerance"]
        if asked["shares_generator"]:
            apart = each.outside & (chance_of_ends(each.outside, expected.shape[1]) <= _ALARM / len(beside.outputs))
        parted, paths = parted + int(apart.sum()), paths + apart.size
        farthest = max(farthest, float(each.largest.max())) if apart.any() else farthest
    return {"differing": differing, "paths": paths, "parted": parted, "farthest": farthest}


def _numerics_apart(caller: Caller, groups: list[list[Window]]) -> float:
    """Teacher-forced numerics, which no random number is part of, of threads against those one by one."""

    def probe(thread: int, number: int) -> dict[str, np.ndarray]:
        return {name: np.array(values) for name, values in caller.variant.probe(groups[thread]).items()}

    alone = call_together(probe, len(groups), 1, one_by_one=True)
    beside = call_together(probe, len(groups), FEWEST)
    apart = 0.0
    for (thread, _), found in beside.outputs.items():
        expected = alone.outputs[thread, 0]
        if found is None or expected is None:
            raise InvalidOutput(f"a probe beside others raised: {[*_told(alone), *_told(beside)][0]}")
        for name, values in expected.items():
            scale = float(np.sqrt(np.mean(np.square(values.astype(np.float64))))) or 1.0
            difference = np.abs(found[name].astype(np.float64) - values).max()
            apart = max(apart, float(difference) / scale if np.isfinite(difference) else float("inf"))
    return apart
