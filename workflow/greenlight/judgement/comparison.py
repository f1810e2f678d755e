"""Are the errors of one variant no worse than those of another? On the same windows, seed by seed, look by look.

A comparison is one log ratio of errors a series; errors of several seeds are averaged first, in both arms. A first look
at one seed that decides nothing asks for more, so each look has its share of the error rates (`looks`): a p-value
is divided by the share of its look before it is held against a rate, and bounds stand at the rate of that look. The
smallest of such p-values over all looks is itself a valid one, so Holm's method may take those of several variants,
each at its own look, and what was decided at the first look stands.

The stage that measures replicates goes by these functions too; so they know no more of judgement than `statistics` and
`looks`, and a change of another rule makes no replicate stale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from greenlight.measures.judged import ERRORS, IN_PRICES
from greenlight.statistics.intervals import Comparison, compare_log_ratios, holm
from greenlight.statistics.looks import look_of, pairs_at, rate_at

# Errors are compared above this share of the price (or of 1 for scale-free losses): below it there is no error.
NO_ERROR = 1e-9


Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Limits:
    """What a comparison is held against.

    Attributes:
        margin: share by which an error may be higher.
        alpha: rate of a wrong pass, and of a wrong failure where `alarm` is None, over all looks.
        alarm: rate of a wrong failure where both arms draw numbers of their own, so that every run asks anew.
        minimum_series: with fewer series than this, windows are the units.
        minimum_units: with fewer units than this, nothing is decided.
        looks: how often the number of seeds may be looked at.
        power: power of the stated needed number of units.
        errors: the errors that are compared, each of which must hold.
    """

    margin: float
    alpha: float
    minimum_series: int
    minimum_units: int
    looks: int = 1
    power: float = 0.9
    errors: Sequence[str] = tuple(ERRORS)
    alarm: float | None = None


@dataclass(frozen=True)
class Arms:
    """Errors of a variant (`own`) and of the one that it is compared with (`other`), on the same windows.

    Attributes:
        own, other: by name of the error, [seeds, windows]; a row of both arms has the same seed.
        price: [windows] mean price, in whose unit the MAE is.
    """

    own: Mapping[str, np.ndarray]
    other: Mapping[str, np.ndarray]
    price: np.ndarray

    @classmethod
    def of_scores(
        cls, own: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], errors: Iterable[str] = tuple(ERRORS)
    ) -> Arms:
        """The one seed of the scores, each metric [windows]."""
        first, second = ({name: scores[name][None] for name in errors} for scores in (own, other))
        return cls(first, second, other["mean_price"])

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Arms:
        """What `plain` gave."""
        own, other = ({name: np.array(rows) for name, rows in plain[arm].items()} for arm in ("own", "other"))
        return cls(own, other, np.array(plain["price"]))

    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        arms = {"own": self.own, "other": self.other}
        lists = {arm: {name: rows.tolist() for name, rows in errors.items()} for arm, errors in arms.items()}
        return lists | {"price": self.price.tolist()}

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.own["mae"])

    def with_replicates(self, own: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> Arms:
        """The same with further seeds."""
        both = ((self.own, own), (self.other, other))
        first, second = ({name: np.concatenate([a[name], b[name]]) for name in a} for a, b in both)
        return Arms(first, second, self.price)


@dataclass(frozen=True)
class Judged:
    """A comparison of one error, with p-values corrected over the variants of the model and the looks.

    Attributes:
        comparison: estimate and bounds, at the rate of the look.
        unit: "series" or "window".
        worst: (series, log ratio) that differs most.
        p_pass, p_fail: for "no worse by the margin" and "worse"; p_better: for "not better"; small where it is so.
        identical: whether every unit is equal to the bit.
        seeds: forecasts of each window, in each arm, that were averaged; look, looks: at which look that was.
    """

    comparison: Comparison
    unit: str
    worst: tuple[str, float]
    p_pass: float
    p_fail: float
    p_better: float
    identical: bool
    seeds: int = 1
    look: int = 1
    looks: int = 1


def seeds_at(look: int) -> int:
    """Seeds in all at a look: those of the scores, and twice as many with each further look."""
    return pairs_at(1, 1, look)


def look_at(seeds: int, looks: int) -> int | None:
    """The look that has so many seeds in all; None where there is none."""
    return look_of(seeds, 1, 1, looks)


def compare(
    arms: Mapping[str, Arms], windows: Mapping[str, int], limits: Limits, family: int | None = None
) -> dict[tuple[str, str], Judged]:
    """Each variant's errors against its other's, by (variant, error); Holm-corrected over the variants.

    A variant is absent for an error that is not finite somewhere.

    Args:
        windows: number of windows of each series, in the order of the arms.
        family: of how many variants these are some, where those of the others are not at hand: p-values are then
            corrected by Bonferroni's method, which decides nothing that Holm's would not.
    """
    judged: dict[tuple[str, str], Judged] = {}
    for error in limits.errors:
        found = {name: each for name, entry in arms.items() if (each := _compare_one(entry, windows, limits, error))}
        for name in ("p_pass", "p_fail", "p_better"):
            p_values = [getattr(each, name) for each in found.values()]
            corrected = holm(p_values) if family is None else [min(1.0, family * p) for p in p_values]
            by_variant = dict(zip(found, corrected, strict=True))
            found = {variant: _with_p_value(each, name, by_variant[variant]) for variant, each in found.items()}
        judged |= {(variant, error): each for variant, each in found.items()}
    return judged


def _with_p_value(judged: Judged, name: str, value: float) -> Judged:
    changed: dict[str, Any] = {name: value}
    return replace(judged, **changed)


def _compare_one(arms: Arms, windows: Mapping[str, int], limits: Limits, error: str) -> Judged | None:
    """The comparison of one variant, p-values corrected over the looks alone; None where a value is not finite."""
    units = _units(arms, windows, limits, error)
    if units is None:
        return None
    d, unit, worst = units
    # Evidence of any other number of seeds is refused before it comes here; the last look is the strictest.
    look = look_at(arms.seeds, limits.looks) or limits.looks
    share = rate_at(1.0, look, limits.looks)
    compared = compare_log_ratios(d, margin=limits.margin, alpha=limits.alpha * share, power=limits.power)
    p_pass, p_fail, p_better = (min(1.0, p / share) for p in (compared.p_pass, compared.p_fail, 1.0 - compared.p_fail))
    same = bool((d == 0).all())
    return Judged(compared, unit, worst, p_pass, p_fail, p_better, same, arms.seeds, look, limits.looks)


def _units(
    arms: Arms, windows: Mapping[str, int], limits: Limits, error: str
) -> tuple[np.ndarray, str, tuple[str, float]] | None:
    """Log ratios by unit, the name of the unit, and the series that differs most; None where one is not finite."""
    counts = np.array(list(windows.values()))
    starts = np.r_[0, np.cumsum(counts)[:-1]]
    own, other = (values[error].mean(axis=0) for values in (arms.own, arms.other))
    price = arms.price if error in IN_PRICES else np.ones_like(other)
    series = log_ratio(*(np.add.reduceat(values, starts) / counts for values in (own, other, price)))
    if not np.isfinite(series).all():
        return None
    worst = int(np.argmax(np.abs(series)))
    place = (list(windows)[worst], float(series[worst]))
    if len(series) >= limits.minimum_series:
        return series, "series", place
    return log_ratio(own, other, price), "window", place


def log_ratio(value: np.ndarray, other: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """ln(value / other) with a floor of `NO_ERROR * scale` under both, so that no error over no error is 0."""
    floor = NO_ERROR * np.abs(scale)
    ratio: np.ndarray = np.log((value + floor) / (other + floor))
    return ratio


def classify(judged: Judged, limits: Limits) -> Outcome:
    """pass, fail or inconclusive of one comparison."""
    enough = judged.comparison.interval.n >= limits.minimum_units
    if judged.identical or (enough and judged.p_pass <= limits.alpha):
        return "pass"
    worse = judged.p_fail <= (limits.alpha if limits.alarm is None else limits.alarm)
    if enough and worse and judged.comparison.interval.estimate > math.log1p(limits.margin) / 2:
        return "fail"
    return "inconclusive"


def undecided(judged: Mapping[tuple[str, str], Judged], limits: Limits) -> list[str]:
    """The variants of which further seeds may decide something: no error is shown to be worse, and not all to be as
    good. Too few units stay too few however many seeds there are.
    """
    if limits.looks == 1:
        return []
    return [
        variant
        for variant in dict.fromkeys(name for name, _ in judged)
        if all((variant, error) in judged for error in limits.errors)
        and judged[variant, "mae"].comparison.interval.n >= limits.minimum_units
        and "inconclusive" in (outcomes := {classify(judged[variant, error], limits) for error in limits.errors})
        and "fail" not in outcomes
    ]


def needed_units(judged: Judged, limits: Limits) -> int:
    """About how many units, of as many seeds, would decide."""
    return max(judged.comparison.needed, limits.minimum_units)


def details_of(judged: Judged, other: str, limits: Limits) -> dict[str, Any]:
    """The figures of a comparison as fields; changes are shares, not log ratios."""
    interval = judged.comparison.interval
    shares = {name: math.expm1(getattr(interval, name)) for name in ("estimate", "lower", "upper")}
    counts = {"n": interval.n, "unit": judged.unit, "needed": needed_units(judged, limits)}
    looks = {"seeds": judged.seeds, "look": judged.look, "looks": judged.looks}
    return {"against": other, **shares, **counts, **looks, "identical": judged.identical}
