"""When enough latency pairs are measured.

Where the planned pairs leave open whether a variant is slower than its reference, the last process measures as many
again as all processes have so far, and so on up to a number of looks (`looks`).
"""

from __future__ import annotations

import math

import numpy as np

from greenlight.statistics.intervals import (
    excess_p_value,
    log_ratio_interval,
    median_interval,
    share_bounds,
    sign_p_value,
)

NOISE_RATE = 0.025
# Going on stops only where the bounds hold at the rate that Holm's method leaves the first of this many variants.
FAMILY = 4


def tail_settled(
    variant: np.ndarray, reference: np.ndarray, *, slow_call: float, slow_share: float, alpha: float, share: float
) -> bool:
    """Whether seconds of calls leave nothing open about slow ones, as the check `slow-calls` will see them.

    None was seen, or they are shown to be more frequent than the reference's, or their share is bounded.

    Args:
        slow_call: a call is slow above so many medians; slow_share: what their share must be bounded by.
        alpha: error rate over all looks; share: that of this look, from `rate_at(1, ...)`.
    """
    own, other = (int((seconds > slow_call * np.median(seconds)).sum()) for seconds in (variant, reference))
    if own == 0:
        return True
    rate = alpha * share
    shown = excess_p_value(own, len(variant), other, len(reference)) <= rate / FAMILY
    return shown or share_bounds(own, len(variant), rate)[1] <= slow_share


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
