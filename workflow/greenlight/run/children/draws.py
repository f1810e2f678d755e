"""Many paths of a variant and of the reference for the same windows, until bounds of their differences decide."""

from __future__ import annotations

from typing import Any

import numpy as np

from greenlight.api import Forecaster
from greenlight.judgement.drawn_paths import QUANTITIES, judge_paths, path_quantities, spread_between
from greenlight.judgement.drawn_pooled import pool, shown_pooled
from greenlight.judgement.drawn_windows import WindowDifferences, compare_windows, shown_window, units_of
from greenlight.judgement.draws import BAND, Differences, band_differences, judge_draws
from greenlight.run.children.common import Request, calls_of, load, one_window_a_symbol, worked
from greenlight.statistics.looks import rate_at

_LEVELS = (0.1, 0.5, 0.9)


def draw_beside(request: Request, variant: Forecaster) -> dict[str, Any]:
    """Forecast each window again and again, with a seed of its own each time, in both arms.

    The number of forecasts doubles as long as the differences decide nothing and there is time.
    Returns what `judgement.probe_records.Draws` reads.
    """
    rules = request["draws"]
    windows = one_window_a_symbol(request, rules["replicate_windows"])
    reference = load(request, request["reference"])
    drawn = _Drawn([window.key for window in windows])

    def draw(count: int) -> float:
        """Add `count` replicates; returns the seconds of work that they took."""
        started, size, fill = worked(request), request["windows_per_call"], request["mode"] != "eager"
        for _ in range(count):
            seed = request["seed"] + 1 + len(drawn.moved)
            calls = calls_of(windows, size, fill=fill)
            own = np.concatenate([variant.forecast(part, request["samples"], seed)[:kept] for part, kept in calls])
            drawn.add(own, reference.forecast(windows, request["samples"], seed))
        return worked(request) - started

    look, looks, left = 1, rules["looks"], rules["extra_seconds"]
    seconds = draw(rules["replicates"])
    while look < looks and not drawn.decided(rules, look) and (left := left - seconds) >= 0:
        look += 1
        # As many again as there are; the next doubling would take twice as long.
        seconds = 2 * draw(len(drawn.moved))
    return {
        "windows": drawn.windows,
        "replicates": len(drawn.moved),
        "look": look,
        "looks": looks,
        **{name: values.tolist() for name, values in vars(drawn.differences()).items()},
        "paths": drawn.paths,
        "between": drawn.between(),
        "ranks": {name: values.tolist() for name, values in vars(drawn.ranks()).items()},
        "pooled": drawn.pooled(),
    }


class _Drawn:
    """What is kept of the replicates."""

    def __init__(self, windows: list[str]) -> None:
        self.windows = windows
        self.moved: list[np.ndarray] = []
        self.wider: list[np.ndarray] = []
        self.paths: dict[str, list[float]] = {name: [] for name in QUANTITIES}
        self.means: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self.all: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])

    def add(self, own: np.ndarray, other: np.ndarray) -> None:
        """A replicate: paths [windows, samples, horizon] of both arms."""
        differences = band_differences(_bands(own), _bands(other))
        for values, found in zip((self.moved, self.wider), differences, strict=True):
            values.append(found)
        for name, windows in path_quantities(own, other).items():
            self.paths[name].append(float(windows.mean()))
        for means, paths in zip(self.means, (own, other), strict=True):
            means.append(paths.mean(axis=1))
        for kept, paths in zip(self.all, (own, other), strict=True):
            kept.append(paths.astype(np.float32))

    def differences(self) -> Differences:
        return Differences.of(np.array(self.moved), np.array(self.wider))

    def between(self) -> list[float]:
        own, other = (np.array(means) for means in self.means)
        return [float(ratio) for ratio in spread_between(own, other)]

    def ranks(self) -> WindowDifferences:
        """Of all paths of each window in both arms."""
        return compare_windows(*(np.concatenate(paths, axis=1) for paths in self.all))

    def pooled(self) -> dict[str, list[float]]:
        """Of all paths of all windows in both arms."""
        return pool(*(np.concatenate(paths, axis=1) for paths in self.all))

    def decided(self, rules: dict[str, Any], look: int) -> bool:
        alpha = rate_at(rules["alpha"], look, rules["looks"])
        alarm = rate_at(rules["alarm"], look, rules["looks"])
        bands = judge_draws(self.differences(), alpha, rules["limit"], alarm).outcome
        paths = judge_paths(self.paths, self.between(), rules["path_limits"], alpha=alpha, alarm=alarm / 2).outcome
        shown = shown_window(self.ranks(), units_of(self.windows), alarm, rules["limit"] / 2)
        shown = shown or shown_pooled(self.pooled(), alarm / 2)
        return bool(shown) or "fail" in (bands, paths) or "inconclusive" not in (bands, paths)


def _bands(paths: np.ndarray) -> dict[str, np.ndarray]:
    """Quantiles [windows, horizon] of paths [windows, samples, horizon]."""
    return dict(zip(BAND, np.quantile(paths, _LEVELS, axis=1), strict=True))
