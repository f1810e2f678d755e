"""In a trial: load a variant in a fresh process and forecast once, as the first call of predict did."""

from __future__ import annotations

import time
from typing import Any

from greenlight.measures.forecasts import paths_hash
from greenlight.run.children.common import Request, load, pin_process, practice
from greenlight.run.children.outputs import problem_of
from greenlight.trials.child import serve
from greenlight.trials.kinds import InvalidOutput
from greenlight.watch.health import HealthRecorder


def run(request: Request) -> dict[str, Any]:
    """Forecast the windows of predict's first call; InvalidOutput where the bits are not those of predict."""
    pin_process(request)
    started = time.perf_counter()
    forecaster = load(request, request["variant"])
    load_seconds = time.perf_counter() - started
    windows = practice(request)
    with HealthRecorder(waits=request["mode"] == "eager") as recorder:
        if request["mode"] != "eager":
            forecaster.compile(request["mode"])
        before = time.perf_counter()
        samples = forecaster.forecast(windows, request["samples"], request["seed"])
        first_call_seconds = time.perf_counter() - before
    found, wanted = paths_hash(samples), request["first_call_hash"]
    result = {
        "load_seconds": load_seconds,
        "first_call_seconds": first_call_seconds,
        "first_call_hash": found,
        "compared": wanted is not None,
        "health": recorder.record(),
    }
    if problem := problem_of(request, samples, windows):
        raise InvalidOutput(problem, result)
    if wanted not in (None, found):
        raise InvalidOutput("the same windows and seed gave other bits than in the process of predict", result)
    return result


if __name__ == "__main__":
    serve(run)
