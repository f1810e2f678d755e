"""Does it forecast as well: as the variant it is paired with, as the reference, and as the truth demands?

Non-inferiority on one log ratio of errors a series. A pass is an upper bound below the margin, a failure a lower
bound above zero with an estimate above half the margin, and all else is inconclusive. The variants of a model
are judged together, so their p-values are corrected by Holm's method, those for passing and those for failing
each: among many variants the luckiest must not pass, nor the unluckiest fail, by chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlight.judgement.checks.base import Check, Status, Subject, percent
from greenlight.judgement.evidence import VariantEvidence
from greenlight.judgement.expected import Expected, ExpectedModel, implementation_of
from greenlight.judgement.rules import Rules
from greenlight.judgement.statistics import Comparison, compare_log_ratios, holm
from greenlight.judgement.tables import Scores
from greenlight.measures.accuracy import summarise

ERRORS = {"mae": "MAE", "weighted_quantile_loss": "weighted quantile loss"}
PAIRED_CHECKS = {"mae": "mae-not-worse", "weighted_quantile_loss": "quantile-loss-not-worse"}
REFERENCE_CHECKS = {"mae": "mae-against-reference", "weighted_quantile_loss": "quantile-loss-against-reference"}
TRUTH_CHECKS = ("naive-ratio", "coverage", "mae-band")
# Errors are compared above this share of the price (or of 1 for scale-free losses): below it there is no error.
NO_ERROR = 1e-9


@dataclass(frozen=True)
class Pairing:
    """What a variant's forecasts are compared with.

    Attributes:
        partner: variant with the same random numbers; None where there is none to be had.
        against_reference: whether the reference, with other random numbers, is a second comparison.
    """

    partner: str | None
    against_reference: bool


def pairing(model: ExpectedModel, variant: str) -> Pairing:
    """How a variant other than the reference is compared; see `judgement.expected` for why."""
    entry = model.variants[variant]
    own_eager = f"{implementation_of(variant)}-eager"
    coupled = entry.coupled_with_reference or own_eager == model.reference
    if entry.paired_with is not None:
        return Pairing(entry.paired_with, entry.paired_with != model.reference and not coupled)
    if coupled:
        return Pairing(model.reference, False)
    if variant == own_eager:
        return Pairing(None, True)
    if own_eager in model.variants:
        return Pairing(own_eager, True)
    return Pairing(model.reference, True)


@dataclass(frozen=True)
class Judged:
    """A comparison of one error, with its p-values corrected over the variants of the model.

    Attributes:
        d: [units] log ratios, units being series or windows as `unit` says; series: names of the series.
        worst: (series, log ratio) that differs most.
        p_better: for the hypothesis "not better"; small where better.
    """

    comparison: Comparison
    unit: str
    worst: tuple[str, float]
    p_pass: float
    p_fail: float
    p_better: float
    identical: bool


def _units(
    expected: Expected, rules: Rules, found: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], error: str
) -> tuple[np.ndarray, str, tuple[str, float]] | None:
    """Log ratios by unit, the name of the unit, and the series that differs most; None where a row is absent."""
    symbols = list(expected.symbols)
    windows = [expected.symbols[symbol].windows for symbol in symbols]
    starts = np.r_[0, np.cumsum(windows)[:-1]]
    price = other["mean_price"] if error == "mae" else np.ones_like(other[error])
    mean = [np.add.reduceat(values, starts) / windows for values in (found[error], other[error], price)]
    series = log_ratio(*mean)
    if not np.isfinite(series).all():
        return None
    worst = int(np.argmax(np.abs(series)))
    place = (symbols[worst], float(series[worst]))
    if len(series) >= rules.accuracy.minimum_series:
        return series, "series", place
    return log_ratio(found[error], other[error], price), "window", place


def log_ratio(value: np.ndarray, other: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """ln(value / other) with a floor of `NO_ERROR * scale` under both, so that no error over no error is 0."""
    floor = NO_ERROR * np.abs(scale)
    return np.log((value + floor) / (other + floor))


def compare_variants(
    found: Mapping[str, VariantEvidence], expected: Expected, rules: Rules, against_reference: bool
) -> dict[tuple[str, str], Judged]:
    """Every variant of one model against its partner (or the reference), by (variant, error); Holm-corrected.

    A variant is absent where there is nothing to compare it with or a score is missing on either side.
    """
    model = expected.models[next(iter(found.values())).model]
    margin = rules.accuracy.reference_margin if against_reference else rules.accuracy.margin
    results: dict[tuple[str, str], tuple[Comparison, str, tuple[str, float], bool]] = {}
    for error in ERRORS:
        for variant in found:
            other = _partner(model, variant, against_reference)
            scores = [_trusted_scores(found.get(name)) for name in (variant, other)]
            if scores[0] is None or scores[1] is None:
                continue
            units = _units(expected, rules, scores[0].metrics, scores[1].metrics, error)
            if units is None:
                continue
            d, unit, worst = units
            compared = compare_log_ratios(d, margin=margin, alpha=rules.accuracy.alpha, power=rules.accuracy.power)
            results[variant, error] = (compared, unit, worst, bool((d == 0).all()))
    judged = {}
    for error in ERRORS:
        family = [key for key in results if key[1] == error]
        passing = holm([results[key][0].p_pass for key in family])
        failing = holm([results[key][0].p_fail for key in family])
        better = holm([1.0 - results[key][0].p_fail for key in family])
        for key, p_pass, p_fail, p_better in zip(family, passing, failing, better, strict=True):
            compared, unit, worst, identical = results[key]
            judged[key] = Judged(compared, unit, worst, p_pass, p_fail, p_better, identical)
    return judged


def _trusted_scores(found: VariantEvidence | None) -> Scores | None:
    """Scores whose forecasts and rows nothing is wrong with."""
    if found is None or any(problem.stage in ("predict", "score") for problem in found.problems):
        return None
    return found.scores


def _partner(model: ExpectedModel, variant: str, against_reference: bool) -> str | None:
    if variant == model.reference:
        return None
    chosen = pairing(model, variant)
    if against_reference:
        return model.reference if chosen.against_reference else None
    return chosen.partner


def classify(judged: Judged, margin: float, rules: Rules) -> Status:
    """pass, fail or inconclusive of one comparison."""
    enough = judged.comparison.interval.n >= rules.accuracy.minimum_units
    if judged.identical or (enough and judged.p_pass <= rules.accuracy.alpha):
        return "pass"
    worse = judged.p_fail <= rules.accuracy.alpha
    if enough and worse and judged.comparison.interval.estimate > math.log1p(margin) / 2:
        return "fail"
    return "inconclusive"


def describe(judged: Judged, error: str, other: str, margin: float, status: Status, rules: Rules) -> str:
    """Estimate, bounds, n and needed n in one sentence."""
    interval, n = judged.comparison.interval, judged.comparison.interval.n
    units = judged.unit if n == 1 or judged.unit == "series" else f"{judged.unit}s"
    if judged.identical:
        return f"{ERRORS[error]} equal to the bit to that of {other} on all {n} {units}"
    text = (
        f"{ERRORS[error]} {percent(interval.estimate)} against {other} "
        f"[{percent(interval.lower)}, {percent(interval.upper)}], {n} {units}, margin {100 * margin:g}%"
    )
    if status == "inconclusive":
        needed = max(judged.comparison.needed, rules.accuracy.minimum_units)
        text += f"; about {needed} {units if units == 'series' else 'windows'} would be needed"
    return text


def details_of(judged: Judged, other: str, rules: Rules) -> dict[str, Any]:
    """The figures of `describe` as fields; changes are shares, not log ratios."""
    interval = judged.comparison.interval
    shares = {name: math.expm1(getattr(interval, name)) for name in ("estimate", "lower", "upper")}
    needed = max(judged.comparison.needed, rules.accuracy.minimum_units)
    counts = {"n": interval.n, "unit": judged.unit, "needed": needed}
    return {"against": other, **shares, **counts, "identical": judged.identical}


def paired_checks(subject: Subject, judged: Mapping[tuple[str, str], Judged]) -> list[Check]:
    """Non-inferiority under common random numbers, its opposite, and the series that differs most."""
    names = [*PAIRED_CHECKS.values(), "mae-improvement", "series-difference"]
    if subject.is_reference:
        return []
    partner = pairing(subject.expected.models[subject.found.model], subject.found.variant).partner
    if partner is None:
        reason = "no variant draws the same random numbers; see numerics and mae-against-reference"
        return [subject.check(name, "not-measured", reason, "score") for name in names]
    absent = [error for error in ERRORS if (subject.found.variant, error) not in judged]
    if absent:
        return subject.missing(names, f"scores of it or of {partner} are missing or damaged", "score")
    rules, margin, checks = subject.rules, subject.rules.accuracy.margin, []
    for error, name in PAIRED_CHECKS.items():
        found = judged[subject.found.variant, error]
        status = classify(found, margin, rules)
        reason = describe(found, error, partner, margin, status, rules)
        details = details_of(found, partner, rules)
        figures = {"figure": details["upper"], "limit": margin, "details": details}
        checks.append(subject.check(name, status, reason, "score", **figures))
    checks.append(_improvement(subject, judged[subject.found.variant, "mae"], partner))
    checks.append(_series_difference(subject, judged, partner))
    return checks


def _improvement(subject: Subject, found: Judged, partner: str) -> Check:
    """A win that compiling can't explain is a change too."""
    interval, margin = found.comparison.interval, subject.rules.accuracy.margin
    enough = interval.n >= subject.rules.accuracy.minimum_units
    shown = enough and found.p_better <= subject.rules.accuracy.alpha
    better = shown and interval.estimate < -math.log1p(margin) / 2
    reason = f"MAE {percent(interval.estimate)} against {partner}"
    reason += ": better than the same mathematics can explain" if better else ": no unexplained improvement"
    figure = math.expm1(interval.estimate)
    return subject.holds("mae-improvement", not better, reason, "score", figure=figure, limit=-margin / 2)


def _series_difference(subject: Subject, judged: Mapping[tuple[str, str], Judged], partner: str) -> Check:
    limit = subject.rules.accuracy.series_margin
    error, (series, value) = max(
        ((error, judged[subject.found.variant, error].worst) for error in ERRORS), key=lambda item: abs(item[1][1])
    )
    reason = f"{series} differs most from {partner}: {ERRORS[error]} {percent(value)}"
    holds = abs(value) <= math.log1p(limit)
    return subject.holds("series-difference", holds, reason, "score", figure=math.expm1(value), limit=limit)


def reference_checks(subject: Subject, judged: Mapping[tuple[str, str], Judged], numerics: Check | None) -> list[Check]:
    """Non-inferiority to a reference that draws other random numbers, with the wider margin.

    What the samples can't resolve is carried by the teacher-forced numerics; where those are not shown to hold
    by a blocking check, an inconclusive comparison stops the variant.
    """
    if subject.is_reference:
        return []
    model = subject.expected.models[subject.found.model]
    if not pairing(model, subject.found.variant).against_reference:
        return []
    rules, margin, checks = subject.rules, subject.rules.accuracy.reference_margin, []
    carried = numerics is not None and numerics.status == "pass" and numerics.severity == "block"
    for error, name in REFERENCE_CHECKS.items():
        severity = rules.severity_of(name)
        severity = "block" if severity == "block-on-fail" and not carried else severity
        found = judged.get((subject.found.variant, error))
        if found is None:
            reason = f"no evidence: scores of it or of {model.reference} are missing or damaged"
            checks.append(subject.check(name, "fail", reason, "score", severity=severity))
            continue
        status = classify(found, margin, rules)
        reason = describe(found, error, model.reference, margin, status, rules) + ", other random numbers"
        details = details_of(found, model.reference, rules)
        figures = {"figure": details["upper"], "limit": margin, "details": details}
        checks.append(subject.check(name, status, reason, "score", severity=severity, **figures))
    return checks


def summary_of(found: VariantEvidence, expected: Expected, rules: Rules) -> dict[str, Any] | None:
    """Averages and intervals of a variant's scores (`measures.accuracy.summarise`); None without scores."""
    if found.scores is None:
        return None
    symbols = np.repeat(list(expected.symbols), [entry.windows for entry in expected.symbols.values()])
    return summarise(found.scores.metrics, symbols, rate=rules.accuracy.interval, each_symbol=False)


def truth_checks(subject: Subject, summary: Mapping[str, Any] | None) -> list[Check]:
    """Against the outcomes, without any baseline. Judged on the windows at hand, the interval shown beside."""
    if summary is None or subject.found.scores is None or not subject.found.scores.complete:
        return subject.missing(TRUTH_CHECKS, "scores are missing or not finite", "score")
    return [_naive(subject, summary), _coverage(subject, summary), _band(subject, summary)]


def _between(entry: Mapping[str, float], pattern: str = "{:.3g}") -> str:
    return f"{pattern} [{pattern}, {pattern}]".format(entry["value"], entry["lower"], entry["upper"])


def _naive(subject: Subject, summary: Mapping[str, Any]) -> Check:
    limit = subject.rules.accuracy.naive_ratio
    naive, drift = summary["overall"]["mae_over_naive"], summary["overall"]["mae_over_drift"]
    reason = f"MAE is {_between(naive)} times that of repeating the last price, {_between(drift)} that of drift"
    holds = naive["value"] <= limit
    return subject.holds("naive-ratio", holds, reason, "score", figure=naive["value"], limit=limit)


def _coverage(subject: Subject, summary: Mapping[str, Any]) -> Check:
    lowest, highest = subject.rules.accuracy.coverage
    entry = summary["overall"]["coverage_80"]
    holds = lowest <= entry["value"] <= highest
    reason = f"the 10 to 90% band holds {_between(entry, '{:.0%}')} of outcomes, to be {lowest:.0%} to {highest:.0%}"
    limit = lowest if entry["value"] < (lowest + highest) / 2 else highest
    return subject.holds("coverage", holds, reason, "score", figure=entry["value"], limit=limit)


def _band(subject: Subject, summary: Mapping[str, Any]) -> Check:
    rules, entry = subject.rules.accuracy, summary["overall"]["mae_percent"]
    bands = {"excellent": rules.mae_percent_excellent, "good": rules.mae_percent_good}
    bands["acceptable"] = rules.mae_percent_investigate
    band = next((name for name, top in bands.items() if entry["value"] < top), "to investigate")
    holds = entry["value"] <= rules.mae_percent_investigate
    reason = f"MAE is {_between(entry)}% of the mean price: {band}"
    figures = {"figure": entry["value"], "limit": rules.mae_percent_investigate, "details": {"band": band}}
    return subject.holds("mae-band", holds, reason, "score", **figures)


ANCHORED_ON = (
    "trials",
    "evidence-predict",
    "evidence-probe",
    "evidence-score",
    "numerics",
    "exact-quantities",
    "mae-against-reference",
    "quantile-loss-against-reference",
    "forecasts-against-reference",
    "draws-as-reference",
)


def anchor_check(subject: Subject, checks_of_partner: Mapping[str, Check] | None, partner: str) -> Check:
    """A variant paired with another than the reference is as good as the reference only if its partner is."""
    if checks_of_partner is None:
        return subject.check("pairing-anchor", "fail", f"no evidence: {partner} was not judged")
    stopped = [check for name in ANCHORED_ON if (check := checks_of_partner.get(name)) and check.blocking]
    reason = f"{partner}, with which it is paired, holds against the reference"
    if stopped:
        reason = f"{partner}, with which it is paired, fails {stopped[0].name}: {stopped[0].reason}"
    return subject.holds("pairing-anchor", not stopped, reason, figure=len(stopped), limit=0)
