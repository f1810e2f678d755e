"""In a trial: latency of a variant and of the reference, call by call in turn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from greenlight.measures.latency import SlowCalls, interleaved_pairs, slow_calls
from greenlight.measures.memory import MemoryMeter
from greenlight.measures.steadiness import calls_until_slow, steady_calls
from greenlight.measures.timed import TimedOutputs
from greenlight.run.children.common import Request, load, one_window_a_symbol, pin_process, worked
from greenlight.run.children.outputs import problem_of
from greenlight.statistics.intervals import excess_p_value
from greenlight.statistics.looks import calls_to_bound, pairs_at, rate_at, slow_rate
from greenlight.statistics.sequential import settled, slow_of, tail_settled
from greenlight.trials.child import serve
from greenlight.trials.gpu import device_condition
from greenlight.trials.kinds import InvalidOutput
from greenlight.trials.load import Watch, is_busy, wait_until_quiet
from greenlight.watch.health import HealthRecorder

# Seeds of calls alone begin so far above those of pairs, however many pairs there will be.
_ALONE = 1 << 24
# Seconds before calls alone are made once more: what interrupts a machine comes in bursts.
_PAUSE = 5.0


def run(request: Request) -> dict[str, Any]:
    """Warm both up, then time pairs; each process draws its own order from the seed and its number.

    The last process goes on where all pairs so far, those of the processes before it included, decide nothing.
    """
    watch, idle = Watch(request["device"]), device_condition(request["device"])
    pin_process(request)
    timing = request["timing"]
    windows = one_window_a_symbol(request, request["timed_windows"])
    reference = load(request, request["reference"])
    started = time.perf_counter()
    variant = load(request, request["variant"])
    load_seconds = time.perf_counter() - started
    with MemoryMeter(request["device"]) as meter, HealthRecorder(waits=request["mode"] == "eager") as recorder:
        if request["mode"] != "eager":
            variant.compile(request["mode"])
        started = time.perf_counter()
        variant.forecast(windows, request["samples"], request["seed"])
        first_call_seconds = time.perf_counter() - started
        for _ in range(timing["warm_up_calls"]):
            variant.forecast(windows, request["samples"], request["seed"])
            reference.forecast(windows, request["samples"], request["seed"])
        recorder.end_of_warm_up(variant)

        returned = TimedOutputs(
            np.array([np.abs(window.known).mean() for window in windows]),
            **{name: request[name] for name in ("alike", "tolerance", "random")},
        )

        def check(output: np.ndarray) -> None:
            if problem := problem_of(request, output, windows):
                raise InvalidOutput(f"a timed call: {problem}")

        def after_pair(control: bool, output: np.ndarray, other: np.ndarray) -> None:
            meter.read()
            check(output)
            if not control:
                returned.add_pair(output, other)

        def after_call(output: np.ndarray) -> None:
            check(output)
            returned.add(output)

        def measure(pairs: int, control_pairs: int, first: int) -> list[dict[str, Any]]:
            # Pairs that are timed again have seeds of their own: no call asks for what an earlier one was given.
            shift = request["seed"] + again.dropped
            return interleaved_pairs(
                lambda number: reference.forecast(windows, request["samples"], shift + number),
                lambda number: timed_variant(shift + number),
                pairs=pairs,
                control_pairs=control_pairs,
                seed=shift + request["process"],
                first=first,
                after_pair=after_pair,
            )

        latest: dict[str, Any] = {}

        def timed_variant(seed: int) -> np.ndarray:
            output = variant.forecast(windows, request["samples"], seed)
            latest["seed"], latest["output"] = seed, output
            return output

        again = Quietly(request, measure)
        before = watch.read()
        pairs = again.measure(timing["pairs"], timing["control_pairs"], 0)
        # Before further pairs, which take the reference's time too: often they decide what pairs leave open.
        *before_alone, alone = calls_alone(request, pairs, timed_variant, after_call)
        looks = 1
        for more in _further(request, pairs, alone, lambda: again.seconds_each):
            pairs += again.measure(*more, len(pairs))
            looks += 1
        after, timed = Watch(request["device"]), np.array(latest["output"])
        if not np.array_equal(timed, variant.forecast(windows, request["samples"], latest["seed"])):
            raise InvalidOutput("the same call gives other values where it is not timed")
        if problem := returned.problem():
            raise InvalidOutput(problem)
    return {
        "pairs": pairs,
        "looks": looks,
        "alone": alone,
        "alone_before": before_alone,
        "load": {"idle": idle, "before": before, "during": again.loads, "after": after.read()},
        "load_seconds": load_seconds,
        "first_call_seconds": first_call_seconds,
        "warm_up_calls": timing["warm_up_calls"],
        "windows": len(windows),
        "recompiles_after_warm_up": recorder.record()["recompiles_after_warm_up"],
        "memory_readings": meter.readings["host_bytes"],
        "device_memory_readings": meter.readings["device_bytes"],
        "peak_memory_bytes": meter.record()["host_peak_bytes"],
        "device_peak_bytes": meter.record()["device_peak_bytes"],
        "memory": meter.record(),
        "health": recorder.record(),
    }


class Quietly:
    """Times pairs, and again those that others on the machine were at work beside, within `timing.extra_seconds`.

    What decides whether pairs count is the load of others alone, never what was timed.

    Attributes:
        loads: of each batch of pairs, in order; `kept` says whether its pairs count.
        dropped: pairs that do not count.
    """

    def __init__(self, request: Request, measure: Callable[[int, int, int], list[dict[str, Any]]]) -> None:
        self.limit, self.device = request["foreign_load"], request["device"]
        self.left, self._measure = request["timing"]["extra_seconds"], measure
        self.loads: list[dict[str, Any]] = []
        self.dropped = 0
        self._request, self._worked, self._kept = request, 0.0, 0

    def measure(self, pairs: int, control_pairs: int, first: int) -> list[dict[str, Any]]:
        """A batch of pairs; where the time for another try is up, the last counts, and its load tells."""
        while True:
            watch, began = Watch(self.device), worked(self._request)
            found = self._measure(pairs, control_pairs, first)
            load = watch.read()
            self.loads.append(load | {"pairs": len(found), "kept": True})
            if not is_busy(load, self.limit) or load["seconds"] > self.left:
                self._worked += worked(self._request) - began
                self._kept += len(found)
                return found
            self.left -= wait_until_quiet(self.limit, self.left - load["seconds"], self.device) + load["seconds"]
            self.loads[-1]["kept"] = False
            self.dropped += len(found)

    @property
    def seconds_each(self) -> float:
        """Seconds of work that a pair took."""
        return self._worked / self._kept


def calls_alone(
    request: Request,
    pairs: list[dict[str, Any]],
    variant: Callable[[int], np.ndarray],
    after_call: Callable[[np.ndarray], None],
) -> list[dict[str, list[float]]]:
    """One to three batches of calls, of which the last counts; `variant` gets the seed of its call.

    First as many as bound the share of slow calls if none is slow; if one is, a batch beside the yardstick. Where more
    look slow in that than of what they are held against, another one after a pause: code that is slow now and then is
    so again, and a machine that was interrupted seldom is. Each may pass a share at its limit at a third of the rate
    (`looks.slow_rate`).
    """
    plan, tail = planned_alone(request, pairs), request["tail"]
    found: list[dict[str, list[float]]] = []

    def first_seed() -> int:
        return int(request["seed"]) + _ALONE + sum(len(batch["variant_seconds"]) for batch in found)

    def seeded(number: int) -> np.ndarray:
        return variant(first_seed() + number)

    def beside_yardstick() -> dict[str, list[float]]:
        own = {name: plan[name] for name in ("calls", "seconds")}
        return steady_calls(seeded, **own, seed=first_seed(), device=request["device"], after_call=after_call)

    if plan["look_at"] <= plan["calls"]:
        calls, slow_call = int(plan["look_at"]), tail["slow_call"]
        found.append(calls_until_slow(seeded, calls=calls, slow_call=slow_call, after_call=after_call))
        if len(found[0]["variant_seconds"]) == calls and not slow_of(slow_call, found[0]["variant_seconds"])[0]:
            return found
    found.append(beside_yardstick())
    slow = _slow(request, pairs, found[-1])
    if plan["calls"] and excess_p_value(*slow.held, *slow.beside) <= tail["suspicion"]:
        time.sleep(_PAUSE)
        found.append(beside_yardstick())
    return found


def _slow(request: Request, pairs: list[dict[str, Any]], alone: dict[str, list[float]]) -> SlowCalls:
    every = _columns(request, pairs)
    arms = [every[name] for name in ("process", "pair", "control", "reference_seconds", "variant_seconds")]
    return slow_calls(request["tail"]["slow_call"], alone, *arms)


def planned_alone(request: Request, pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """{"calls", "seconds", "look_at"} for `calls_alone`, after the planned pairs of all processes.

    As many as are asked for and fit into `timing.extra_seconds`, and before them so many that none that is slow would
    bound the share of slow ones. Where not even so many fit, they can't bound it: then as many as there are in pairs.
    """
    timing, tail = request["timing"], request["tail"]
    seconds = float(np.median([pair["variant_seconds"] for pair in pairs if not pair["control"]]))
    if not _is_last(request):
        return {"calls": 0, "seconds": seconds, "look_at": math.inf}
    every = _columns(request, pairs)
    slow, seen = slow_of(tail["slow_call"], every["variant_seconds"][~every["control"]])
    rate = slow_rate(tail["alpha"] * rate_at(1.0, 1, timing["looks"]), timing["steady_calls"])
    look_at = max(1, calls_to_bound(tail["slow_share"], rate) - seen)
    calls = min(timing["steady_calls"], int(timing["extra_seconds"] / (2 * seconds)))
    if calls < min(look_at, timing["steady_calls"]):
        calls = min(calls, seen)
    return {"calls": calls, "seconds": seconds, "look_at": math.inf if slow else look_at}


def _further(
    request: Request,
    pairs: list[dict[str, Any]],
    alone: dict[str, list[float]],
    seconds_each: Callable[[], float],
) -> Iterator[tuple[int, int]]:
    """(pairs, A/A pairs) to measure next, as long as those in `pairs` decide nothing and there is time for more.

    Time is that of work, which others on the machine do not shorten.
    """
    timing = request["timing"]
    processes, looks, left = timing["processes"], timing["looks"], timing["extra_seconds"]
    if not _is_last(request):
        return
    for look in range(1, looks):
        if _settled(request, pairs, alone, rate_at(1.0, look, looks)):
            return
        more, controls = (
            pairs_at(timing[name], processes, look + 1) - pairs_at(timing[name], processes, look)
            for name in ("pairs", "control_pairs")
        )
        left -= seconds_each() * (more + controls)
        if left < 0:
            return
        yield more, controls


def _is_last(request: Request) -> bool:
    """Whether this is the last process, after others that all succeeded: what is open is measured further in it."""
    return request["process"] == request["timing"]["processes"] - 1 and request["earlier"] is not None


def _columns(request: Request, pairs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The pairs of all processes so far, by column."""
    every = [*request["earlier"], *({**pair, "process": request["process"]} for pair in pairs)]
    return {name: np.array([pair[name] for pair in every]) for name in every[0]}


def _settled(request: Request, pairs: list[dict[str, Any]], alone: dict[str, list[float]], share: float) -> bool:
    every, tail = _columns(request, pairs), request["tail"]
    control, process = every["control"], every["process"]
    ratios = np.log(every["variant_seconds"] / every["reference_seconds"])
    slow = _slow(request, pairs, alone)
    rate = slow_rate(tail["alpha"] * share, len(alone["variant_seconds"]))
    steady = tail_settled(slow.own, slow.held, slow.beside, slow_share=tail["slow_share"], rate=rate)
    return steady and settled(ratios[~control], process[~control], ratios[control], share=share, **request["slowdown"])


if __name__ == "__main__":
    serve(run)
