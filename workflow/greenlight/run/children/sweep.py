"""In a trial: calls of one variant in one size, timed, with what they need of memory."""

from __future__ import annotations

import time
from typing import Any

from greenlight.measures.latency import timed_call
from greenlight.measures.memory import MemoryMeter
from greenlight.run.children.common import Request, load, made_windows, pin_process
from greenlight.run.children.outputs import problem_of
from greenlight.trials.child import serve
from greenlight.trials.kinds import InvalidOutput


def run(request: Request) -> dict[str, Any]:
    """Load, compile, warm up and time. Windows are seeded random walks: any size can be had, whatever the prices."""
    pin_process(request)
    sizes = (request["timed_windows"], request["context_length"], request["horizon"])
    windows = made_windows(request, *sizes, request["seed"])
    variant = load(request, request["variant"])
    with MemoryMeter(request["device"]) as meter:
        started = time.perf_counter()
        if request["mode"] != "eager":
            variant.compile(request["mode"])
        variant.forecast(windows, request["samples"], request["seed"])
        first_call_seconds = time.perf_counter() - started
        for _ in range(request["warm_up_calls"]):
            variant.forecast(windows, request["samples"], request["seed"])
        seconds = []
        for number in range(request["calls"]):
            seed = request["seed"] + 1 + number
            spent, output = timed_call(lambda own: variant.forecast(windows, request["samples"], own), seed)
            if problem := problem_of(request, output, windows):
                raise InvalidOutput(problem)
            seconds.append(spent)
            meter.read()
    memory = meter.record()
    return {
        "seconds": seconds,
        "first_call_seconds": first_call_seconds,
        "peak_memory_bytes": memory["host_peak_bytes"],
        "device_peak_bytes": memory["device_peak_bytes"],
    }


if __name__ == "__main__":
    serve(run)
