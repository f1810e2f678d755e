"""Does it forecast as well: as the variant it is paired with, as the reference, and as the truth demands?

Non-inferiority on one log ratio of errors a series. A pass is an upper bound below the margin, a failure a lower
bound above zero with an estimate above half the margin, and all else is inconclusive. The variants of a model
are judged together, so their p-values are corrected by Holm's method, those for passing and those for failing
each: among many variants the luckiest must not pass, nor the unluckiest fail, by chance. What the seed of the scores
leaves open is judged by the mean over the further seeds of `replicate` (`judgement.comparison`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from greenlight.data.returns import AS_PRICES
from greenlight.judgement.checks.base import Check, Status, Subject, percent
from greenlight.judgement.comparison import Arms, Judged, Limits, classify, compare, details_of, needed_units, undecided
from greenlight.judgement.evidence import VariantEvidence
from greenlight.judgement.expected import Expected, ExpectedModel
from greenlight.judgement.registry import made_in
from greenlight.judgement.rules import Rules
from greenlight.judgement.tables import Scores
from greenlight.measures.accuracy import summarise
from greenlight.measures.judged import ERRORS
from greenlight.measures.returns import RETURN_METRICS
from greenlight.statistics.intervals import mean_interval

PAIRED_CHECKS = {
    "mae": "mae-not-worse",
    "weighted_quantile_loss": "quantile-loss-not-worse",
    "rmse": "rmse-not-worse",
    "returns_mae": "returns-not-worse",
}
REFERENCE_CHECKS = {
    "mae": "mae-against-reference",
    "weighted_quantile_loss": "quantile-loss-against-reference",
    "rmse": "rmse-against-reference",
    "returns_mae": "returns-against-reference",
}
PAIRED_STAGES = ("score", "replicate")
TRUTH_CHECKS = made_in("accuracy", stages="score", demand="all")


@dataclass(frozen=True)
class Compared:
    """Comparisons of one model's variants with their partners.

    Attributes:
        judged: by (variant, error); a variant is absent where there is nothing to compare it with, or a score is
            missing on either side.
        limits: what they were held against.
        waiting: variants whose first look decided nothing, and whose further seeds are missing.
    """

    judged: Mapping[tuple[str, str], Judged]
    limits: Limits
    waiting: frozenset[str] = frozenset()


def limits_of(rules: Rules, margin: float, looks: int = 1, errors: Sequence[str] = tuple(ERRORS)) -> Limits:
    """The limits of a comparison of some errors with this margin."""
    names = ("alpha", "minimum_series", "minimum_units", "power")
    return Limits(margin, looks=looks, errors=errors, **{name: getattr(rules.accuracy, name) for name in names})


def compare_with_partners(found: Mapping[str, VariantEvidence], expected: Expected, rules: Rules) -> Compared:
    """Every variant of one model against its partner: what one seed leaves open, by the mean over further seeds."""
    model, windows = _model_and_windows(found, expected)
    partners = {name: partner for name in found if (partner := model.partner(name)) is not None}
    looks = max((job.looks for name in partners if (job := found[name].expected.jobs.get("replicate"))), default=1)
    limits = limits_of(rules, rules.accuracy.margin, looks, expected.errors)
    arms = _arms(found, partners, expected.errors)
    first = compare(arms, windows, limits)
    replicated = {
        name: entry.with_replicates(again.own, again.other)
        for name, entry in arms.items()
        if (again := found[name].replicates) is not None
    }
    waiting = frozenset(undecided(first, limits)) - set(replicated)
    later = compare(arms | replicated, windows, limits) if replicated else first
    judged = {key: (later if key[0] in replicated else first)[key] for key in first if key[0] not in waiting}
    return Compared(judged, limits, waiting)


def compare_with_reference(found: Mapping[str, VariantEvidence], expected: Expected, rules: Rules) -> Compared:
    """Every variant that is held to the reference with other random numbers too, with the wider margin."""
    model, windows = _model_and_windows(found, expected)
    held = {name: model.reference for name in found if model.pairing(name).against_reference}
    limits = limits_of(rules, rules.accuracy.reference_margin, errors=expected.errors)
    limits = replace(limits, alarm=rules.accuracy.alarm)
    return Compared(compare(_arms(found, held, expected.errors), windows, limits), limits)


def _model_and_windows(
    found: Mapping[str, VariantEvidence], expected: Expected
) -> tuple[ExpectedModel, dict[str, int]]:
    model = expected.models[next(iter(found.values())).model]
    return model, {symbol: entry.windows for symbol, entry in expected.symbols.items()}


def _arms(found: Mapping[str, VariantEvidence], others: Mapping[str, str], errors: Sequence[str]) -> dict[str, Arms]:
    """Scores of each variant and its other, where both can be trusted."""
    pairs = {
        name: (_trusted_scores(found.get(name)), _trusted_scores(found.get(other))) for name, other in others.items()
    }
    return {name: Arms.of_scores(own.metrics, of.metrics, errors) for name, (own, of) in pairs.items() if own and of}


def _trusted_scores(found: VariantEvidence | None) -> Scores | None:
    """Scores whose forecasts and rows nothing is wrong with."""
    if found is None or any(problem.stage in ("predict", "score") for problem in found.problems):
        return None
    return found.scores


def describe(judged: Judged, error: str, other: str, limits: Limits, status: Status) -> str:
    """Estimate, bounds, n, seeds and needed n in one sentence; `error` as it is to be called."""
    interval, n = judged.comparison.interval, judged.comparison.interval.n
    units = judged.unit if n == 1 or judged.unit == "series" else f"{judged.unit}s"
    if judged.identical:
        return f"{error} equal to the bit to that of {other} on all {n} {units}"
    text = (
        f"{error} {percent(interval.estimate)} against {other} "
        f"[{percent(interval.lower)}, {percent(interval.upper)}], {n} {units}, margin {100 * limits.margin:g}%"
    )
    if judged.seeds > 1:
        text += f", mean of {judged.seeds} seeds at look {judged.look} of {judged.looks}"
    if status == "inconclusive":
        text += f"; about {needed_units(judged, limits)} {units if units == 'series' else 'windows'} would be needed"
        if judged.look < judged.looks and n >= limits.minimum_units:
            text += ", further seeds do not fit into evaluation.extra_seconds"
    return text


def paired_checks(subject: Subject, compared: Compared) -> list[Check]:
    """Non-inferiority under common random numbers, its opposite, and the series that differs most."""
    errors = subject.expected.errors
    names = [*(PAIRED_CHECKS[error] for error in errors), "mae-improvement", "series-difference"]
    if subject.is_reference:
        return []
    variant, judged = subject.found.variant, compared.judged
    partner = subject.expected.models[subject.found.model].partner(variant)
    if partner is None:
        reason = "no variant draws the same random numbers; see numerics and mae-against-reference"
        return [subject.check(name, "not-measured", reason, "score") for name in names]
    if variant in compared.waiting:
        what = f"one seed does not decide between it and {partner}, and those of further seeds are missing or damaged"
        return subject.missing(names, what, *PAIRED_STAGES)
    if any((variant, error) not in judged for error in errors):
        return subject.missing(names, f"scores of it or of {partner} are missing or damaged", *PAIRED_STAGES)
    checks = []
    for error in errors:
        status, figures = _compared(compared.limits, judged[variant, error], subject.error_name(error), partner)
        checks.append(subject.check(PAIRED_CHECKS[error], status, figures.pop("reason"), *PAIRED_STAGES, **figures))
    checks.append(_improvement(subject, judged[variant, "mae"], partner))
    checks.append(_series_difference(subject, judged, partner))
    return checks


def _compared(limits: Limits, judged: Judged, error: str, other: str) -> tuple[Status, dict[str, Any]]:
    """(status, reason, figure, limit and details) of one comparison."""
    status, details = classify(judged, limits), details_of(judged, other, limits)
    reason = describe(judged, error, other, limits, status)
    return status, {"reason": reason, "figure": details["upper"], "limit": limits.margin, "details": details}


def _improvement(subject: Subject, found: Judged, partner: str) -> Check:
    """A win that compiling can't explain is a change too."""
    interval, margin = found.comparison.interval, subject.rules.accuracy.margin
    enough = interval.n >= subject.rules.accuracy.minimum_units
    shown = enough and found.p_better <= subject.rules.accuracy.alpha
    better = shown and interval.estimate < -math.log1p(margin) / 2
    reason = f"{subject.expected.mae} {percent(interval.estimate)} against {partner}"
    reason += ": better than the same mathematics can explain" if better else ": no unexplained improvement"
    figure = math.expm1(interval.estimate)
    return subject.holds("mae-improvement", not better, reason, *PAIRED_STAGES, figure=figure, limit=-margin / 2)


def _series_difference(subject: Subject, judged: Mapping[tuple[str, str], Judged], partner: str) -> Check:
    limit = subject.rules.accuracy.series_margin
    error, (series, value) = max(
        ((error, judged[subject.found.variant, error].worst) for error in subject.expected.errors),
        key=lambda item: abs(item[1][1]),
    )
    reason = f"{series} differs most from {partner}: {subject.error_name(error)} {percent(value)}"
    holds = abs(value) <= math.log1p(limit)
    return subject.holds("series-difference", holds, reason, *PAIRED_STAGES, figure=math.expm1(value), limit=limit)


def reference_checks(subject: Subject, compared: Compared, numerics: Check | None) -> list[Check]:
    """Non-inferiority to a reference that draws other random numbers, with the wider margin.

    What the samples can't resolve is carried by the teacher-forced numerics; where those are not shown to hold
    by a blocking check, an inconclusive comparison stops the variant.
    """
    if subject.is_reference:
        return []
    model = subject.expected.models[subject.found.model]
    if not model.pairing(subject.found.variant).against_reference:
        return []
    rules, checks = subject.rules, []
    carried = numerics is not None and numerics.status == "pass" and numerics.severity == "block"
    for error in subject.expected.errors:
        name = REFERENCE_CHECKS[error]
        severity = rules.severity_of(name)
        severity = "block" if severity == "block-on-fail" and not carried else severity
        found = compared.judged.get((subject.found.variant, error))
        if found is None:
            reason = f"no evidence: scores of it or of {model.reference} are missing or damaged"
            checks.append(subject.check(name, "fail", reason, "score", severity=severity))
            continue
        status, figures = _compared(compared.limits, found, subject.error_name(error), model.reference)
        reason = figures.pop("reason") + ", other random numbers"
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
    return [_naive(subject, summary), _coverage(subject), _band(subject, summary)]


def _between(entry: Mapping[str, float]) -> str:
    return f"{entry['value']:.3g} [{entry['lower']:.3g}, {entry['upper']:.3g}]"


def _naive(subject: Subject, summary: Mapping[str, Any]) -> Check:
    limit = subject.rules.accuracy.naive_ratio
    naive, drift = summary["overall"]["mae_over_naive"], summary["overall"]["mae_over_drift"]
    reason = f"{subject.expected.mae} is {_between(naive)} times that of repeating the last price, "
    reason += f"{_between(drift)} that of drift"
    ratios = [naive["value"]]
    if subject.expected.input != AS_PRICES:
        scores = subject.found.scores
        assert scores is not None
        own, still = (float(scores.metrics[name].mean()) for name in RETURN_METRICS)
        ratios.append(own / still if still > 0 else math.nan)
        reason += f"; the MAE of returns is {own:.3g}, {ratios[-1]:.3g} times that of no change"
    worst = max(ratios, key=lambda ratio: (math.isnan(ratio), ratio))
    return subject.holds("naive-ratio", worst <= limit, reason, "score", figure=worst, limit=limit)


def _coverage(subject: Subject) -> Check:
    """fail: the interval is outside the limits; inconclusive: the mean is, and the interval reaches inside.

    Between order statistics of n draws lies (n - 1) / (n + 1) of the share that lies between the distribution's own
    quantiles (quantiles interpolated linearly; David and Nagaraja 2003, 2.3), so the lowest is that of n samples.
    """
    rules, samples = subject.rules.accuracy, subject.expected.samples
    lowest, highest = rules.coverage
    quantiles = bool(subject.expected.models[subject.found.model].levels)
    lowest *= 1 if quantiles else (samples - 1) / (samples + 1)
    held, unit = _coverage_units(subject)
    found = mean_interval(held, rules.alpha)
    within = f"[{max(0.0, found.lower):.0%}, {min(1.0, found.upper):.0%}]"
    reason = f"the 10 to 90% band holds {found.estimate:.0%} {within} of outcomes, {found.n} {unit}; "
    reason += f"{'of quantiles' if quantiles else f'with {samples} samples'} to be {lowest:.0%} to {highest:.0%}"
    status: Status = "fail"  # of what is not a number, too
    if lowest <= found.estimate <= highest:
        status = "pass"
    elif found.upper >= lowest and found.lower <= highest:
        status = "inconclusive"
    limit = lowest if found.estimate < (lowest + highest) / 2 else highest
    return subject.check("coverage", status, reason, "score", figure=found.estimate, limit=limit)


def _coverage_units(subject: Subject) -> tuple[np.ndarray, str]:
    """Share of outcomes in the band by series, or by window where there are few series."""
    assert subject.found.scores is not None
    windows = subject.found.scores.metrics["coverage_80"]
    counts = np.array([entry.windows for entry in subject.expected.symbols.values()])
    if len(counts) < subject.rules.accuracy.minimum_series:
        return windows, "windows"
    return np.add.reduceat(windows, np.r_[0, np.cumsum(counts)[:-1]]) / counts, "series"


def _band(subject: Subject, summary: Mapping[str, Any]) -> Check:
    rules, entry = subject.rules.accuracy, summary["overall"]["mae_percent"]
    bands = {"excellent": rules.mae_percent_excellent, "good": rules.mae_percent_good}
    bands["acceptable"] = rules.mae_percent_investigate
    band = next((name for name, top in bands.items() if entry["value"] < top), "to investigate")
    holds = entry["value"] <= rules.mae_percent_investigate
    reason = f"{subject.expected.mae} is {_between(entry)}% of the mean price: {band}"
    figures = {"figure": entry["value"], "limit": rules.mae_percent_investigate, "details": {"band": band}}
    return subject.holds("mae-band", holds, reason, "score", **figures)
