"""In a trial: a variant called as production calls it: in many shapes, and many times."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from greenlight.api import Forecaster
from greenlight.measures.memory import MemoryMeter
from greenlight.measures.numerics import compare
from greenlight.run.children.caller import Caller, differences, windows_in
from greenlight.run.children.common import Request, load, pin_process, truth_settings
from greenlight.trials.call_settings import Shape
from greenlight.trials.child import serve
from greenlight.watch.health import HealthRecorder

Probe = dict[str, np.ndarray]
TURNS = 4  # of a soak: other windows in each
READINGS = 1000  # of memory and time in a soak, at most


def run(request: Request) -> dict[str, Any]:
    """Returns what `judgement.call_records.CallResult` reads. Windows are seeded random walks, so no prices count."""
    pin_process(request)
    shapes = [Shape(*sizes) for sizes in request["shapes"]]
    truths = _truths(request, shapes)
    eager = load(request, request["eager"]) if shapes and request["eager"] else None
    variant = load(request, request["variant"])
    with MemoryMeter(request["device"]) as meter, HealthRecorder(waits=request["mode"] == "eager") as recorder:
        if request["mode"] != "eager":
            variant.compile(request["mode"])
        caller = Caller(request, variant, recorder)
        swept = sweep(caller, shapes, eager)
        limit_hits = recorder.record()["recompile_limit_hits"]
        soaked = soak(caller, meter) if request["calls"] else None
        for entry, shape, truth in zip(swept, shapes, truths, strict=True):
            entry["quantities"] = _numerics(variant, request, shape, truth)
    return {
        "eager": request["eager"],
        "shapes": swept,
        "limit_hits": limit_hits,
        "soak": soaked,
        "memory": meter.record(),
        "health": recorder.record(),
    }


def sweep(caller: Caller, shapes: list[Shape], eager: Forecaster | None) -> list[dict[str, Any]]:
    """Call every shape, then every shape again from the last to the first, and hold both to the eager forecasts."""
    first = [caller.in_shape(shape) for shape in shapes]
    again = [caller.in_shape(shape) for shape in reversed(shapes)][::-1]
    return [
        {
            **shape._asdict(),
            "first": seen_first,
            "again": seen_again,
            "agreement": None if eager is None else _agreement(caller.request, eager, shape, [output, second]),
        }
        for shape, (output, seen_first), (second, seen_again) in zip(shapes, first, again, strict=True)
    ]


def _agreement(request: Request, eager: Forecaster, shape: Shape, outputs: list[np.ndarray]) -> dict[str, Any]:
    """Forecasts against those of eager code with the same random numbers, the worse of the two passes."""
    windows = windows_in(shape, request)
    expected = np.array(eager.forecast(windows, shape.samples, request["seed"]))
    found = [differences(output, expected, windows) for output in outputs]
    parted = [int((each.apart > request["tolerance"]).sum()) for each in found]
    return {
        "paths": int(found[0].apart.size),
        "parted": max(parted),
        "farthest": max(float(each.largest.max()) for each in found),
    }


def soak(caller: Caller, meter: MemoryMeter) -> dict[str, Any]:
    """Many calls in the shape of the run's own, other windows in turn; what the first calls gave is asked for again."""
    request, own = caller.request, Shape(*caller.request["own_shape"])
    groups = [windows_in(own, request, group) for group in range(TURNS)]
    firsts = [np.array(caller.variant.forecast(windows, own.samples, request["seed"])) for windows in groups]
    before = {name: len(readings) for name, readings in meter.readings.items()}
    caller.recorder.end_of_warm_up()
    seconds: list[float] = []
    changed, every = 0, -(-request["calls"] // READINGS)
    for number in range(request["calls"]):
        began = time.perf_counter()
        output = np.array(caller.variant.forecast(groups[number % TURNS], own.samples, request["seed"]))
        seconds.append(time.perf_counter() - began)
        changed += not np.array_equal(output, firsts[number % TURNS])
        if number % every == 0:
            meter.read()
    return {
        "calls": request["calls"],
        "changed": changed,
        "compiled": caller.recorder.record()["compilations_after_warm_up"],
        "calls_a_reading": every,
        "seconds": seconds[::every],
        "memory_readings": meter.readings["host_bytes"][before["host_bytes"] :],
        "device_memory_readings": meter.readings["device_bytes"][before["device_bytes"] :],
    }


def _truths(request: Request, shapes: list[Shape]) -> list[tuple[Probe, Probe]]:
    """Probes of the reference in float64 and in float32 at each shape; each is loaded once, and let go."""
    if not shapes:
        return []
    arms = []
    for dtype in ("float64", "float32"):
        reference = load(request, request["reference"], dtype, **truth_settings(request))
        arms.append([reference.probe([windows_in(shape, request)[row] for row in _rows(shape)]) for shape in shapes])
    return list(zip(*arms, strict=True))


def _rows(shape: Shape) -> list[int]:
    """The windows of a call whose numerics are looked at: its first and its last two."""
    return sorted({0, min(1, shape.batch - 1), max(0, shape.batch - 2), shape.batch - 1})


def _numerics(
    variant: Forecaster, request: Request, shape: Shape, truth: tuple[Probe, Probe]
) -> list[dict[str, Any]]:  # fmt: skip
    """Teacher-forced numerics of a whole call in a shape."""
    windows, rows = windows_in(shape, request), _rows(shape)
    found = {name: np.array(values)[rows] for name, values in variant.probe(windows).items()}
    exact, single = truth
    names = [windows[row].key for row in rows]
    return compare(found, single, exact, windows=names, batch_size=shape.batch)


if __name__ == "__main__":
    serve(run)
