"""Does it compute the same? Teacher-forced numerics, and what forecasts must do whatever the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from greenlight.judgement.checks.base import Check, Status, Subject
from greenlight.judgement.records import ProbeQuantity, Reproducibility
from greenlight.judgement.rules import NumericsRules
from greenlight.measures.numerics import FIGURES

NUMERICS_CHECKS = ("numerics", "exact-quantities")
REPRODUCIBILITY_CHECKS = (
    "same-seed",
    "other-seed",
    "batch-equals-rows",
    "symbol-order",
    "repeat-after-other",
    "output-kept",
    "affine",
)


def numerics_checks(subject: Subject) -> list[Check]:
    """`numerics`: errors against float64, next to the float32 reference's own; `exact-quantities`:
    integers.
    """
    results = subject.found.results("probe")
    if not results:
        return subject.missing(NUMERICS_CHECKS, "probe left no usable result", "probe")
    quantities = [quantity for result in results for quantity in result.quantities]
    return [_numerics(subject, quantities), _exact(subject, [q for q in quantities if q.kind == "exact"])]


def _place(quantity: ProbeQuantity) -> str:
    worst = quantity.worst
    if worst is None:
        return quantity.quantity
    step = "the prefill" if worst.step == 0 else f"decode step {worst.step}"
    return f"{quantity.quantity}, window {worst.window}, {step}"


@dataclass(frozen=True)
class _Error:
    """One error of a quantity: found and allowed (both relative to the quantity's RMS), and the reference's own."""

    what: str
    found: float
    allowed: float
    own: float

    @property
    def load(self) -> float:
        """Found over allowed: above 1 is too much."""
        return self.found / self.allowed


def _errors(quantity: ProbeQuantity, rules: NumericsRules) -> list[_Error]:
    """RMS error and largest single error, each allowed a multiple of the float32 reference's own and a floor."""
    few = quantity.elements < rules.few_elements
    multiple = rules.error_ratio_few if few else rules.error_ratio
    # A quantity that is zero throughout has no scale; its errors are then held against the floor itself.
    scale = quantity.scale or 1.0
    rms, own = quantity.error_variant / scale, quantity.error_reference / scale
    top, own_top = quantity.max_abs / scale, quantity.max_abs_reference / scale
    return [
        _Error("RMS error", rms, multiple * own + rules.floor, own),
        _Error("largest error", top, rules.worst_error_ratio * own_top + rules.worst_floor, own_top),
    ]


def _sound(quantity: ProbeQuantity) -> bool:
    """Whether every figure of a quantity is a finite size: an infinite scale would excuse any error."""
    return all(math.isfinite(figure) and figure >= 0 for figure in (getattr(quantity, name) for name in FIGURES))


def _numerics(subject: Subject, quantities: list[ProbeQuantity]) -> Check:
    rules = subject.rules.numerics
    broken = [q for q in quantities if q.problem or not q.finite or q.elements == 0 or not _sound(q)]
    if broken:
        cause = broken[0].problem or "there are values that are not finite"
        reason = f"{_place(broken[0])}: {cause}"
        return subject.check("numerics", "fail", reason, "probe")
    floats = [q for q in quantities if q.kind == "float"]
    if not floats:
        return subject.check("numerics", "fail", "no evidence: the probe compared no real-valued quantity", "probe")
    judged = [(error, quantity) for quantity in floats for error in _errors(quantity, rules)]
    error, worst = max(judged, key=lambda item: item[0].load)
    reason = f"{error.what} {error.found:.2g} of the RMS value, that of the float32 reference {error.own:.2g}, "
    reason += f"allowed {error.allowed:.2g}; worst: {_place(worst)}"
    return subject.holds("numerics", error.load <= 1, reason, "probe", figure=error.found, limit=error.allowed)


def _exact(subject: Subject, quantities: list[ProbeQuantity]) -> Check:
    limit = subject.rules.numerics.exact_mismatches
    if not quantities:
        reason = "the probe has no integer quantities"
        return subject.check("exact-quantities", "not-measured", reason, "probe")
    worst = max(quantities, key=lambda quantity: quantity.mismatches)
    total = sum(quantity.mismatches for quantity in quantities)
    elements = sum(quantity.elements for quantity in quantities)
    reason = f"{total} of {elements} integers differ" + (f"; {_place(worst)}" if total else "")
    holds = total <= limit
    return subject.holds("exact-quantities", holds, reason, "probe", figure=total, limit=limit)


def reproducibility_checks(subject: Subject) -> list[Check]:
    """Metamorphic checks, each judged on every process that measured them."""
    found = [r.reproducibility for r in subject.found.results("predict") if r.reproducibility is not None]
    if not found:
        return subject.missing(REPRODUCIBILITY_CHECKS, "no predict trial measured reproducibility", "predict")

    def all_of(name: str, holds: Callable[[Reproducibility], bool], good: str, bad: str) -> Check:
        passed = all(holds(entry) for entry in found)
        return subject.holds(name, passed, good if passed else bad, "predict")

    return [
        all_of(
            "same-seed",
            lambda entry: entry.same_seed_equal,
            "the same seed gives the same bytes",
            "the same seed gives other bytes",
        ),
        all_of(
            "other-seed",
            lambda entry: entry.other_seed_differs,
            "another seed gives other samples",
            "another seed gives the same samples: the seed is ignored",
        ),
        _difference(subject, "batch-equals-rows", "a batch against its rows", "batch_equals_rows", found),
        _difference(subject, "symbol-order", "windows in another order", "order_irrelevant", found),
        all_of(
            "repeat-after-other",
            lambda entry: entry.a_b_a,
            "A, B, A gives the first A again",
            "A, B, A does not give the first A again: a call leaves something behind",
        ),
        all_of(
            "output-kept",
            lambda entry: not entry.output_overwritten,
            "an earlier output stays as it was while later calls run",
            "an earlier output is overwritten by later calls",
        ),
        _affine(subject, found),
    ]


def _difference(subject: Subject, name: str, what: str, field: str, found: list[Reproducibility]) -> Check:
    entries = [getattr(entry, field) for entry in found]
    worst = max(entries, key=lambda entry: entry.max_abs_difference - entry.tolerance)
    holds = all(0 <= entry.max_abs_difference <= entry.tolerance for entry in entries)
    reason = f"{what}: differs by {worst.max_abs_difference:.3g}, tolerance {worst.tolerance:.3g}"
    figures = {"figure": worst.max_abs_difference, "limit": worst.tolerance}
    return subject.holds(name, holds, reason, "predict", **figures)


def _affine(subject: Subject, found: list[Reproducibility]) -> Check:
    entries = [entry.affine for entry in found if entry.affine.applies]
    if not entries:
        return subject.check("affine", "not-measured", "the model does not rescale with its input", "predict")
    if any(entry.max_relative_difference is None or entry.tolerance is None for entry in entries):
        return subject.check("affine", "fail", "no evidence: the change of unit was not measured", "predict")
    worst = max(entries, key=lambda entry: entry.max_relative_difference - entry.tolerance)
    figure, limit = worst.max_relative_difference, worst.tolerance
    status: Status = "pass" if 0 <= figure <= limit else "fail"
    reason = f"in another unit of price the forecasts differ by {figure:.3g}, tolerance {limit:.3g}"
    return subject.check("affine", status, reason, "predict", figure=figure, limit=limit)
