"""Many paths of a variant and of the reference for the same windows, until bounds of their differences decide."""

from __future__ import annotations

from typing import Any

import numpy as np

from greenlight.api import Forecaster
from greenlight.judgement.draws import BAND, Differences, band_differences, judge_draws
from greenlight.run.children.common import Request, calls_of, load, one_window_a_symbol, worked
from greenlight.statistics.looks import rate_at

_LEVELS = (0.1, 0.5, 0.9)


def draw_beside(request: Request, variant: Forecaster) -> dict[str, Any]:
    """Forecast each window again and again, with a seed of its own each time, in both arms.

    The number of forecasts doubles as long as the differences at each step decide nothing and there is time.
    Returns what `judgement.records.Draws` reads.
    """
    rules = request["draws"]
    windows = one_window_a_symbol(request, rules["replicate_windows"])
    reference = load(request, request["reference"])
    moved: list[np.ndarray] = []
    wider: list[np.ndarray] = []

    def draw(count: int) -> float:
        """Add `count` replicates; returns the seconds of work that they took."""
        started, size, fill = worked(request), request["windows_per_call"], request["mode"] != "eager"
        for _ in range(count):
            seed = request["seed"] + 1 + len(moved)
            calls = calls_of(windows, size, fill=fill)
            own = np.concatenate([variant.forecast(part, request["samples"], seed)[:kept] for part, kept in calls])
            other = reference.forecast(windows, request["samples"], seed)
            differences = band_differences(_bands(own), _bands(other))
            for values, found in zip((moved, wider), differences, strict=True):
                values.append(found)
        return worked(request) - started

    look, looks, left = 1, rules["looks"], rules["extra_seconds"]
    seconds = draw(rules["replicates"])
    while look < looks and not _decided(moved, wider, rules, look) and (left := left - seconds) >= 0:
        look += 1
        # As many again as there are; the next doubling would take twice as long.
        seconds = 2 * draw(len(moved))
    return {
        "windows": [window.key for window in windows],
        "replicates": len(moved),
        "look": look,
        "looks": looks,
        **{name: values.tolist() for name, values in vars(Differences.of(np.array(moved), np.array(wider))).items()},
    }


def _decided(moved: list[np.ndarray], wider: list[np.ndarray], rules: dict[str, Any], look: int) -> bool:
    differences = Differences.of(np.array(moved), np.array(wider))
    alpha = rate_at(rules["alpha"], look, rules["looks"])
    return judge_draws(differences, alpha, rules["limit"]).outcome != "inconclusive"


def _bands(paths: np.ndarray) -> dict[str, np.ndarray]:
    """Quantiles [windows, horizon] of paths [windows, samples, horizon]."""
    return dict(zip(BAND, np.quantile(paths, _LEVELS, axis=1), strict=True))
