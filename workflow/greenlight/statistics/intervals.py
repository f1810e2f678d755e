"""The statistics of the verdicts: each a small function of arrays, deterministic, with its source.

Non-inferiority is judged by bounds, so that too little data can't pass; medians of ratios have exact order
statistic intervals, which spikes can't move and which need no random numbers. `facts` that shaped these
choices: a percentile bootstrap of a ratio of means alarms twice too often at n=30, Welch's test has no
power here, and Mann-Whitney on sequential runs alarms on drift alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Interval:
    """An estimate with one-sided bounds, each at rate alpha, from n values; bounds may be infinite."""

    estimate: float
    lower: float
    upper: float
    n: int

    def scaled(self, function: np.ufunc) -> Interval:
        """The interval under an increasing function, such as np.exp."""
        low, mid, high = (float(function(x)) for x in (self.lower, self.estimate, self.upper))
        return Interval(mid, low, high, self.n)


@dataclass(frozen=True)
class Comparison:
    """Whether log ratios d (compiled over reference, lower is better) stay below a margin.

    Attributes:
        interval: of the mean of d, with one-sided Student t bounds.
        sigma: standard deviation of d.
        p_pass: for the hypothesis "worse by the margin or more"; small where non-inferior.
        p_fail: for the hypothesis "not worse"; small where worse.
        needed: units needed to pass with the stated power if the true mean is 0 and sigma is as found.
    """

    interval: Interval
    sigma: float
    p_pass: float
    p_fail: float
    needed: int


def mean_interval(values: np.ndarray, alpha: float) -> Interval:
    """Student t bounds of the mean of [units] finite values, each at rate alpha.

    Equal units have no variance: the bounds are then the estimate itself. Of one unit nothing is known but itself, and
    its bounds are infinite.
    """
    values = np.asarray(values, dtype=np.float64)
    n, mean = values.size, float(values.mean())
    if n == 1:
        return Interval(mean, -math.inf, math.inf, n)
    reach = float(special.stdtrit(n - 1, 1 - alpha)) * (float(values.std(ddof=1)) / math.sqrt(n))
    return Interval(mean, mean - reach, mean + reach, n)


def compare_log_ratios(d: np.ndarray, *, margin: float, alpha: float, power: float = 0.9) -> Comparison:
    """Student t bounds and p-values of the mean of [units] finite log ratios, against ln(1 + margin).

    Equal units have no variance: the bounds are then the estimate itself and the p-values 0 or 1.
    ValueError for no units or for values that are not finite.
    """
    d = np.asarray(d, dtype=np.float64)
    if d.size == 0 or not np.isfinite(d).all():
        raise ValueError("log ratios must be finite and at least one")
    n, mean, limit = d.size, float(d.mean()), math.log1p(margin)
    sigma = float(d.std(ddof=1)) if n > 1 else 0.0
    error = sigma / math.sqrt(n)
    # Below this the spread is rounding of the mean itself, and a t statistic of it means nothing.
    if error <= 1e-15:
        bounds = (mean, mean) if n > 1 or mean == 0 else (-math.inf, math.inf)
        p_pass, p_fail = (0.0 if bounds[1] < limit else 1.0), (0.0 if bounds[0] > 0 else 1.0)
        return Comparison(Interval(mean, *bounds, n), sigma, p_pass, p_fail, n if bounds[1] < limit else 2)
    return Comparison(
        mean_interval(d, alpha),
        sigma,
        float(special.stdtr(n - 1, (mean - limit) / error)),
        float(special.stdtr(n - 1, -mean / error)),
        needed_units(sigma, limit, alpha, power),
    )


def needed_units(sigma: float, limit: float, alpha: float, power: float) -> int:
    """Units at which a mean of 0 with standard deviation sigma is shown to be below `limit`.

    The usual ((t_alpha + t_power) sigma / limit)^2, iterated because the t quantiles depend on n.
    """
    count: float = max(2.0, ((special.ndtri(1 - alpha) + special.ndtri(power)) * sigma / limit) ** 2)
    for _ in range(20):
        df = max(1.0, math.ceil(count) - 1)
        quantiles = special.stdtrit(df, 1 - alpha) + special.stdtrit(df, power)
        count = max(2.0, (count + (quantiles * sigma / limit) ** 2) / 2)
    return math.ceil(count)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def median_interval(values: np.ndarray, alpha: float) -> Interval:
    """The median with order-statistic bounds, each exact at rate alpha or below (David and Nagaraja
    2003, 7.1).

    With too few values for alpha a bound is infinite: nothing can be said on that side.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if n == 0:
        return Interval(math.nan, -math.inf, math.inf, 0)
    # The k-th smallest is above the median with probability P(Binomial(n, 1/2) <= k - 1).
    tails = special.bdtr(np.arange(n), n, 0.5)
    k = int((tails <= alpha).sum())
    lower, upper = (ordered[k - 1], ordered[n - k]) if k > 0 else (-math.inf, math.inf)
    return Interval(float(np.median(ordered)), float(lower), float(upper), n)


def mean_log_ratio(own: np.ndarray, other: np.ndarray, *, margin: float, alpha: float) -> Comparison | None:
    """The log of the ratio of two means over pairs, with Student t bounds by the delta method; None below 3 pairs.

    The pair that is furthest from the ratio, in either direction, is left out: one foreign interruption moves nothing,
    and what happens again does. Long tails that hit both arms widen the bounds.

    Args:
        own, other: [pairs] positive values, those of a pair measured one after the other.
    """
    if len(own) < 3:
        return None
    scaled = own / np.median(own) - other / np.median(other)
    kept = np.arange(len(own)) != np.argmax(np.abs(scaled - np.median(scaled)))
    means = own[kept].mean(), other[kept].mean()
    ratio = math.log(means[0] / means[1])
    return compare_log_ratios(ratio + own[kept] / means[0] - other[kept] / means[1], margin=margin, alpha=alpha)


def needed_pairs(jitter: float, distance: float, alpha: float, power: float) -> int:
    """Pairs at which a median is shown to be beyond a limit that is `distance` away, above 0.

    A median of n values with standard deviation `jitter` has 1.2533 times the standard error of a mean (normal values).
    """
    reach: float = special.ndtri(1 - alpha) + special.ndtri(power)
    return max(8, math.ceil((reach * 1.2533 * jitter / distance) ** 2))


def sign_p_value(values: np.ndarray, limit: float, *, above: bool) -> float:
    """One-sided p-value of the sign test that the median is above (or below) `limit`; values at it count half."""
    values = np.asarray(values, dtype=np.float64)
    against = (values < limit).sum() if above else (values > limit).sum()
    return float(special.bdtr(int(against) + math.ceil((values == limit).sum() / 2), len(values), 0.5))


def log_ratio_interval(logs: np.ndarray, process: np.ndarray, alpha: float) -> tuple[Interval, list[float]]:
    """Median log ratio of all pairs, widened to hold each process's own median; and those medians.

    A fresh process with a fresh compile is a level of variance of its own (Kalibera and Jones 2013). A
    handful of processes can't estimate it, so the interval is never narrower than what they were seen
    to differ by.
    """
    medians = [float(np.median(logs[process == number])) for number in np.unique(process)]
    pooled = median_interval(logs, alpha)
    if not medians:
        return pooled, medians
    lower, upper = min(pooled.lower, *medians), max(pooled.upper, *medians)
    return Interval(pooled.estimate, lower, upper, pooled.n), medians


def difference(first: Interval, second: Interval) -> Interval:
    """first - second of two independent estimates by MOVER (Zou and Donner 2008), at the rate of their
    bounds.
    """
    estimate = first.estimate - second.estimate
    down = math.hypot(first.estimate - first.lower, second.upper - second.estimate)
    up = math.hypot(first.upper - first.estimate, second.estimate - second.lower)
    return Interval(estimate, estimate - down, estimate + up, min(first.n, second.n))


def outliers(values: np.ndarray) -> np.ndarray:
    """[values] bool: beyond 3 x 1.4826 x MAD of the median. For reporting; none is ever removed."""
    values = np.asarray(values, dtype=np.float64)
    center = np.median(values)
    distant: np.ndarray = np.abs(values - center) > 3 * 1.4826 * np.median(np.abs(values - center))
    return distant


@dataclass(frozen=True)
class Trend:
    """A monotone trend over the order of measurement.

    Attributes:
        change: Theil-Sen slope times the number of steps, in the unit of the values.
        slope: Theil-Sen slope a step, with one-sided bounds (Sen 1968).
    """

    change: float
    slope: Interval


def trend(values: np.ndarray, alpha: float) -> Trend:
    """Theil-Sen trend of [n] values in their order; bounds from the distribution of Kendall's S."""
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n < 3:
        return Trend(math.nan, Interval(math.nan, -math.inf, math.inf, n))
    i, j = np.triu_indices(n, 1)
    slopes = np.sort((values[j] - values[i]) / (j - i))
    spread = special.ndtri(1 - alpha) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    count = len(slopes)
    low, high = math.floor((count - spread) / 2) - 1, math.ceil((count + spread) / 2)
    middle = float(np.median(slopes))
    lower = float(slopes[low]) if low >= 0 else -math.inf
    upper = float(slopes[high]) if high < count else math.inf
    return Trend(middle * (n - 1), Interval(middle, lower, upper, n))


def share_bounds(successes: int, trials: int, alpha: float) -> tuple[float, float]:
    """Exact bounds of a share, each at rate alpha (Clopper and Pearson 1934)."""
    lower = float(special.betaincinv(successes, trials - successes + 1, alpha)) if successes else 0.0
    upper = float(special.betaincinv(successes + 1, trials - successes, 1 - alpha)) if successes < trials else 1.0
    return lower, upper


def excess_p_value(successes: int, trials: int, other_successes: int, other_trials: int) -> float:
    """One-sided p-value of Fisher's exact test: are successes more frequent here than there?"""
    total, all_trials = successes + other_successes, trials + other_trials
    if trials == 0 or other_trials == 0:
        return 1.0
    k = np.arange(successes, min(total, trials) + 1)
    if len(k) == 0:
        return 1.0

    def log_choose(n: int, k: np.ndarray | int) -> np.ndarray:
        found: np.ndarray = (
            special.gammaln(n + 1) - special.gammaln(np.add(k, 1)) - special.gammaln(np.subtract(n, k) + 1)
        )
        return found

    logs = log_choose(trials, k) + log_choose(other_trials, total - k) - log_choose(all_trials, total)
    possible = (total - k) <= other_trials
    return float(min(1.0, np.exp(logs[possible]).sum()))
