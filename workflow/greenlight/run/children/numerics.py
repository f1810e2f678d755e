"""In a trial: teacher-forced numerics of a variant against a float64 run of the reference; then threads call it."""

from __future__ import annotations

from typing import Any

import numpy as np

from greenlight.data.windows import Window
from greenlight.measures.numerics import BEYOND, compare, other_sizes
from greenlight.run.children.caller import Caller
from greenlight.run.children.common import Request, calls_of, load, one_window_a_symbol, pin_process, truth_settings
from greenlight.run.children.draws import draw_beside
from greenlight.run.children.golden import hold_to_golden
from greenlight.run.children.serving import problem_as_served
from greenlight.run.children.threads import threads
from greenlight.trials.child import serve
from greenlight.watch.health import HealthRecorder
from greenlight.watch.precision import coarser_forecasts


def run(request: Request) -> dict[str, Any]:
    """Probe the variant, the float32 reference and the float64 reference on the same windows.

    The reference has the settings of `truth_settings`: for another implementation such as no KV cache, what training
    saw.

    Last of all threads call the variant, which is warm then. What they leave of it, or of the process, nothing else is
    measured on.
    """
    pin_process(request)
    changed = truth_settings(request)
    windows = one_window_a_symbol(request, request["probe_windows"])
    truth, single = _references(request, windows, **changed)
    keys = [window.key for window in windows]
    compared, coarser = _uncompiled(request, windows, keys, truth, single)
    if longest := request["longest_context"]:
        compared += _beyond(request, windows, keys, longest, changed)
    variant = load(request, request["variant"])
    fill = request["mode"] != "eager"
    with HealthRecorder(waits=request["mode"] == "eager") as recorder:
        if request["mode"] != "eager":
            variant.compile(request["mode"])
        for filled, _ in calls_of(windows, request["windows_per_call"], fill=fill):
            # What is probed is then the code, and the shapes, that forecasts run.
            variant.forecast(filled, request["samples"], request["seed"])
        for size in _sizes(request):
            _probe(variant.probe, windows, size, fill)
        recorder.end_of_warm_up(variant)
        for size in _sizes(request):
            probed = _probe(variant.probe, windows, size, fill)
            compared += compare(probed, single, truth, windows=keys, batch_size=size)
        found = {
            "windows": keys,
            "truth": "reference in float64" + "".join(f", {key}: {value}" for key, value in changed.items()),
            "quantities": compared,
            "coarser": coarser,
            "draws": draw_beside(request, variant) if request["draws"] else None,
            "health": recorder.record(),
            "published": _as_published(request, windows, keys) if request["independent"] else [],
            "golden": hold_to_golden(request) if request["golden"] else None,
            "served": problem_as_served(request),
        }
        together = threads(Caller(request, variant, recorder)) if request["together"] else None
    return found | {"together": together}


def _sizes(request: Request) -> list[int]:
    """Windows in a call that forecasts are made with."""
    return sorted({request["windows_per_call"], request["timed_windows"]})


def _references(request: Request, windows: list[Window], **settings: Any) -> list[dict[str, np.ndarray]]:
    """What the reference gives in float64 and in float32."""
    size, reference = request["windows_per_call"], request["reference"]
    loaded = (load(request, reference, dtype, **settings) for dtype in ("float64", "float32"))
    return [_probe(forecaster.probe, windows, size, fill=False) for forecaster in loaded]


def _uncompiled(
    request: Request,
    windows: list[Window],
    keys: list[str],
    truth: dict[str, np.ndarray],
    single: dict[str, np.ndarray],
) -> tuple[list[dict[str, Any]], str]:
    """The variant's own code in sizes that nobody plans for; not compiled, for each size would be compiled.

    And what forecasts compute more coarsely than what is compared here.
    """
    variant = load(request, request["variant"])
    found = {size: _probe(variant.probe, windows, size, fill=True) for size in other_sizes(_sizes(request))}
    compared = [e for size, own in found.items() for e in compare(own, single, truth, windows=keys, batch_size=size)]
    return compared, coarser_forecasts(variant, windows[:1], request["samples"], request["seed"])


def _as_published(request: Request, windows: list[Window], keys: list[str]) -> list[dict[str, Any]]:
    """The reference in float32, which runs other people's code, against independent code in float64."""
    size = request["windows_per_call"]
    reference = load(request, request["reference"], "float32", **request["truth"])
    independent = load(request, request["independent"], "float64")
    found, expected = (_probe(one.probe, windows, size, fill=False) for one in (reference, independent))
    return compare(found, expected, expected, windows=keys)


def _beyond(
    request: Request, windows: list[Window], keys: list[str], longest: str, changed: dict[str, Any]
) -> list[dict[str, Any]]:
    """The variant's own code where the context is longer than what the model attends to, which is made shorter here."""
    fewer = {longest: max(request["horizon"], request["context_length"] * 3 // 4)}
    truth, single = _references(request, windows, **{**changed, **fewer})
    found = _probe(load(request, request["variant"], **fewer).probe, windows, request["windows_per_call"], fill=False)
    entries = compare(found, single, truth, windows=keys)
    return [entry | {"quantity": f"{entry['quantity']}{BEYOND}"} for entry in entries]


def _probe(probe: Any, windows: list[Window], size: int, fill: bool) -> dict[str, np.ndarray]:
    """Probe `size` windows in a call; filled up where only that size was compiled."""
    parts: list[dict[str, np.ndarray]] = []
    for filled, count in calls_of(windows, size, fill):
        parts.append({name: np.array(values[:count]) for name, values in probe(filled).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


if __name__ == "__main__":
    serve(run)
