"""In a trial: compile a variant from an empty cache, warm it up, and say what compilation did."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.run.children.common import Request, load, made_windows, pin_process
from greenlight.run.children.outputs import problem_of
from greenlight.trials.child import serve
from greenlight.trials.kinds import InvalidOutput
from greenlight.watch.caches import cache_size
from greenlight.watch.health import HealthRecorder
from greenlight.watch.modes import same_as
from greenlight.watch.readiness import ReadinessRecorder


def run(request: Request) -> dict[str, Any]:
    """Load, compile and call with every shape that later stages use; practice windows, no data."""
    pin_process(request)
    files_before = cache_size(Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).parent)["files"]
    started = time.perf_counter()
    forecaster = load(request, request["variant"])
    load_seconds = time.perf_counter() - started
    sizes = sorted({request["timed_windows"], request["windows_per_call"]})
    shape = (request["context_length"], request["horizon"], request["seed"])
    batches = [made_windows(request, size, *shape) for size in sizes]
    first_calls: list[float] = []
    with HealthRecorder() as recorder, ReadinessRecorder() as readiness:
        started = time.perf_counter()
        forecaster.compile(request["mode"])
        for windows in batches:
            before = time.perf_counter()
            samples = forecaster.forecast(windows, request["samples"], request["seed"])
            first_calls.append(time.perf_counter() - before)
            if problem := problem_of(request, samples, windows):
                raise InvalidOutput(problem)
            for _ in range(request["warm_up_calls"] - 1):
                forecaster.forecast(windows, request["samples"], request["seed"])
        cold_seconds = time.perf_counter() - started
        recorder.end_of_warm_up(forecaster)
        after = []
        for windows in batches:
            before = time.perf_counter()
            again = forecaster.forecast(windows, request["samples"], request["seed"])
            after.append(bool(np.isfinite(again).all()))
    return {
        "load_seconds": load_seconds,
        "cold_seconds": cold_seconds,
        "first_call_seconds": first_calls[0],
        "shapes": [{"windows": size, "first_call_seconds": s} for size, s in zip(sizes, first_calls, strict=True)],
        "cache_files_before": files_before,
        "finite": all(after),
        "sizes": forecaster.sizes(),
        "changes": forecaster.changes(),
        "same_as": same_as(request["mode"], request["device"]),
        "health": recorder.record(),
        "readiness": readiness.record(),
    }


if __name__ == "__main__":
    serve(run)
