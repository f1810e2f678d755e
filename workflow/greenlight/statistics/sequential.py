"""When enough latency pairs are measured.

Where the planned pairs leave open whether a variant is slower than its reference, the last process measures as many
again as all processes have so far, and so on up to a number of looks (`looks`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def slow_of(slow_call: float, *parts: Sequence[float] | np.ndarray) -> tuple[int, int]:
    """(slow calls, calls) of parts of seconds, where a call is slow above so many medians of its part."""
    found = [np.asarray(part) > slow_call * np.median(part) for part in parts if len(part)]
    return sum(int(slow.sum()) for slow in found), sum(map(len, found))


def tail_settled(
    own: tuple[int, int], held: tuple[int, int], beside: tuple[int, int], *, slow_share: float, rate: float
) -> bool:
    """Whether calls leave nothing open about slow ones, as the check `slow-calls` will see them.

    None was seen, or they are shown to be more frequent than in what they are held against, or their share is bounded.

    Args:
        own, held, beside: (slow calls, calls), see `measures.latency.SlowCalls`.
        slow_share: what their share must be bounded by; rate: of errors, from `looks.slow_rate`.
    """
    if own[0] == 0:
        return True
    return excess_p_value(*held, *beside) <= rate / FAMILY or share_bounds(*own, rate)[1] <= slow_share


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
