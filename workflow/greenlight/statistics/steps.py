"""Where a series of runs stepped to another level: a piecewise constant fit with a known rate of false alarms.

The fit is that of asv (airspeed velocity): levels are medians, and a step stands where the absolute deviations from
them are least. Where asv chooses the number of steps by a penalty, a step here must pass a permutation test: in how
many random orders of the same values would the ranks on the two sides of the best split differ by as much? Whatever
the distribution of the values, a series in which their order means nothing shows a step in at most `alpha` of cases.
Ranks, so that a single wild run neither makes a step nor hides one.
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
    orders = _orders_needed(alpha)
    null = _null(len(values), orders) if counts.max() == 1 else _statistics(_shuffled(ranks, orders))
    larger = np.count_nonzero(null >= _statistics(ranks[None])[0] * (1 - 1e-12))
    return bool((1 + larger) / (1 + orders) <= alpha)


def _orders_needed(alpha: float) -> int:
    """As many random orders as tell a rate of `alpha` from one of twice that."""
    return max(1999, math.ceil(10 / alpha) - 1)


@cache
def _null(count: int, orders: int) -> np.ndarray:
    """Statistics of random orders of the ranks 1 to count: the same for every series without ties."""
    return _statistics(_shuffled(np.arange(1.0, count + 1), orders))


def _shuffled(ranks: np.ndarray, orders: int) -> np.ndarray:
    rng = np.random.default_rng([_SEED, len(ranks), orders])
    return rng.permuted(np.broadcast_to(ranks, (orders, len(ranks))).astype(np.float32), axis=1)


def _statistics(ranks: np.ndarray) -> np.ndarray:
    """[orders] largest standardised difference of the mean rank over all splits, of ranks [orders, count]."""
    count = ranks.shape[1]
    cut = np.arange(FEWEST, count - FEWEST + 1)
    sums = np.cumsum(ranks - ranks.mean(axis=1, keepdims=True), axis=1)[:, cut - 1]
    return np.abs(sums / np.sqrt(cut * (count - cut))).max(axis=1)
