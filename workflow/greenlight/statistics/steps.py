"""Where a series of runs stepped to another level: a piecewise constant fit with a known rate of false alarms.

The fit is that of asv (airspeed velocity): levels are medians, and a step stands where the absolute deviations from
them are least. Where asv chooses the number of steps by a penalty, a step here must pass a permutation test: in how
many random orders of the same values would the ranks on the two sides of the best split differ by as much? Whatever
the distribution of the values, a series in which their order means nothing shows a step in at most `alpha` of cases.
Ranks, so that a single wild run neither makes a step nor hides one.

Runs of a machine resemble the run before, which makes steps of chance. So the difference of the ranks is held to be as
uncertain as in a series with the correlation of neighbours that is left after the best split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

FEWEST = 2  # runs on each side of a step
# Values that agree so far in so many runs are no measurement with noise: what differs then has changed.
EXACT, EXACT_RUNS = 1e-6, 3
ORDERS = 30  # of the random orders, so many are expected beyond a difference that is just significant
_SEED = 20260101


@dataclass(frozen=True)
class Level:
    """A stretch of a series: values [start, stop) around their median."""

    start: int
    stop: int
    median: float


def find_levels(values: Sequence[float], alpha: float, smallest: float) -> list[Level]:
    """The levels of a series, one where it never steps.

    Args:
        values: positive, finite, in the order of the runs.
        alpha: rate of false alarms of the whole series.
        smallest: relative change of the level below which a step is left out, however certain.
    """
    logs = np.log(np.asarray(values, dtype=float))
    cuts = _cuts(logs, alpha, math.log1p(smallest))
    bounds = [0, *cuts, len(logs)]
    return [
        Level(start, stop, float(np.exp(np.median(logs[start:stop]))))
        for start, stop in pairwise(bounds)
        if stop > start
    ]


def _cuts(logs: np.ndarray, alpha: float, smallest: float) -> list[int]:
    """Where steps begin: those of values that repeat exactly, and in each stretch between them those of a test."""
    exact = [cut for cut in range(EXACT_RUNS, len(logs)) if _exact_change(logs, cut, smallest)]
    bounds = [0, *exact, len(logs)]
    found = list(exact)
    for start, stop in pairwise(bounds):
        found += [start + cut for cut in _tested(logs[start:stop], alpha, smallest)]
    return sorted(found)


def _exact_change(logs: np.ndarray, cut: int, smallest: float) -> bool:
    before = logs[cut - EXACT_RUNS : cut]
    return bool(np.ptp(before) <= EXACT and abs(logs[cut] - before[-1]) > smallest)


def _tested(logs: np.ndarray, alpha: float, smallest: float) -> list[int]:
    """Binary segmentation: the best split of a stretch, then of its parts at half the rate each."""
    if len(logs) < 2 * FEWEST or not significant_split(logs, alpha):
        return []
    cut = _best_cut(logs)
    if abs(np.median(logs[cut:]) - np.median(logs[:cut])) <= smallest:
        return []
    right = [cut + other for other in _tested(logs[cut:], alpha / 2, smallest)]
    return [*_tested(logs[:cut], alpha / 2, smallest), cut, *right]


def _best_cut(logs: np.ndarray) -> int:
    """The split with the least absolute deviations from the medians of both sides."""

    def deviation(part: np.ndarray) -> float:
        return float(np.abs(part - np.median(part)).sum())

    return min(range(FEWEST, len(logs) - FEWEST + 1), key=lambda cut: deviation(logs[:cut]) + deviation(logs[cut:]))


def significant_split(values: np.ndarray, alpha: float) -> bool:
    """Whether ranks differ between the sides of the best split by more than order alone explains, at rate `alpha`."""
    if 2 / math.comb(len(values), len(values) // 2) > alpha:
        return False  # so few values can't show it
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    differences = _differences(ranks[None])[0]
    split = FEWEST + int(differences.argmax())
    found = differences.max() / math.sqrt(_inflation(ranks, split))
    null = _of_random_orders(tuple(np.sort(ranks).tolist()), max(1999, math.ceil(ORDERS / alpha) - 1))
    larger = np.count_nonzero(null >= found * (1 - 1e-6))
    return bool((1 + larger) / (1 + len(null)) <= alpha)


def _inflation(ranks: np.ndarray, split: int) -> float:
    """How many times as large neighbours that resemble each other make the variance of a mean; at least 1.

    The smaller of two estimates of their correlation: what is left after the split, which further steps enlarge, and
    differences of runs that are one and two apart, which they hardly do.
    """
    left = np.concatenate([part - part.mean() for part in (ranks[:split], ranks[split:])])
    total, near, far = (float((values**2).sum()) for values in (left, np.diff(ranks), ranks[2:] - ranks[:-2]))
    if not total or not near:
        return 1.0
    correlation = min(float((left[1:] * left[:-1]).sum()) / total, far / near - 1)
    correlation = min(max(correlation, 0.0), 0.9)
    return (1 + correlation) / (1 - correlation)


@cache
def _of_random_orders(ranks: tuple[float, ...], orders: int) -> np.ndarray:
    """[orders] largest difference over all splits of the ranks in random orders, a part at a time for memory."""
    rng, given = np.random.default_rng([_SEED, len(ranks), orders]), np.array(ranks, dtype=np.float32)
    part = max(1, 1_000_000 // len(ranks))
    sizes = [min(part, orders - start) for start in range(0, orders, part)]
    shuffled = (rng.permuted(np.broadcast_to(given, (size, len(given))), axis=1) for size in sizes)
    return np.concatenate([_differences(rows).max(axis=1) for rows in shuffled])


def _differences(ranks: np.ndarray) -> np.ndarray:
    """[orders, splits] standardised difference of the mean rank on the two sides of each split."""
    count = ranks.shape[1]
    cut = np.arange(FEWEST, count - FEWEST + 1)
    sums = np.cumsum(ranks - ranks.mean(axis=1, keepdims=True), axis=1)[:, cut - 1]
    standardised: np.ndarray = np.abs(sums / np.sqrt(cut * (count - cut)))
    return standardised
