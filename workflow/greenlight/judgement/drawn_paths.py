"""Are whole sample paths drawn as the reference draws them? Beyond the median and the band of each step (`draws`).

The mean, both tails, the changes from step to step and over the whole path, and how much one forecast differs from the
next with another seed: none of them shows in quantiles of single steps. All are averaged over steps and windows, and
judged over replicates, each with a seed of its own in both arms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from greenlight.judgement.draws import Outcome
from greenlight.statistics.intervals import holm, mean_interval

QUANTITIES = {
    "mean": "the mean moves by {:+.2f} band widths",
    "lower tail": "the lowest path lies {:.2f} times as far from the median",
    "upper tail": "the highest path lies {:.2f} times as far from the median",
    "changes": "changes from step to step are {:.2f} times as wide",
    "whole change": "changes from the first step to the last are {:.2f} times as wide",
}
"""What is compared in each replicate, and how it reads. All but the mean are log ratios."""
BETWEEN = "between forecasts"
"""The spread of the mean path from one seed to the next: draws that lean on each other (mirrored, stratified, one for
all) make it too small or too large. Compared in each window over all replicates."""
_BETWEEN_WORDS = "the mean forecast varies {:.2f} times as much from seed to seed"


@dataclass(frozen=True)
class PathsOutcome:
    """pass, fail or inconclusive; the largest bound of a log ratio (or share of the band); and the reason in words."""

    outcome: Outcome
    bound: float
    reason: str


def path_quantities(own: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
    """Each of QUANTITIES by window, [windows], of one replicate: paths [windows, samples, horizon] in both arms."""
    width = (_width(own) + _width(other)) / 2
    # What does not spread is compared at a billionth of the price: equal to another such, far from any other.
    floor = 1e-9 * np.abs(np.median(other, axis=1)) + np.finfo(float).tiny
    found = {"mean": ((own.mean(axis=1) - other.mean(axis=1)) / (width + floor)).mean(axis=1)}
    tails = [(np.median(p, axis=1) - p.min(axis=1), p.max(axis=1) - np.median(p, axis=1)) for p in (own, other)]
    for number, name in enumerate(("lower tail", "upper tail")):
        found[name] = np.log((tails[0][number] + floor) / (tails[1][number] + floor)).mean(axis=1)
    changes = [_width(np.diff(paths, axis=2)) for paths in (own, other)]
    steps = floor[:, 1:] if own.shape[2] > 1 else floor[:, :0]
    found["changes"] = _mean(np.log((changes[0] + steps) / (changes[1] + steps)))
    whole = [_width(paths[:, :, -1:] - paths[:, :, :1]) for paths in (own, other)]
    found["whole change"] = np.log((whole[0] + floor[:, -1:]) / (whole[1] + floor[:, -1:]))[:, 0]
    return found


def spread_between(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[windows] log ratio of how much the mean path varies: means over samples [replicates, windows, horizon]."""
    floor = 1e-9 * np.abs(other.mean(axis=0)) + np.finfo(float).tiny
    ratios: np.ndarray = np.log((own.std(axis=0, ddof=1) + floor) / (other.std(axis=0, ddof=1) + floor))
    return _mean(ratios)


def _width(paths: np.ndarray) -> np.ndarray:
    """[windows, horizon] width of the 10 to 90% band."""
    low, high = np.quantile(paths, (0.1, 0.9), axis=1)
    width: np.ndarray = high - low
    return width


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=1) if values.shape[1] else np.zeros(len(values))


def judge_paths(
    quantities: Mapping[str, Sequence[float]],
    between: Sequence[float],
    limits: Mapping[str, float],
    *,
    alpha: float,
    alarm: float,
) -> PathsOutcome:
    """fail: a difference above half its limit is shown; pass: all are bounded below their limits; else inconclusive.

    Args:
        quantities: by name of QUANTITIES, means over windows, one a replicate.
        between: `spread_between`, one a window.
        limits: by name of QUANTITIES and BETWEEN.
        alpha: rate of a wrong pass; alarm: of a wrong failure.
    """
    names = [*QUANTITIES, BETWEEN]
    values = [np.asarray(quantities[name]) for name in QUANTITIES] + [np.asarray(between)]
    bounds = [mean_interval(each, alpha) for each in values]
    sizes = [max(abs(each.lower), abs(each.upper)) for each in bounds]
    p_values = holm([_p_value(each) for each in values])
    loads = [abs(each.estimate) / limits[name] for name, each in zip(names, bounds, strict=True)]
    shown = [p <= alarm and load > 0.5 for p, load in zip(p_values, loads, strict=True)]
    worst = max(range(len(names)), key=lambda i: (shown[i], loads[i]))
    outcome: Outcome = "fail" if any(shown) else "inconclusive"
    if not any(shown) and all(size < limits[name] for name, size in zip(names, sizes, strict=True)):
        outcome = "pass"
    elif outcome == "inconclusive":
        worst = max(range(len(names)), key=lambda i: sizes[i] / limits[names[i]])
    estimate = bounds[worst].estimate
    words = QUANTITIES.get(names[worst], _BETWEEN_WORDS)
    text = words.format(estimate if names[worst] == "mean" else math.exp(min(700.0, estimate)))
    return PathsOutcome(
        outcome, sizes[worst], f"{text} (bounded by {sizes[worst]:.2f}, limit {limits[names[worst]]:g})"
    )


def _p_value(values: np.ndarray) -> float:
    """Two-sided Student's t test that the mean is 0."""
    if (values == 0).all() or len(values) < 2:
        return 1.0
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return 0.0 if error == 0 else float(2 * special.stdtr(len(values) - 1, -abs(float(values.mean())) / error))
