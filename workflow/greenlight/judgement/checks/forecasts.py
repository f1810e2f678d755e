"""Are the forecasts themselves the same, before any outcome is looked at?

MAE can't see every defect: forecasts shifted by one step, or medians moved and widths changed a little, may score
about as well. So the bands are compared with those of the partner cell by cell, and with those of a reference
that draws other numbers step by step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from greenlight.judgement.checks.accuracy import pairing
from greenlight.judgement.checks.base import Check, Status, Subject
from greenlight.judgement.evidence import VariantEvidence
from greenlight.judgement.forecasts import Forecasts
from greenlight.judgement.statistics import holm

BAND = ("q10", "q50", "q90")


def agreement_check(subject: Subject, found: Mapping[str, VariantEvidence]) -> list[Check]:
    """`forecasts-agree`: under common random numbers the bands are equal but for rounding, and a few flipped tokens.

    A window's difference is the largest difference of its 10%, 50% and 90% quantiles, at any step, as a share of
    the partner's mean band width.
    """
    if subject.is_reference:
        return []
    partner = pairing(subject.expected.models[subject.found.model], subject.found.variant).partner
    stages = ("predict", "forecasts")
    if partner is None:
        reason = "no variant draws the same random numbers; see forecasts-against-reference"
        return [subject.check("forecasts-agree", "not-measured", reason, *stages)]
    own, other = subject.found.forecasts, found[partner].forecasts
    if not (own.whole.all() and other.whole.all()):
        what = f"forecasts of it or of {partner} are missing or damaged"
        return subject.missing(["forecasts-agree"], what, *stages)
    rules = subject.rules.accuracy
    apart = window_differences(own, other)
    share = float((apart > rules.window_difference).mean())
    worst = subject.expected.rows()[int(np.argmax(apart))]
    reason = (
        f"{share:.0%} of windows differ from {partner} by more than {rules.window_difference:.0%} of the band; "
        f"most in {worst[0]}/{worst[1]}, by {apart.max():.2g}"
    )
    limit = rules.windows_differing
    return [subject.holds("forecasts-agree", share <= limit, reason, *stages, figure=share, limit=limit)]


def window_differences(own: Forecasts, other: Forecasts) -> np.ndarray:
    """[rows] largest difference of the bands as a share of the other's mean width; 0 where both are the same."""
    difference = np.max([np.abs(own.values[name] - other.values[name]).max(axis=1) for name in BAND], axis=0)
    width = np.abs(other.values["q90"] - other.values["q10"]).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0, 0.0, difference / width)


@dataclass(frozen=True)
class StepDifferences:
    """Differences from a reference with other random numbers, by quantity ("median", "width") and step.

    Attributes:
        mean, error: [2, horizon] mean over windows and its standard error: of the median's difference as a share
            of the reference's width, and of the log ratio of the widths.
        df: degrees of freedom.
    """

    mean: np.ndarray
    error: np.ndarray
    df: int


def step_differences(own: Forecasts, other: Forecasts) -> StepDifferences:
    """Compare two sets of bands step by step over [rows] windows, which draw independently."""
    width = {name: np.abs(f.values["q90"] - f.values["q10"]) for name, f in (("own", own), ("other", other))}
    # A band without width is compared at a billionth of the price: equal to another such, far from any other.
    floor = 1e-9 * np.abs(other.values["q50"]) + np.finfo(float).tiny
    moved = (own.values["q50"] - other.values["q50"]) / (width["other"] + floor)
    wider = np.log((width["own"] + floor) / (width["other"] + floor))
    both = np.stack([moved, wider])
    rows = both.shape[1]
    return StepDifferences(both.mean(axis=1), both.std(axis=1, ddof=1) / math.sqrt(rows), rows - 1)


def reference_check(
    subject: Subject, found: Mapping[str, VariantEvidence], judged: Mapping[str, StepDifferences]
) -> list[Check]:
    """`forecasts-against-reference`: medians and widths of each step are those of the reference, up to sampling."""
    name, stages = "forecasts-against-reference", ("predict", "forecasts")
    model = subject.expected.models[subject.found.model]
    if subject.is_reference or not pairing(model, subject.found.variant).against_reference:
        return []
    differences = judged.get(subject.found.variant)
    if differences is None:
        what = f"too few forecasts of it and of {model.reference} can be compared"
        return subject.missing([name], what, *stages)
    limit = subject.rules.accuracy.step_difference
    status = judge_steps(differences, subject.rules.accuracy.alpha, limit)
    bound = float(_bounds(differences, subject.rules.accuracy.alpha).max())
    size = np.abs(differences.mean)
    if status == "fail":
        size = size * _shown(differences, subject.rules.accuracy.alpha, limit / 2)
    quantity, step = np.unravel_index(int(np.argmax(size)), size.shape)
    value = float(differences.mean[quantity, step])
    what = f"the band is {math.exp(value):.2f} times as wide"
    if quantity == 0:
        what = f"the median moves by {value:+.2f} band widths"
    reason = (
        f"{what} at step {step + 1} against {model.reference}, {differences.df + 1} windows, bounded by {bound:.2f}"
    )
    return [subject.check(name, status, reason, *stages, figure=bound, limit=limit)]


def judge_steps(differences: StepDifferences, alpha: float, limit: float) -> Status:
    """fail: a difference above half the limit is shown; pass: all are bounded below the limit; else inconclusive."""
    if _shown(differences, alpha, limit / 2).any():
        return "fail"
    return "pass" if (_bounds(differences, alpha) < limit).all() else "inconclusive"


def _bounds(differences: StepDifferences, alpha: float) -> np.ndarray:
    """[2, horizon] bounds of the sizes, each at rate alpha.

    All of them must hold for a pass, so none needs correction (an intersection-union test, Berger 1982).
    """
    return np.abs(differences.mean) + special.stdtrit(differences.df, 1 - alpha) * differences.error


def _significance(differences: StepDifferences) -> np.ndarray:
    """[2, horizon] t statistics; 0 where nothing differs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(differences.mean) / differences.error
    return np.where(differences.mean == 0, 0.0, t)


def _shown(differences: StepDifferences, alpha: float, floor: float) -> np.ndarray:
    """[2, horizon] where a difference above the floor is shown, corrected by Holm over quantities and steps."""
    p = 2 * special.stdtr(differences.df, -_significance(differences))
    adjusted = np.array(holm(p.ravel())).reshape(p.shape)
    return (adjusted <= alpha) & (np.abs(differences.mean) > floor)


def compare_steps(found: Mapping[str, VariantEvidence], reference: str, minimum: int) -> dict[str, StepDifferences]:
    """Step differences of every other variant whose forecasts, and the reference's, are whole."""
    other = found[reference].forecasts
    if not other.whole.all() or len(other.whole) < minimum:
        return {}
    return {
        variant: step_differences(entry.forecasts, other)
        for variant, entry in found.items()
        if variant != reference and entry.forecasts.whole.all()
    }
