"""In a probe: does the object that production calls give what the gate judges?

A predictor prepares what it is given, and restores what it returns, by code of its own that no forecast of the gate
runs. A forecaster that has one says so by a method `served` (docs/plugins.md).
"""

from __future__ import annotations

import numpy as np

from greenlight.data.returns import AS_PRICES
from greenlight.run.children.common import Request, load, one_window_a_symbol
from greenlight.variants import Variant

# Few, for it is the code around the model that is looked at.
_WINDOWS, _SAMPLES = 3, 4
# Share of the spread within which the two agree. Of the shipped models paths are equal to the bit, their means to 1e-7
# of the price.
_TOLERANCE = 0.01
# Differences below this share of the price are rounding in float32.
_ROUNDING = 1e-5


def problem_as_served(request: Request) -> str | None:
    """How production's object differs from the forecasts that are judged, in words; empty where it does not, None where
    there is none, or models are given returns.

    Asked of the variant's own code in float32 and not compiled, in which every shape runs at once. A candle near the
    edge between two tokens may be rounded to the other one; so it must be off in more than half of the windows.
    """
    own = str(Variant(Variant.parse(request["variant"]).implementation, "eager", "float32"))
    if request["input"] != AS_PRICES:
        return None
    served = getattr(load(request, own), "served", None)
    if served is None:
        return None
    windows = one_window_a_symbol(request | {"missing": 0.0}, _WINDOWS)
    try:
        given = served(windows, _SAMPLES, request["seed"])
    except ValueError as error:
        return f"production's object: {error}"
    for name, (found, expected) in given.items():
        if found.shape != expected.shape:
            return f"production's object gives {name} of shape {found.shape}, the forecaster {expected.shape}"
        level = np.abs(expected).max(axis=(1, 2))
        allowed = _TOLERANCE * expected.std(axis=1).mean(axis=-1) + _ROUNDING * level
        apart = np.abs(found - expected).max(axis=(1, 2))
        off = ~(apart <= allowed)  # what is not a number is off, too
        if off.mean() > 0.5:
            row = int(np.argmax(off))
            size = apart[row] / level[row] if level[row] else apart[row]
            return (
                f"production's object gives other forecasts than are judged: {name} in {off.sum()} of {len(windows)} "
                f"windows, first {windows[row].key}, off by {100 * size:.2g}%"
            )
    return ""
