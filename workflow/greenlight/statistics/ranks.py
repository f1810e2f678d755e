"""Do two sets of draws come from one distribution? Rank sums (Wilcoxon 1945; Mann and Whitney 1947), with no assumption
about the distribution's shape, as normal scores."""

from __future__ import annotations

import functools

import numpy as np
from scipy import special

EXACT = 64
"""Up to so many draws on each side the distribution of rank sums is exact; beyond, normal."""


def rank_scores(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[rows, columns] normal scores of how much higher the own draws are: standard normal at most, if none are.

    Args:
        own, other: [rows, draws, columns]; draws of a column are independent. Ties make a score smaller.
    """
    first, second = own.shape[1], other.shape[1]
    ranked = ranks(np.concatenate([own, other], axis=1))
    above = ranked[:, :first].sum(axis=1) - first * (first - 1) / 2  # pairs in which the own draw is higher; ties half
    below = np.minimum(above, first * second - above)
    sign = np.sign(above - first * second / 2)
    if max(first, second) <= EXACT:
        p = np.minimum(1.0, 2 * _cumulative(first, second)[np.ceil(below).astype(int)])
    else:
        deviation = np.sqrt(first * second * (first + second + 1) / 12)
        p = np.minimum(1.0, 2 * special.ndtr((below + 0.5 - first * second / 2) / deviation))
    scores: np.ndarray = -sign * special.ndtri(p / 2)
    return scores


def shown_shift_of(own: int, other: int, windows: int, tests: int, alarm: float, power: float) -> float:
    """The smallest shift, in standard deviations of normal draws, that scores over so many windows show.

    Args:
        own, other: draws a window on each side; tests: among how many, corrected by Bonferroni.
    """
    needed = special.ndtri(1 - alarm / 2 / tests) + special.ndtri(power)
    # A rank sum has pi/3 the variance of a mean's, in units of what normal draws shift by.
    few = 1 + 6 / (min(own, other) * windows)  # tails of few draws are shorter; found by simulation
    return float(few * needed * np.sqrt(np.pi / 3 * (own + other) / (own * other) / windows))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 along axis 1 of [rows, draws, columns]; equal ones share their mean, NaN makes all of them NaN.

    As `scipy.stats.rankdata` less 1, whose import takes most of a second.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    count = values.shape[1]
    place = np.arange(count)[None, :, None]
    differs = ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones_like(ordered[:, :1], dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs], axis=1), place, 0), axis=1)
    backwards = np.where(np.concatenate([differs, edge], axis=1), place, count - 1)[:, ::-1]
    last = np.minimum.accumulate(backwards, axis=1)[:, ::-1]
    ranked = np.empty(values.shape)
    np.put_along_axis(ranked, order, (first + last) / 2, axis=1)
    found: np.ndarray = np.where(np.isnan(values).any(axis=1, keepdims=True), np.nan, ranked)
    return found


@functools.lru_cache(maxsize=8)
def _cumulative(first: int, second: int) -> np.ndarray:
    """[first * second + 1] probability that at most so many pairs are above, if all orders are equally likely."""
    # By the largest of all draws: it is one of the first, and above all of the second, or one of the second.
    rows = [np.ones(1)] * (second + 1)
    for n in range(1, first + 1):
        row = [np.ones(1)]
        for m in range(1, second + 1):
            found = np.zeros(n * m + 1)
            found[m:] += n / (n + m) * rows[m]
            found[: n * (m - 1) + 1] += m / (n + m) * row[m - 1]
            row.append(found)
        rows = row
    total: np.ndarray = np.minimum(1.0, np.cumsum(rows[second]))
    return total
