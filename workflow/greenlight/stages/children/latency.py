"""In a trial: latency of a variant and of the reference, call by call in turn."""

from __future__ import annotations

import time
from typing import Any

from greenlight.compilation.health import HealthRecorder
from greenlight.measures.latency import interleaved_pairs
from greenlight.measures.memory import MemoryMeter, memory_slope
from greenlight.models.base import Variant
from greenlight.stages.children.common import Request, load, one_window_a_symbol, pin_process
from greenlight.trials.child import serve


def run(request: Request) -> dict[str, Any]:
    """Warm both up, then time pairs; each process draws its own order from the seed and its number."""
    pin_process(request)
    timing = request["timing"]
    windows = one_window_a_symbol(request, request["timed_windows"])
    reference = load(request, Variant.parse(request["reference"]).implementation)
    started = time.perf_counter()
    variant = load(request, request["implementation"])
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
        pairs = interleaved_pairs(
            lambda: reference.forecast(windows, request["samples"], request["seed"]),
            lambda: variant.forecast(windows, request["samples"], request["seed"]),
            pairs=timing["pairs"],
            control_pairs=timing["control_pairs"],
            seed=request["seed"] + request["process"],
            after_pair=meter.read,
        )
    return {
        "pairs": pairs,
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


if __name__ == "__main__":
    serve(run)
