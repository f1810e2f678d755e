"""Do two forecasters that draw different random numbers draw from the same distributions?

Teacher-forced numerics end where sampling begins. Where a variant can't be given the reference's random numbers, both
draw many paths for the same windows; the medians of each step and the widths of the band, averaged over windows, are
then those of the same distributions up to what bounds of the differences say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from greenlight.statistics.intervals import holm

BAND = ("q10", "q50", "q90")
Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class StepDifferences:
    """Differences from a reference with other random numbers, by quantity ("median", "width") and step.

    Attributes:
        mean, error: [2, horizon] mean over units (windows, or replicates) and its standard error: of the median's
            difference as a share of the width, and of the log ratio of the widths.
        df: degrees of freedom.
    """

    mean: np.ndarray
    error: np.ndarray
    df: int


def band_differences(own: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How much the median moves, as a share of the width, and the log ratio of the widths, each [..., horizon].

    The width is the mean of both: whoever draws from the same distribution then differs by 0 on average, whatever
    the distribution's shape.

    Args:
        own, other: q10, q50 and q90 [..., horizon].
    """
    width, reference = (np.abs(values["q90"] - values["q10"]) for values in (own, other))
    # A band without width is compared at a billionth of the price: equal to another such, far from any other.
    floor = 1e-9 * np.abs(other["q50"]) + np.finfo(float).tiny
    moved = (own["q50"] - other["q50"]) / ((width + reference) / 2 + floor)
    return moved, np.log((width + floor) / (reference + floor))


def step_differences(moved: np.ndarray, wider: np.ndarray) -> StepDifferences:
    """Means and errors of `band_differences` [units, horizon] over units that draw independently of each other."""
    both = np.stack([moved, wider])
    units = both.shape[1]
    return StepDifferences(both.mean(axis=1), both.std(axis=1, ddof=1) / math.sqrt(units), units - 1)


def judge_steps(differences: StepDifferences, alpha: float, limit: float, alarm: float) -> Outcome:
    """fail: a difference above half the limit is shown; pass: all are bounded below the limit; else inconclusive.

    Args:
        alpha: rate of a wrong pass.
        alarm: rate of a wrong failure.
    """
    if shown_steps(differences, alarm, limit / 2).any():
        return "fail"
    return "pass" if (step_bounds(differences, alpha) < limit).all() else "inconclusive"


def step_bounds(differences: StepDifferences, alpha: float) -> np.ndarray:
    """[2, horizon] bounds of the sizes, each at rate alpha.

    All of them must hold for a pass, so none needs correction (an intersection-union test, Berger 1982).
    """
    bounds: np.ndarray = np.abs(differences.mean) + special.stdtrit(differences.df, 1 - alpha) * differences.error
    return bounds


def shown_steps(differences: StepDifferences, alpha: float, floor: float) -> np.ndarray:
    """[2, horizon] where a difference above the floor is shown, corrected by Holm over quantities and steps."""
    p = 2 * special.stdtr(differences.df, -_significance(differences))
    adjusted = np.array(holm(p.ravel())).reshape(p.shape)
    shown: np.ndarray = (adjusted <= alpha) & (np.abs(differences.mean) > floor)
    return shown


def _significance(differences: StepDifferences) -> np.ndarray:
    """[2, horizon] t statistics; 0 where nothing differs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(differences.mean) / differences.error
    return np.where(differences.mean == 0, 0.0, t)


def describe_steps(
    differences: StepDifferences, alpha: float, limit: float, alarm: float, status: Outcome
) -> tuple[str, float]:
    """The difference that counts most in words (of those shown, where the status is fail), and the largest bound."""
    size = np.abs(differences.mean)
    if status == "fail":
        size = size * shown_steps(differences, alarm, limit / 2)
    quantity, step = np.unravel_index(int(np.argmax(size)), size.shape)
    value = float(differences.mean[quantity, step])
    moves = f"the median moves by {value:+.4g} band widths"  # by a billion and more, where neither band has a width
    what = moves if quantity == 0 else f"the band is {math.exp(value):.2f} times as wide"
    return f"{what} at step {step + 1}", float(step_bounds(differences, alpha).max())


@dataclass(frozen=True)
class DrawsOutcome:
    """Outcome of `judge_draws`; bound: of the largest difference, as a share of the width; reason: in words."""

    outcome: Outcome
    bound: float
    reason: str


@dataclass(frozen=True)
class Differences:
    """Differences of drawn paths; `wider` as `moved`, which are those of the medians.

    Attributes:
        moved: [replicates, horizon] means over windows of `band_differences`.
        moved_windows, moved_errors: [windows, horizon] means over replicates, and their standard errors.
    """

    moved: np.ndarray
    moved_windows: np.ndarray
    moved_errors: np.ndarray
    wider: np.ndarray
    wider_windows: np.ndarray
    wider_errors: np.ndarray

    @classmethod
    def of(cls, moved: np.ndarray, wider: np.ndarray) -> Differences:
        """From `band_differences` of each, [replicates, windows, horizon]."""
        parts = []
        for values in (moved, wider):
            error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
            parts += [values.mean(axis=1), values.mean(axis=0), error]
        return cls(*parts)


def judge_draws(differences: Differences, alpha: float, limit: float, alarm: float) -> DrawsOutcome:
    """Whether two forecasters draw from the same distributions, on average and in each window.

    What differs in the same direction everywhere (a scale, a shift in time) shows in the mean over windows; what
    differs from window to window (a wrong context) cancels there, and shows in single windows.

    Args:
        alpha: rate of a wrong pass.
        alarm: rate of a wrong failure, half of it for means over windows and half for single windows.
        limit: difference that must not pass, on average or as root mean square of the windows' own; half of it,
            shown, is a failure.
    """
    means = step_differences(differences.moved, differences.wider)
    outcome = judge_steps(means, alpha / 2, limit, alarm / 2)
    reason, bound = describe_steps(means, alpha / 2, limit, alarm / 2, outcome)
    own = np.stack([differences.moved_windows, differences.wider_windows])
    error = np.stack([differences.moved_errors, differences.wider_errors])
    upper = float(_root_mean_square_bound(own, error, alpha / 2).max())
    single = StepDifferences(own, error, len(differences.moved) - 1)
    shown = shown_steps(single, alarm / 2, limit / 2)
    if outcome != "fail" and shown.any():
        quantity, window, step = np.unravel_index(int(np.argmax(np.abs(own) * shown)), own.shape)
        what = ("the median moves by {:+.2f} band widths", "the band's log width differs by {:+.2f}")[quantity]
        reason = f"{what.format(own[quantity, window, step])} in window {window + 1} at step {step + 1}"
        return DrawsOutcome("fail", max(bound, upper), reason)
    if outcome == "pass" and not upper < limit:
        outcome = "inconclusive"
    return DrawsOutcome(outcome, max(bound, upper), reason)


def _root_mean_square_bound(own: np.ndarray, error: np.ndarray, alpha: float) -> np.ndarray:
    """[2, horizon] upper bounds of the root mean square over windows of the true differences.

    A square less its error's square is unbiased; its variance is 2 e^4 + 4 d^2 e^2.
    """
    square = own**2 - error**2
    variance = 2 * error**4 + 4 * np.maximum(square, 0.0) * error**2
    spread = np.sqrt(variance.sum(axis=1)) / own.shape[1]
    bound: np.ndarray = np.sqrt(np.maximum(0.0, square.mean(axis=1) + special.ndtri(1 - alpha) * spread))
    return bound
