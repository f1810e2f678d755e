"""What an amount of evidence can show, before it is measured.

All from the tests that judge it: Student's t over log ratios of errors, order statistics of the median log ratio of
latency, and exact binomial bounds of shares.
"""

from __future__ import annotations

import math

from scipy import special

from greenlight.statistics.intervals import needed_units


def largest_scatter(units: int, margin: float, alpha: float, power: float) -> float:
    """The largest standard deviation of log ratios at which `units` show no difference to be below ln(1 + margin).

    Solved by bisection of `needed_units`; 0 where even equal units are too few.
    """
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if needed_units(middle, math.log1p(margin), alpha, power) <= units:
            low = middle
        else:
            high = middle
    return low


def shown_shift(values: int, jitter: float, limit: float, alpha: float, power: float) -> float:
    """The smallest true median that is shown to be above `limit` with this power; infinite with too few values.

    The bound on the median is the k-th smallest value, as `median_interval` has it. It is above the limit if fewer
    than k values are below, whose number is binomial; values are normal around the median.

    Args:
        jitter: standard deviation of the values.
    """
    k = sum(1 for number in range(values) if special.bdtr(number, values, 0.5) <= alpha)
    if k == 0:
        return math.inf
    below = special.bdtri(k - 1, values, power)  # the share of values below the limit at which k - 1 or fewer are
    return limit + jitter * float(special.ndtri(1 - below))


def excluded_share(successes: int, confidence: float = 0.95) -> float:
    """The largest share of failures that as many successes without one leave possible (Clopper and Pearson 1934)."""
    return 1.0 - float((1 - confidence) ** (1 / successes)) if successes else 1.0
