"""Did anything change since the accepted run? The same windows pairwise, every accepted row walked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlight.judgement.baseline import (
    AccuracyBaseline,
    Baselines,
    BaselineSpeed,
    Refused,
    SpeedBaseline,
    accuracy_file,
    rounded,
    speed_file,
)
from greenlight.judgement.checks.base import Check, Status, Subject, make_check, percent
from greenlight.judgement.comparison import log_ratio
from greenlight.judgement.expected import Expected
from greenlight.judgement.rules import Rules
from greenlight.judgement.speed import Speed
from greenlight.measures.judged import IN_PRICES
from greenlight.statistics.intervals import Interval, compare_log_ratios, difference


def file_checks(expected: Expected, rules: Rules, baselines: Baselines) -> list[Check]:
    """`baseline-file`, `baseline-comparable`, `baseline-vanished` and `baseline-new` of whole models."""
    checks = []
    for model in sorted(set(expected.models) | set(baselines.accuracy)):
        found = baselines.accuracy.get(model)
        checks += _accuracy_file(expected, rules, baselines, model, found)
    return checks + _speed_file(expected, rules, baselines)


def _accuracy_file(
    expected: Expected, rules: Rules, baselines: Baselines, model: str, found: AccuracyBaseline | Refused | None
) -> list[Check]:
    name = accuracy_file(model)
    about: dict[str, Any] = {"model": model, "evidence": [(f"baselines/{name}", baselines.files.get(name))]}
    if found is None:
        reason = "no accuracy baseline was accepted yet: nothing is compared with an earlier run"
        return [make_check(rules, "baseline-comparable", "not-measured", reason, **about)]
    if isinstance(found, Refused):
        return [make_check(rules, "baseline-file", "fail", f"{name} is refused: {found.reason}", **about)]
    checks = [make_check(rules, "baseline-file", "pass", f"{name} is as it was accepted", **about)]
    if model not in expected.models:
        reason = f"model {model} vanished: it was accepted, and this run does not measure it; if that is meant, "
        reason += f"delete {name}"
        return [*checks, make_check(rules, "baseline-vanished", "fail", reason, **about)]
    obstacle = incomparable(expected, model, found)
    if prices := other_prices(expected, found):
        reason = f"{name} says nothing of these prices: it was made with other {prices}"
        checks.append(make_check(rules, "baseline-comparable", "not-measured", reason, **about))
    elif obstacle:
        remedy = "accept a run to have a new one, or name another baselines_folder"
        reason = f"{name} can't be compared: {obstacle}; {remedy}"
        checks.append(make_check(rules, "baseline-comparable", "fail", reason, **about))
    else:
        reason = f"accepted {found.accepted.when} at commit {found.accepted.commit[:12]}"
        checks.append(make_check(rules, "baseline-comparable", "pass", reason, **about))
    if any(name in expected.symbols for name in found.symbols):
        checks += _vanished(expected, rules, model, found, about)
    return checks + _new(expected, rules, model, found, about)


def incomparable(expected: Expected, model: str, found: AccuracyBaseline) -> str:
    """Why scores now and then can't be compared, or "" where they can."""
    entry = expected.models[model]
    pairs = [
        ("weights", found.weights_hash, entry.weights_hash),
        ("settings", found.settings_hash, expected.settings_of(model)),
        ("horizon", found.horizon, expected.horizon),
        ("samples", found.samples, expected.samples),
    ]
    changed = [what for what, then, now in pairs if then != now or then == ""]
    if prices := other_prices(expected, found):
        changed.append(prices)
    return f"it was made with other {' and '.join(changed)}" if changed else ""


def other_prices(expected: Expected, found: AccuracyBaseline) -> str:
    """What shows that a baseline is of other prices altogether, or "" where some are the same."""
    shared = [name for name in found.symbols if name in expected.symbols]
    if not shared:
        return "symbols, none of which is here"
    moved = [name for name in shared if not _same_data(expected, found, name)]
    return "data of every symbol" if len(moved) == len(shared) else ""


def _same_data(expected: Expected, found: AccuracyBaseline, symbol: str) -> bool:
    then, now = found.symbols[symbol].data_hash, expected.symbols[symbol].data_hash
    return then == now and then != ""


def _vanished(
    expected: Expected, rules: Rules, model: str, found: AccuracyBaseline, about: Mapping[str, Any]
) -> list[Check]:
    """Accepted variants, symbols and windows that this run was not asked for."""
    gone = [f"variant {name}" for name in found.variants if name not in expected.models[model].variants]
    gone += [f"symbol {name}" for name in found.symbols if name not in expected.symbols]
    gone += [
        f"windows {expected.symbols[name].windows} to {entry.windows - 1} of {name}"
        for name, entry in found.symbols.items()
        if name in expected.symbols and expected.symbols[name].windows < entry.windows
    ]
    reason = "every accepted variant, symbol and window is measured"
    if gone:
        more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
        reason = f"vanished since the accepted run: {', '.join(gone[:5])}{more}"
    status: Status = "fail" if gone else "pass"
    return [make_check(rules, "baseline-vanished", status, reason, figure=len(gone), limit=0, **about)]


def _new(
    expected: Expected, rules: Rules, model: str, found: AccuracyBaseline, about: Mapping[str, Any]
) -> list[Check]:
    """What has no accepted evidence yet is new, which is neither a pass nor a failure."""
    new = [f"variant {name}" for name in expected.models[model].variants if name not in found.variants]
    new += [f"symbol {name}" for name in expected.symbols if name not in found.symbols]
    new += [
        f"symbol {name} (other data)"
        for name in expected.symbols
        if name in found.symbols and not _same_data(expected, found, name)
    ]
    if not new:
        return []
    more = f" and {len(new) - 5} more" if len(new) > 5 else ""
    reason = f"new since the accepted run, without accepted errors of its own: {', '.join(new[:5])}{more}"
    return [make_check(rules, "baseline-new", "not-measured", reason, figure=len(new), **about)]


def _speed_file(expected: Expected, rules: Rules, baselines: Baselines) -> list[Check]:
    if not expected.platform_id:
        reason = "the manifest names no platform: speed is compared with no earlier run"
        return [make_check(rules, "baseline-comparable", "not-measured", reason)]
    name, found = speed_file(expected.platform_id), baselines.speed
    about: dict[str, Any] = {"evidence": [(f"baselines/{name}", baselines.files.get(name))]}
    if found is None:
        reason = f"no speed baseline was accepted on this platform ({expected.platform_id})"
        return [make_check(rules, "baseline-comparable", "not-measured", reason, **about)]
    if isinstance(found, Refused):
        return [make_check(rules, "baseline-file", "fail", f"{name} is refused: {found.reason}", **about)]
    gone = [model for model in found.models if model not in expected.models]
    gone += [
        f"{model}/{variant}"
        for model, entry in found.models.items()
        if model in expected.models
        for variant in entry.variants
        if variant not in expected.models[model].variants
    ]
    status: Status = "fail" if gone else "pass"
    reason = f"vanished since the accepted run: {', '.join(gone[:5])}" if gone else "every accepted latency is measured"
    return [
        make_check(rules, "baseline-file", "pass", f"{name} is as it was accepted", **about),
        make_check(rules, "baseline-vanished", status, reason, figure=len(gone), limit=0, **about),
    ]


def accuracy_checks(subject: Subject, baselines: Baselines) -> list[Check]:
    """`baseline-accuracy` and `baseline-symbols` of a variant that has accepted scores, or whose partner has."""
    found = baselines.accuracy.get(subject.found.model)
    if not isinstance(found, AccuracyBaseline) or incomparable(subject.expected, subject.found.model, found):
        return []
    accepted = _accepted_as(subject, found)
    if accepted is None:
        return []
    names = ("baseline-accuracy", "baseline-symbols")
    scores = subject.found.scores
    if scores is None:
        return subject.missing(names, "there are no scores to compare with the baseline", "score")
    if absent := [error for error in subject.expected.errors if error not in found.variants[accepted]]:
        return subject.missing(names, f"the baseline has no {' or '.join(absent)}", "score")
    ratios = {error: _ratios(subject, found, error, accepted) for error in subject.expected.errors}
    if not ratios["mae"].symbols:
        return subject.missing(names, "no accepted window is measured", "score")
    if not all(np.isfinite(found.series).all() for found in ratios.values()):
        return subject.missing(names, "accepted windows have no score", "score")
    of = "" if accepted == subject.found.variant else f" of {accepted}, whose random numbers this new variant has"
    return [_overall(subject, ratios, of), _each_symbol(subject, ratios, of)]


def _accepted_as(subject: Subject, found: AccuracyBaseline) -> str | None:
    """The variant whose accepted errors a variant is held to: its own, else those of its partner, which has the same
    random numbers; None where neither was accepted.
    """
    model, variant = subject.expected.models[subject.found.model], subject.found.variant
    names = (variant, model.partner(variant))
    return next((name for name in names if name in found.variants), None)


@dataclass(frozen=True)
class _Ratios:
    """Log ratios of one error, now over then: by symbol, and by the unit that is judged (symbol or window)."""

    symbols: list[str]
    series: np.ndarray
    units: np.ndarray
    unit: str


def _ratios(subject: Subject, found: AccuracyBaseline, error: str, accepted: str) -> _Ratios:
    """Symbols with the same data, on the windows that both runs have, over the errors of the variant `accepted`."""
    assert subject.found.scores is not None
    now, price = subject.found.scores.metrics[error], subject.found.scores.metrics["mean_price"]
    then = found.variants[accepted][error]
    symbols, rows, start = [], [], 0
    for symbol, entry in subject.expected.symbols.items():
        if symbol in found.symbols and _same_data(subject.expected, found, symbol):
            both = min(entry.windows, found.symbols[symbol].windows)
            scale = price[start : start + both] if error in IN_PRICES else np.ones(both)
            rows.append((rounded(now[start : start + both]), np.array(then[symbol][:both]), scale))
            symbols.append(symbol)
        start += entry.windows
    if not rows:
        return _Ratios([], np.array([]), np.array([]), "symbols")
    series = log_ratio(*np.array([[part.mean() for part in row] for row in rows]).T)
    if len(symbols) >= subject.rules.accuracy.minimum_series:
        return _Ratios(symbols, series, series, "symbols")
    return _Ratios(symbols, series, np.concatenate([log_ratio(*row) for row in rows]), "windows")


def _overall(subject: Subject, ratios: Mapping[str, _Ratios], of: str) -> Check:
    """Equivalence within the margin, both ways: an unexplained improvement is a change too."""
    rules, margin = subject.rules, subject.rules.baseline.margin
    order: tuple[Status, ...] = ("pass", "inconclusive", "fail")
    judged = []
    for error, found in ratios.items():
        compared = compare_log_ratios(found.units, margin=margin, alpha=rules.accuracy.alpha)
        status = _equivalence(compared.interval, math.log1p(margin), found.units)
        judged.append((order.index(status), abs(compared.interval.estimate), error, compared))
    rank, _, error, compared = max(judged, key=lambda item: item[:2])
    status = order[rank]
    interval = compared.interval
    bounds = f"[{percent(interval.lower)}, {percent(interval.upper)}]"
    reason = f"{subject.error_name(error)} {percent(interval.estimate)} {bounds}"
    reason += f" since the accepted run{of}, {interval.n} {ratios[error].unit}, margin {100 * margin:g}%"
    if status == "fail":
        reason += ": worse" if interval.estimate > 0 else ": an improvement that nothing explains"
    figure = math.expm1(interval.estimate)
    return subject.check("baseline-accuracy", status, reason, "score", figure=figure, limit=margin)


def _equivalence(interval: Interval, limit: float, d: np.ndarray) -> Status:
    if (d == 0).all() or (-limit < interval.lower and interval.upper < limit):
        return "pass"
    shown = interval.lower > 0 or interval.upper < 0
    return "fail" if shown and abs(interval.estimate) > limit / 2 else "inconclusive"


def _each_symbol(subject: Subject, ratios: Mapping[str, _Ratios], of: str) -> Check:
    limit = subject.rules.baseline.series_margin
    changed = {
        symbol: (error, float(value))
        for error, found in ratios.items()
        for symbol, value in zip(found.symbols, found.series, strict=True)
        if abs(value) > math.log1p(limit)
    }
    worst = max(float(np.abs(found.series).max()) for found in ratios.values())
    reason = f"no symbol changed by more than {100 * limit:g}% since the accepted run{of}"
    if changed:
        named = [
            f"{symbol} ({subject.error_name(error)} {percent(value)})" for symbol, (error, value) in changed.items()
        ]
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        reason = f"changed by more than {100 * limit:g}% since the accepted run{of}: {', '.join(named[:5])}{more}"
    figures = {"figure": math.expm1(worst), "limit": limit}
    return subject.holds("baseline-symbols", not changed, reason, "score", **figures)


def speed_checks(subject: Subject, speed: Speed | None, baselines: Baselines) -> list[Check]:
    """Speedup over the session's own eager, and the absolute, against what was accepted on this platform."""
    found = baselines.speed
    if subject.is_reference or not isinstance(found, SpeedBaseline):
        return []
    entry = found.models.get(subject.found.model)
    if entry is None or subject.found.variant not in entry.variants:
        return []
    model = subject.expected.models[subject.found.model]
    settings_hash = subject.expected.settings_of(subject.found.model)
    same = (entry.weights_hash, entry.settings_hash) == (model.weights_hash, settings_hash)
    names = ("baseline-speed", "baseline-speed-absolute", "baseline-speed-gain")
    if not same or not entry.weights_hash or not entry.settings_hash:
        reason = "the speed baseline was made with other weights or settings"
        return [subject.check(name, "not-measured", reason, "time") for name in names]
    if speed is None:
        return subject.missing(names, "there are no latency pairs to compare with the baseline", "time")
    then = entry.variants[subject.found.variant]
    loss = difference(speed.ratio, Interval(**then.log_ratio.model_dump()))
    return [_loss(subject, speed, then, loss), _absolute(subject, speed, then), _gain(subject, speed, then, loss)]


def _loss(subject: Subject, speed: Speed, then: BaselineSpeed, loss: Interval) -> Check:
    rules = subject.rules.speed
    before, now = math.exp(-then.log_ratio.estimate), math.exp(-speed.ratio.estimate)
    reason = f"speedup over eager {before:.3g} then, {now:.3g} now: {percent(loss.estimate)} slower"
    reason += f" [{percent(loss.lower)}, {percent(loss.upper)}]"
    status: Status = "inconclusive"
    if loss.upper < math.log(rules.slower_than_baseline):
        status = "pass"
    elif loss.lower > math.log(rules.slower_shown):
        status = "fail"
        # A ratio alarms when eager got faster; then the variant's own seconds have not moved.
        if speed.variant["median"] <= then.variant_median_seconds * rules.slower_shown:
            status = "warn"
            reason += "; the reference got faster, the variant itself did not get slower"
        elif doubt := _machine_moved_more(subject, speed, then, loss.estimate):
            status = "inconclusive"
            reason += f"; {doubt}"
    figure, limit = math.expm1(loss.lower), rules.slower_shown - 1
    return subject.check("baseline-speed", status, reason, "time", figure=figure, limit=limit)


def _absolute(subject: Subject, speed: Speed, then: BaselineSpeed) -> Check:
    limit = subject.rules.speed.absolute_slower_than_baseline
    own = speed.variant["median"] / then.variant_median_seconds
    eager = speed.reference["median"] / then.reference_median_seconds
    reason = f"median seconds are {own:.3g} times those accepted, eager's {eager:.3g} times"
    worst = max(own, eager)
    return subject.holds("baseline-speed-absolute", worst <= limit, reason, "time", figure=worst, limit=limit)


def _gain(subject: Subject, speed: Speed, then: BaselineSpeed, loss: Interval) -> Check:
    limit = math.log(subject.rules.speed.slower_than_baseline)
    status: Status = "pass"
    reason = f"{percent(-loss.estimate)} speedup since the accepted run"
    if not (loss.upper < 0 and -loss.estimate > limit):
        reason += ", nothing to explain"
    elif doubt := _machine_moved_more(subject, speed, then, loss.estimate):
        status = "inconclusive"
        reason += f"; {doubt}"
    else:
        status = "fail"
        reason += ": an improvement that nothing explains"
    figure = math.expm1(-loss.estimate)
    return subject.check("baseline-speed-gain", status, reason, "time", figure=figure, limit=math.expm1(limit))


def _machine_moved_more(subject: Subject, speed: Speed, then: BaselineSpeed, change: float) -> str:
    """Why a change of the log ratio since the accepted run may be the machine's; empty where it can't be.

    Pairs cancel what slows both arms alike. What loads the machine otherwise than in the accepted session moves the
    ratio, too; the reference's own seconds tell of it, and so does a reference that differs from itself. However much
    the machine moved, it explains no change beyond `absolute_slower_than_baseline`.
    """
    moved = math.log(speed.reference["median"] / then.reference_median_seconds)
    most = math.log(subject.rules.speed.absolute_slower_than_baseline)
    if abs(change) > min(most, max(speed.noise_bound, abs(moved))):
        return ""
    return (
        f"the reference itself takes {percent(moved)} more time than then, and eager against eager differs by up to "
        f"{percent(speed.noise_bound)}, so that this may be the machine"
    )
