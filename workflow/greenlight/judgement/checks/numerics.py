"""Does it compute the same? Teacher-forced numerics, and what forecasts must do whatever the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from greenlight.judgement.checks.base import Check, Status, Subject
from greenlight.judgement.evidence import VariantEvidence
from greenlight.judgement.probe_records import GoldenNumerics, ProbeQuantity, ProbeResult
from greenlight.judgement.records import PredictResult, Reproducibility
from greenlight.judgement.registry import made_in
from greenlight.judgement.rules import NumericsRules
from greenlight.measures.numerics import FIGURES

NUMERICS_CHECKS = made_in("numerics", stages="probe", demand="all")
REPRODUCIBILITY_CHECKS = made_in("numerics", stages="predict", demand="all")


def numerics_checks(subject: Subject) -> list[Check]:
    """`numerics`: errors against float64, next to the float32 reference's own; `exact-quantities`:
    integers.
    """
    results = subject.found.results("probe")
    if not results:
        return subject.missing(NUMERICS_CHECKS, "probe left no usable result", "probe")
    quantities = [quantity for result in results for quantity in result.quantities]
    wanted = subject.found.expected.jobs["probe"].windows
    few = next((q for q in quantities if not q.problem and q.windows < wanted), None)
    if few is not None:
        return subject.missing(NUMERICS_CHECKS, f"{few.quantity} of {few.windows} windows, expected {wanted}", "probe")
    exact = _exact(subject, [q for q in quantities if q.kind == "exact"])
    held = [_as_published(subject, results)] if subject.is_reference else []
    coarser = next((result.coarser for result in results if result.coarser), "")
    return [_numerics(subject, quantities, coarser), exact, _golden(subject, results), _served(subject, results), *held]


def _place(quantity: ProbeQuantity) -> str:
    worst = quantity.worst
    if worst is None:
        return quantity.quantity
    step = "the prefill" if worst.step == 0 else f"decode step {worst.step}"
    size = f", {quantity.batch_size} in a call" if quantity.batch_size is not None else ""
    return f"{quantity.quantity}, window {worst.window}, {step}{size}"


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


def _errors(quantity: ProbeQuantity, rules: NumericsRules, coarseness: float) -> list[_Error]:
    """RMS error and largest single error, each allowed a multiple of the float32 reference's own and a floor.

    In a reduced precision the reference's own is taken times the unit roundoff's ratio, which is what rounding all
    factors that coarsely gives to first order; the floor stays.
    """
    few = quantity.elements < rules.few_elements
    multiple = coarseness * (rules.error_ratio_few if few else rules.error_ratio)
    # A quantity that is zero throughout has no scale; its errors are then held against the floor itself.
    scale = quantity.scale or 1.0
    rms, own = quantity.error_variant / scale, quantity.error_reference / scale
    top, own_top = quantity.max_abs / scale, quantity.max_abs_reference / scale
    return [
        _Error("RMS error", rms, multiple * own + rules.floor, own),
        _Error("largest error", top, coarseness * rules.worst_error_ratio * own_top + rules.worst_floor, own_top),
    ]


def _sound(quantity: ProbeQuantity) -> bool:
    """Whether every figure of a quantity is a finite size: an infinite scale would excuse any error."""
    return all(math.isfinite(figure) and figure >= 0 for figure in (getattr(quantity, name) for name in FIGURES))


@dataclass(frozen=True)
class WorstError:
    """The error that is largest next to what is allowed, and in words which it is and where."""

    error: _Error
    words: str


def worst_error(subject: Subject, quantities: list[ProbeQuantity]) -> WorstError | str:
    """The worst error of all real-valued quantities; why nothing can be said, in words, where that is so."""
    rules = subject.rules.numerics
    broken = [q for q in quantities if q.problem or not q.finite or q.elements == 0 or not _sound(q)]
    if broken:
        return f"{_place(broken[0])}: {broken[0].problem or 'there are values that are not finite'}"
    floats = [q for q in quantities if q.kind == "float"]
    if not floats:
        return "no evidence: the probe compared no real-valued quantity"
    chosen = subject.variant
    judged = [(error, quantity) for quantity in floats for error in _errors(quantity, rules, chosen.coarseness)]
    error, worst = max(judged, key=lambda item: item[0].load)
    words = f"{error.what} {error.found:.2g} of the RMS value, that of the float32 reference {error.own:.2g}, "
    where = f"in {chosen.precision} " if chosen.reduced else ""
    return WorstError(error, words + f"allowed {where}{error.allowed:.2g}; worst: {_place(worst)}")


def _numerics(subject: Subject, quantities: list[ProbeQuantity], coarser: str) -> Check:
    if coarser:
        reason = f"forecasts compute in {coarser}, the probe does not: what is compared is not what forecasts"
        return subject.check("numerics", "fail", reason, "probe")
    found = worst_error(subject, quantities)
    if isinstance(found, str):
        return subject.check("numerics", "fail", found, "probe")
    error = found.error
    return subject.holds("numerics", error.load <= 1, found.words, "probe", figure=error.found, limit=error.allowed)


def _exact(subject: Subject, quantities: list[ProbeQuantity]) -> Check:
    limit = subject.rules.numerics.exact_mismatches
    if not quantities:
        reason = "the probe has no integer quantities"
        return subject.check("exact-quantities", "not-measured", reason, "probe")
    if subject.found.expected.alone:
        reason = (
            f"rounding to {subject.variant.precision} turns one into another; what they are chosen by is in numerics"
        )
        return subject.check("exact-quantities", "not-measured", reason, "probe")
    worst = max(quantities, key=lambda quantity: quantity.mismatches)
    total = sum(quantity.mismatches for quantity in quantities)
    elements = sum(quantity.elements for quantity in quantities)
    reason = f"{total} of {elements} integers differ" + (f"; {_place(worst)}" if total else "")
    holds = total <= limit
    return subject.holds("exact-quantities", holds, reason, "probe", figure=total, limit=limit)


def _as_published(subject: Subject, results: list[ProbeResult]) -> Check:
    """`reference-as-published`: other people's code against independent code, by a bound that its error can't move."""
    name, limit, job = "reference-as-published", subject.rules.numerics.published, subject.found.expected.jobs["probe"]
    if job.independent is None:
        reason = "the reference runs no other people's packages, or no independent code of it is known"
        return subject.check(name, "not-measured", reason, "probe")
    found = [quantity for result in results for quantity in result.published]
    broken = next((q for q in found if q.problem or not q.finite or q.windows < job.windows or not _sound(q)), None)
    if not found or broken is not None:
        what = "nothing was compared" if broken is None else f"{_place(broken)}: {broken.problem or 'not comparable'}"
        return subject.missing([name], f"{what} with {job.independent}", "probe")[0]
    integers = sum(quantity.mismatches for quantity in found)
    worst = max(found, key=lambda quantity: quantity.max_abs / (quantity.scale or 1.0))
    figure = worst.max_abs / (worst.scale or 1.0)
    reason = f"teacher-forced values of the reference are those of {job.independent} to {figure:.2g} of their RMS value"
    if figure > limit or integers:
        reason = f"teacher-forced values of the reference are not those of {job.independent}: off by {figure:.2g} of "
        reason += f"their RMS value, allowed {limit:.2g}; worst: {_place(worst)}"
        reason += f"; {integers} integers differ" if integers else ""
    return subject.holds(name, figure <= limit and not integers, reason, "probe", figure=figure, limit=limit)


def _golden(subject: Subject, results: list[ProbeResult]) -> Check:
    """`golden-forecasts`: code that is wrong for reference, truth and variant alike still moves these."""
    name, limit = "golden-forecasts", subject.rules.accuracy.golden_paths
    if not subject.found.expected.jobs["probe"].golden:
        reason = "no golden forecasts ship for it" if subject.is_reference else "held to its eager variant in float32"
        return subject.check(name, "not-measured", reason, "probe")
    golden = results[0].golden
    if golden is None or golden.problem or not golden.paths:
        reason = golden.problem if golden is not None and golden.problem else "the probe did not make these forecasts"
        return subject.check(name, "fail", f"no evidence: {reason}", "probe", limit=limit)
    reason = f"{golden.agreeing:.0%} of {golden.paths} paths of the shipped checkpoint are the stored ones"
    if worst := golden.worst:
        apart = 100 * abs(worst.value - worst.expected) / (abs(worst.expected) or 1.0)
        reason += f"; the farthest, {worst.window} at step {worst.step}, is off by {apart:.2g}% of the price"
    # A draw near a tie strikes now this sample, now that one; code that gets one wrong, the same in each window.
    same = golden.agreeing >= limit and golden.sample > 0.5
    if same:
        reason += f"; the same sample is another in {golden.sample:.0%} of the windows"
    off = [entry for entry in golden.numerics if entry.size is None or entry.size > subject.rules.numerics.golden]
    # A candle at the edge between two tokens may become the other one on another processor: in one window at most.
    moved = len(off) > 1 or not golden.numerics
    if moved:
        reason += f"; {_moved(off, len(golden.numerics))}"
    if golden.agreeing < limit or same or moved:
        reason += ". If forecasts were meant to change, make them anew: python -m tools.golden"
    holds = golden.agreeing >= limit and not same and not moved
    return subject.holds(name, holds, reason, "probe", figure=golden.agreeing, limit=limit)


def _served(subject: Subject, results: list[ProbeResult]) -> Check:
    """`as-served`: the code around the forecaster that no forecast of the gate runs."""
    found = [result.served for result in results]
    if None in found:
        reason = "the forecaster has no other object for production, or is given returns"
        return subject.check("as-served", "not-measured", reason, "probe")
    wrong = next(filter(None, found), "")
    return subject.holds("as-served", not wrong, wrong or "production's object gives what is judged", "probe")


def _moved(off: list[GoldenNumerics], windows: int) -> str:
    """Windows whose teacher-forced values are not the stored ones, in words."""
    if not windows:
        return "no teacher-forced values were compared with the stored ones"
    worst = max(off, key=lambda entry: math.inf if entry.size is None else entry.size)
    size = "not comparable" if worst.size is None else f"off by {worst.size:.2g} of its RMS value"
    step = "the prefill" if worst.step == 0 else f"decode step {worst.step}"
    words = f"teacher-forced values of {len(off)} of {windows} stored windows are not the stored ones: "
    return words + f"{worst.quantity} of {worst.window} at {step} is {size}"


def reproducibility_checks(subject: Subject, reference: VariantEvidence) -> list[Check]:
    """Metamorphic checks, each judged on every process that measured them."""
    results = subject.found.results("predict")
    found = [result.reproducibility for result in results if result.reproducibility is not None]
    if not found:
        return subject.missing(REPRODUCIBILITY_CHECKS, "no predict trial measured reproducibility", "predict")
    return [
        _same_seed(subject, found),
        _changed(subject, "other-seed", found, {"seed": "another seed"}),
        _changed(subject, "other-symbol", found, {"symbol": "another symbol's name", "time": "another time"}),
        _samples_differ(subject, results, reference.results("predict")),
        _difference(subject, "batch-equals-rows", "a batch against its rows", "batch_equals_rows", found),
        _order(subject, results, found),
        _never(
            subject,
            "repeat-after-other",
            [not entry.a_b_a for entry in found],
            "A, B, A gives the first A again",
            "A, B, A does not give the first A again: a call leaves something behind",
        ),
        _never(
            subject,
            "output-kept",
            [entry.output_overwritten for entry in found],
            "an earlier output stays as it was while later calls run",
            "an earlier output is overwritten by later calls",
        ),
        _affine(subject, found),
    ]


def _never(subject: Subject, name: str, happened: list[bool], good: str, bad: str) -> Check:
    """The figure is the number of processes in which it happened."""
    count = sum(happened)
    return subject.holds(name, count == 0, bad if count else good, "predict", figure=count, limit=0)


def _same_seed(subject: Subject, found: list[Reproducibility]) -> Check:
    differing = max(entry.same_seed_differing for entry in found)
    reason = "the same seed gives the same bytes"
    if differing:
        reason = f"the same seed gives other bytes: {differing} forecast values differ"
    return subject.holds("same-seed", differing == 0, reason, "predict", figure=differing, limit=0)


def _changed(subject: Subject, name: str, found: list[Reproducibility], by: dict[str, str]) -> Check:
    """Another seed, or another symbol or time, draws other numbers; `by`: what changed, in words, the first first."""
    changed, what = next(iter(by.items()))
    shares = [getattr(entry, f"other_{changed}_changed") for entry in found]
    if not subject.expected.models[subject.found.model].random:
        share = max(shares)
        if share == 0:
            reason = f"the model draws no random numbers, and {what} changes nothing"
            return subject.check(name, "not-applicable", reason, "predict", figure=share)
        reason = f"the plug-in says that the model draws no random numbers, but {what} changes forecasts"
        return subject.check(name, "fail", reason, "predict", figure=share, limit=0)
    limit, share = subject.rules.accuracy.changed_paths, min(shares)
    reason = f"{what} changes {share:.0%} of a window's sample paths, at least"
    if share == 0:
        reason = f"{what} gives the same samples: the {changed} is ignored"
    holds = share > 0 and share >= limit
    for key, what in by.items():
        alike = max((float(getattr(entry.alike, key)) for entry in found), key=abs)
        if holds and alike:
            reason = f"{what} gives paths that go with the first ones: rank correlation {alike:+.2f}, sample by sample"
            holds = False
    return subject.holds(name, holds, reason, "predict", figure=share, limit=limit)


def _samples_differ(subject: Subject, own: list[PredictResult], reference: list[PredictResult]) -> Check:
    """Repeated paths narrow no band and move no median, so that no other check sees them."""
    if subject.expected.models[subject.found.model].levels:
        reason = "forecasts are quantiles, which are not drawn"
        return subject.check("samples-differ", "not-applicable", reason, "predict")
    if not reference:
        return subject.missing(["samples-differ"], "the reference left no usable forecasts", "predict")[0]
    share, expected = (min(result.distinct_paths for result in results) for results in (own, reference))
    limit = subject.rules.accuracy.distinct_paths * expected
    reason = f"{share:.0%} of a window's sample paths are distinct, at least; of the reference's {expected:.0%}"
    return subject.holds("samples-differ", share >= limit, reason, "predict", figure=share, limit=limit)


def _difference(subject: Subject, name: str, what: str, field: str, found: list[Reproducibility]) -> Check:
    entries = [getattr(entry, field) for entry in found]
    worst = max(entries, key=lambda entry: entry.max_abs_difference - entry.tolerance)
    holds = all(0 <= entry.max_abs_difference <= entry.tolerance for entry in entries)
    reason = f"{what}: differs by {worst.max_abs_difference:.3g}, tolerance {worst.tolerance:.3g}"
    figures = {"figure": worst.max_abs_difference, "limit": worst.tolerance}
    return subject.holds(name, holds, reason, "predict", **figures)


def _order(subject: Subject, results: list[PredictResult], found: list[Reproducibility]) -> Check:
    """Windows of a call in another order, and where no partner tells, all windows again in other calls."""
    check = _difference(subject, "symbol-order", "windows in another order", "order_irrelevant", found)
    model, variant = subject.expected.models[subject.found.model], subject.found.variant
    if subject.is_reference or not model.random or model.partner(variant) is not None or check.status != "pass":
        return check
    again = [result.in_other_calls for result in results if result.in_other_calls is not None]
    if len(again) < len(results):
        return subject.missing([check.name], "not all windows were forecast again in other calls", "predict")[0]
    worst = max(again, key=lambda entry: entry.max_abs_difference - entry.tolerance)
    holds = all(0 <= entry.max_abs_difference <= entry.tolerance for entry in again)
    reason = f"all {sum(entry.windows for entry in again)} windows again in other calls: {worst.window} differs "
    reason += f"by {worst.max_abs_difference:.3g} of its spread, tolerance {worst.tolerance:.3g}"
    figures = {"figure": worst.max_abs_difference, "limit": worst.tolerance}
    return subject.holds(check.name, holds, reason, "predict", **figures)


def _affine(subject: Subject, found: list[Reproducibility]) -> Check:
    entries = [entry.affine for entry in found if entry.affine.applies]
    if not entries:
        return subject.check("affine", "not-measured", "the model does not rescale with its input", "predict")
    worst = max(entries, key=lambda entry: entry.max_relative_difference - entry.tolerance)
    figure, limit = worst.max_relative_difference, worst.tolerance
    status: Status = "pass" if 0 <= figure <= limit else "fail"
    what = "in another unit of price, and shifted," if worst.shifted else "in another unit of price"
    reason = f"{what} the forecasts differ by {figure:.3g}, tolerance {limit:.3g}"
    return subject.check("affine", status, reason, "predict", figure=figure, limit=limit)
