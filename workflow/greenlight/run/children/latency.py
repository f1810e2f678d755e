"""In a trial: latency of a variant and of the reference, call by call in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from greenlight.measures.latency import interleaved_pairs
from greenlight.measures.memory import MemoryMeter, memory_slope
from greenlight.run.children.common import Request, load, one_window_a_symbol, pin_process, problem_of
from greenlight.statistics.looks import pairs_at, rate_at
from greenlight.statistics.sequential import settled
from greenlight.trials.child import serve
from greenlight.trials.kinds import InvalidOutput
from greenlight.watch.health import HealthRecorder


def run(request: Request) -> dict[str, Any]:
    """Warm both up, then time pairs; each process draws its own order from the seed and its number.

    The last process goes on where all pairs so far, those of the processes before it included, decide nothing.
    """
    pin_process(request)
    timing = request["timing"]
    windows = one_window_a_symbol(request, request["timed_windows"])
    reference = load(request, request["reference"])
    started = time.perf_counter()
    variant = load(request, request["variant"])
    load_seconds = time.perf_counter() - started
    with MemoryMeter(request["device"]) as meter, HealthRecorder() as recorder:
        if request["mode"] != "eager":
            variant.compile(request["mode"])
        started = time.perf_counter()
        variant.forecast(windows, request["samples"], request["seed"])
        first_call_seconds = time.perf_counter() - started
        for _ in range(timing["warm_up_calls"]):
            variant.forecast(windows, request["samples"], request["seed"])
            reference.forecast(windows, request["samples"], request["seed"])
        recorder.end_of_warm_up()

        def after_pair(output: np.ndarray) -> None:
            meter.read()
            if problem := problem_of(request, output, windows):
                raise InvalidOutput(f"a timed call: {problem}")

        def measure(pairs: int, control_pairs: int, first: int) -> list[dict[str, Any]]:
            return interleaved_pairs(
                lambda number: reference.forecast(windows, request["samples"], request["seed"] + number),
                lambda number: variant.forecast(windows, request["samples"], request["seed"] + number),
                pairs=pairs,
                control_pairs=control_pairs,
                seed=request["seed"] + request["process"],
                first=first,
                after_pair=after_pair,
            )

        pairs = measure(timing["pairs"], timing["control_pairs"], 0)
        looks = 1
        for more in _further(request, pairs):
            pairs += measure(*more, len(pairs))
            looks += 1
    return {
        "pairs": pairs,
        "looks": looks,
        "load_seconds": load_seconds,
        "first_call_seconds": first_call_seconds,
        "warm_up_calls": timing["warm_up_calls"],
        "windows": len(windows),
        "recompiles_after_warm_up": recorder.record()["recompiles_after_warm_up"],
        "memory_readings": meter.readings["host_bytes"],
        "device_memory_readings": meter.readings["device_bytes"],
        "memory_slope": memory_slope(meter.readings["host_bytes"]),
        "device_memory_slope": memory_slope(meter.readings["device_bytes"]),
        "peak_memory_bytes": meter.record()["host_peak_bytes"],
        "device_peak_bytes": meter.record()["device_peak_bytes"],
        "memory": meter.record(),
        "health": recorder.record(),
    }


def _further(request: Request, pairs: list[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """(pairs, A/A pairs) to measure next, as long as those in `pairs` decide nothing and there is time for more."""
    timing = request["timing"]
    processes, looks, left = timing["processes"], timing["looks"], timing["extra_seconds"]
    if request["process"] != processes - 1 or request["earlier"] is None:
        return
    for look in range(1, looks):
        if _settled(request, pairs, rate_at(1.0, look, looks)):
            return
        more, controls = (
            pairs_at(timing[name], processes, look + 1) - pairs_at(timing[name], processes, look)
            for name in ("pairs", "control_pairs")
        )
        seconds = sum(pair["reference_seconds"] + pair["variant_seconds"] for pair in pairs) / len(pairs)
        left -= seconds * (more + controls)
        if left < 0:
            return
        yield more, controls


def _settled(request: Request, pairs: list[dict[str, Any]], share: float) -> bool:
    every = [*request["earlier"], *({**pair, "process": request["process"]} for pair in pairs)]
    ratios = np.array([np.log(pair["variant_seconds"] / pair["reference_seconds"]) for pair in every])
    control = np.array([pair["control"] for pair in every])
    process = np.array([pair["process"] for pair in every])
    return settled(ratios[~control], process[~control], ratios[control], share=share, **request["slowdown"])


if __name__ == "__main__":
    serve(run)
