"""Are the forecasts themselves the same, before any outcome is looked at?

MAE can't see every defect: forecasts shifted by one step, or medians moved and widths changed a little, may score
about as well. So bands and paths are compared with those of a reference that draws other numbers, step by step; those
of a partner with the same numbers are compared in `agreement`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from greenlight.judgement.checks.base import Check, Subject
from greenlight.judgement.drawn_paths import QUANTITIES, judge_paths
from greenlight.judgement.drawn_pooled import WORDS, shown_pooled
from greenlight.judgement.drawn_windows import (
    SHARE_OF_ALARMS,
    WindowDifferences,
    quantities,
    shown_size,
    shown_window,
    units_of,
)
from greenlight.judgement.draws import (
    BAND,
    Differences,
    StepDifferences,
    band_differences,
    describe_steps,
    judge_draws,
    judge_steps,
    step_differences,
)
from greenlight.judgement.evidence import VariantEvidence
from greenlight.judgement.probe_records import Draws
from greenlight.statistics.looks import rate_at


def reference_check(
    subject: Subject, found: Mapping[str, VariantEvidence], judged: Mapping[str, StepDifferences]
) -> list[Check]:
    """`forecasts-against-reference`: medians and widths of each step are those of the reference, up to sampling."""
    name, stages = "forecasts-against-reference", ("predict", "forecasts")
    model = subject.expected.models[subject.found.model]
    if subject.is_reference or not model.pairing(subject.found.variant).against_reference:
        return []
    differences = judged.get(subject.found.variant)
    if differences is None:
        what = f"too few forecasts of it and of {model.reference} can be compared"
        return subject.missing([name], what, *stages)
    own, other = (entry.forecasts.values for entry in (subject.found, found[model.reference]))
    if all(np.array_equal(own[band], other[band]) for band in BAND):
        reason = f"equal to the bit to those of {model.reference}, which draws other numbers: it was run in its place"
        return [subject.check(name, "fail", reason, *stages, figure=0.0)]
    rules = subject.rules.accuracy
    limit = rules.step_difference
    alarm, on_average = rules.alarm * SHARE_OF_ALARMS, rules.alarm * (1 - SHARE_OF_ALARMS)
    status = judge_steps(differences, rules.alpha, limit, on_average)
    what, bound = describe_steps(differences, rules.alpha, limit, on_average, status)
    reason = f"{what} against {model.reference}, {differences.df + 1} windows; no step differs "
    reason += f"by more than {bound:.2f} (medians in band widths, and log widths)"
    details = {}
    if (drawn := subject.found.drawn) is not None:
        units = units_of([f"{symbol}/{window}" for symbol, window in subject.expected.rows()])
        if status != "fail" and (shown := shown_window(drawn, units, alarm, rules.draws_difference / 2)):
            status, reason = "fail", f"{shown}, beside {model.reference}"
        details = _shown_sizes(subject, units, alarm)
    return [subject.check(name, status, reason, *stages, figure=bound, limit=limit, details=details)]


def _shown_sizes(subject: Subject, units: Mapping[str, list[int]], alarm: float) -> dict[str, float]:
    """Which shift of one window, and of the symbol with the fewest, is shown, in band widths."""
    fewest = min((len(rows) for rows in units.values() if len(rows) > 1), default=1)
    sizes = (
        shown_size(
            subject.expected.samples, count, len(units), subject.expected.horizon, alarm, subject.rules.accuracy.power
        )
        for count in (1, fewest)
    )
    return dict(zip(("shown_in_a_window", "shown_in_a_symbol"), sizes, strict=True))


def compare_steps(found: Mapping[str, VariantEvidence], reference: str, minimum: int) -> dict[str, StepDifferences]:
    """Step differences of every other variant whose forecasts, and the reference's, are whole."""
    other = found[reference].forecasts
    if not other.whole.all() or len(other.whole) < minimum:
        return {}
    return {
        variant: step_differences(*band_differences(entry.forecasts.values, other.values))
        for variant, entry in found.items()
        if variant != reference and entry.forecasts.whole.all()
    }


def draws_check(subject: Subject) -> list[Check]:
    """`draws-as-reference`: many paths for the same windows, drawn in one process until the bounds decide.

    For a variant that is held to the reference without its random numbers, and is not paired with one that is; in a
    reduced precision for itself, because its partner's answer is about float32.
    """
    name, both = "draws-as-reference", ["draws-as-reference", "paths-as-reference"]
    model = subject.expected.models[subject.found.model]
    chosen = None if subject.is_reference else model.pairing(subject.found.variant)
    if chosen is None or not chosen.against_reference:
        return []
    if chosen.partner not in (None, model.reference) and not subject.variant.reduced:
        reason = f"paired with {chosen.partner}, whose own check this is"
        return [subject.check(each, "not-measured", reason, "probe") for each in both]
    found = [result.draws for result in subject.found.results("probe") if result.draws is not None]
    if not found or min(found[0].replicates, len(found[0].windows)) < 2:
        return subject.missing(both, f"the probe drew too few paths beside those of {model.reference}", "probe")
    draws, rules = found[0], subject.rules.accuracy
    shape = (draws.replicates, subject.expected.horizon)
    if draws.looks != subject.found.expected.jobs["probe"].looks:
        return subject.missing(both, f"the probe had {draws.looks} looks, not those that were asked for", "probe")
    if len({tuple(row) for row in draws.moved}) < draws.replicates:
        return subject.missing(both, "the probe has the same replicate twice", "probe")
    parts = {field.name: getattr(draws, field.name) for field in fields(Differences)}
    shapes = {name: shape if name in ("moved", "wider") else (len(draws.windows), shape[1]) for name in parts}
    if any(_shape(part) != shapes[name] for name, part in parts.items()):
        return subject.missing(both, "the probe's differences are not those of its replicates and windows", "probe")
    if not all(np.isfinite(part).all() for part in parts.values()):
        return subject.missing(both, "the probe drew paths that are not finite", "probe")
    ranks = [np.array(part) for part in (draws.ranks.score, draws.ranks.size)]
    if any(part.shape != (len(draws.windows), quantities(shape[1])) for part in ranks):
        return subject.missing(both, "the probe's rank tests are not those of its windows", "probe")
    if not all(np.isfinite(part).all() for part in ranks):
        return subject.missing(both, "the probe drew paths that are not finite", "probe")
    differences = Differences(**{name: np.array(part) for name, part in parts.items()})
    alpha = rate_at(rules.alpha, draws.look, draws.looks)
    alarm = rate_at(rules.alarm, draws.look, draws.looks)
    judged = judge_draws(differences, alpha, rules.draws_difference, alarm)
    status, bound, what = judged.outcome, judged.bound, judged.reason
    shown = shown_window(WindowDifferences(*ranks), units_of(draws.windows), alarm, rules.draws_difference / 2)
    if shown:
        status, what = "fail", f"{shown}; {what}" if status == "fail" else shown
    reason = f"{what} against {model.reference}, {draws.replicates} replicates of {len(draws.windows)} windows"
    reason += f", bounded by {bound:.3f}"
    needed = math.ceil(draws.replicates * (bound / rules.draws_difference) ** 2)
    if status == "inconclusive":
        reason += f"; about {needed} replicates would be needed"
    details = {"against": model.reference, "windows": len(draws.windows), "n": draws.replicates, "needed": needed}
    details |= {"unit": "replicates", "upper": bound, "look": draws.look, "looks": draws.looks}
    figures = {"figure": bound, "limit": rules.draws_difference, "details": details}
    return [subject.check(name, status, reason, "probe", **figures), _paths(subject, draws, model.reference)]


def _paths(subject: Subject, draws: Draws, reference: str) -> Check:
    """`paths-as-reference`: mean, tails, changes along a path, what differs from seed to seed, and all draws pooled."""
    name, rules = "paths-as-reference", subject.rules.accuracy
    lengths = {len(values) for values in draws.paths.values()}
    sound = all(np.isfinite(values).all() for values in (*draws.paths.values(), draws.between, *draws.pooled.values()))
    named = (set(draws.paths), set(draws.pooled)) == (set(QUANTITIES), set(WORDS))
    if not named or lengths != {draws.replicates} or len(draws.between) != len(draws.windows):
        what = "the probe's path statistics are not those of its replicates and windows"
        return subject.missing([name], what, "probe")[0]
    if not sound:
        return subject.missing([name], "the probe drew paths that are not finite", "probe")[0]
    alpha, alarm = (rate_at(rate, draws.look, draws.looks) for rate in (rules.alpha, rules.alarm))
    judged = judge_paths(draws.paths, draws.between, rules.path_limits(), alpha=alpha, alarm=alarm / 2)
    status, what = judged.outcome, judged.reason
    if shown := shown_pooled(draws.pooled, alarm / 2):
        status, what = "fail", f"{shown}; {what}" if status == "fail" else shown
    reason = f"{what} against {reference}, {draws.replicates} replicates of {len(draws.windows)} windows"
    return subject.check(name, status, reason, "probe", figure=judged.bound)


def _shape(rows: list[list[float]]) -> tuple[int, ...]:
    """(rows, columns); empty where the rows are not of one length."""
    lengths = {len(row) for row in rows}
    return (len(rows), *lengths) if len(lengths) == 1 else ()
