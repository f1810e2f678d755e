"""Looks at growing data, with the error rate split over them.

Looking again at data that grew because the first look did not decide would inflate the error rates; so each look has
its own share of the rate, and the shares add up to it (Bonferroni, the simplest of the group-sequential rules in
Jennison and Turnbull 1999, ch. 2; valid whatever decides to go on). The first look gets most, so that a run that
needs no second one loses little. Settings are checked with this, so nothing here needs NumPy.
"""

from __future__ import annotations

import math

FIRST_SHARE = 0.6


def rate_at(rate: float, look: int, looks: int) -> float:
    """The share of an error rate that belongs to a look, 1 being the first of `looks`."""
    if looks == 1:
        return rate
    return rate * FIRST_SHARE if look == 1 else rate * (1 - FIRST_SHARE) / (looks - 1)


def pairs_at(planned: int, processes: int, look: int) -> int:
    """Pairs of the last process at a look, where each process has `planned`; all together double with each look."""
    return planned + planned * processes * ((1 << (look - 1)) - 1)


def look_of(found: int, planned: int, processes: int, looks: int) -> int | None:
    """The look at which the last process has `found` pairs; None where there is none."""
    return next((look for look in range(1, looks + 1) if pairs_at(planned, processes, look) == found), None)


def slow_rate(rate: float, alone: int) -> float:
    """The share of a look's error rate at which slow calls are bounded: calls alone, where there are any, are made at
    most three times: so many that none that is slow bounds it (`calls_to_bound`), else beside a yardstick, and where
    these look slow, once more."""
    return rate / 3 if alone else rate


def calls_to_bound(share: float, rate: float) -> float:
    """The fewest calls without a slow one that show, but for this rate, that less than a share of all are slow."""
    if share <= 0:
        return math.inf
    return math.ceil(math.log(rate) / math.log1p(-share)) if share < 1 else 0


def needed_for_a_bound(rate: float) -> int:
    """The fewest values of which the smallest is, but for this rate, below the median: what any bound on it takes."""
    return math.ceil(-math.log2(rate))


def confirming_pairs(planned: int, processes: int) -> int:
    """Pairs on which a choice is confirmed, those of later processes; of one process every other one."""
    return planned // 2 if processes == 1 else planned * (processes - processes // 2)
