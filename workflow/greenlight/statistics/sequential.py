"""When enough latency pairs are measured.

Where the planned pairs leave open whether a variant is slower than its reference, the last process measures as many
again as all processes have so far, and so on up to a number of looks (`looks`).
"""

from __future__ import annotations

import math

import numpy as np

from greenlight.statistics.intervals import log_ratio_interval, median_interval, sign_p_value

NOISE_RATE = 0.025
# Going on stops only where the bounds hold at the rate that Holm's method leaves the first of this many variants.
FAMILY = 4


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
