"""When enough latency pairs are measured: looks at growing data, with the error rate split over them.

Where the planned pairs leave open whether a variant is slower than its reference, the last process measures as many
again as all processes have so far, and so on up to a number of looks. Looking again at data that grew because the
first look did not decide would inflate the error rates; so each look has its own share of the rate, and the shares
add up to it (Bonferroni, the simplest of the group-sequential rules in Jennison and Turnbull 1999, ch. 2; valid
whatever decides to go on). The first look gets most, so that a run that needs no second one loses little.
"""

from __future__ import annotations

import math

import numpy as np

from greenlight.judgement.statistics import log_ratio_interval, median_interval, sign_p_value

FIRST_SHARE = 0.6
NOISE_RATE = 0.025
# Going on stops only where the bounds hold at the rate that Holm's method leaves the first of this many variants.
FAMILY = 4


def rate_at(rate: float, look: int, looks: int) -> float:
    """The share of an error rate that belongs to a look, 1 being the first of `looks`."""
    if looks == 1:
        return rate
    return rate * FIRST_SHARE if look == 1 else rate * (1 - FIRST_SHARE) / (looks - 1)


def pairs_at(planned: int, processes: int, look: int) -> int:
    """Pairs of the last process at a look, where each process has `planned`; all together double with each look."""
    return planned + planned * processes * (2 ** (look - 1) - 1)


def look_of(found: int, planned: int, processes: int, looks: int) -> int | None:
    """The look at which the last process has `found` pairs; None where there is none."""
    return next((look for look in range(1, looks + 1) if pairs_at(planned, processes, look) == found), None)


def settled(
    logs: np.ndarray,
    process: np.ndarray,
    controls: np.ndarray,
    *,
    slower: float,
    slower_shown: float,
    alpha: float,
    share: float,
) -> bool:
    """Whether pairs decide between "not slower" and "slower", as the check `not-slower` will.

    Args:
        logs, process: [pairs] log ratios variant over reference, and the process of each.
        controls: [A/A pairs] log ratios of the reference to itself.
        slower, slower_shown: ratios of `rules.SpeedRules`.
        alpha: error rate over all looks; share: that of this look, from `rate_at(1, ...)`.
    """
    if not len(logs) or not len(controls):
        return False
    ratio, _ = log_ratio_interval(logs, process, alpha * share)
    noise = median_interval(controls, NOISE_RATE * share)
    bound = max(abs(noise.lower), abs(noise.upper))
    rate = alpha * share / FAMILY
    tolerable, shown = math.log(slower), math.log(slower_shown)
    fast = ratio.upper < tolerable and sign_p_value(logs, tolerable, above=False) <= rate
    slow = ratio.lower > shown and sign_p_value(logs, shown, above=True) <= rate
    return (fast and bound < abs(ratio.estimate - tolerable)) or (slow and bound < abs(ratio.estimate))
