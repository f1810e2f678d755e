"""Is it fast and steady, and does its memory stay? Limits judge bounds, and noise that can't carry a
verdict says so.
"""

from __future__ import annotations

import math

from greenlight.judgement.checks.base import Check, Status, Subject, count, percent
from greenlight.judgement.registry import made_in
from greenlight.judgement.speed import Speed
from greenlight.statistics.intervals import needed_pairs, trend
from greenlight.statistics.looks import calls_to_bound
from greenlight.statistics.sequential import slow_of

SPEED_CHECKS = tuple(name for name in made_in("speed", stages="time", demand="variants") if name != "memory-growth")


def speed_checks(subject: Subject, speed: Speed | None) -> list[Check]:
    """Checks on the latency pairs of a variant other than the reference, which has none."""
    if subject.is_reference:
        return []
    if speed is None:
        return subject.missing(SPEED_CHECKS, "there are no usable latency pairs", "time")
    return [
        _not_slower(subject, speed),
        _mean_not_slower(subject, speed),
        _slow_calls(subject, speed),
        _p99(subject, speed),
        _noise(subject, speed),
        _processes_agree(subject, speed),
        _drift(subject, speed),
        _spread(subject, speed),
    ]


def noise_carries(speed: Speed, distance: float) -> bool:
    """Whether the machine's own noise (A/A) is smaller than a log ratio's distance from what it is held against."""
    return speed.noise_bound < abs(distance)


def _not_slower(subject: Subject, speed: Speed) -> Check:
    rules, ratio = subject.rules.speed, speed.ratio
    tolerable, shown = math.log(rules.slower), math.log(rules.slower_shown)
    # Where the estimate is right: how many pairs would show that it is below the one limit, or above the other.
    distance = max(tolerable - ratio.estimate, ratio.estimate - shown)
    needed = max(needed_pairs(speed.jitter, distance, speed.alpha, rules.power), rules.minimum_pairs)
    status: Status = "inconclusive"
    shown_fast = ratio.upper < tolerable and speed.p_pass <= speed.alpha
    shown_slow = ratio.lower > shown and speed.p_fail <= speed.alpha
    if shown_fast and noise_carries(speed, ratio.estimate - tolerable):
        status = "pass"
    elif shown_slow and noise_carries(speed, ratio.estimate):
        status = "fail"
    speedup = f"{math.exp(-ratio.estimate):.3g} times as fast as the reference"
    reason = f"{speedup}, latency {percent(ratio.estimate)} [{percent(ratio.lower)}, {percent(ratio.upper)}]"
    reason += f", {ratio.n} pairs" + (f" at look {speed.look} of {speed.looks}" if speed.look > 1 else "")
    controls = speed.noise.n if speed.noise is not None else 0
    if ratio.n < rules.minimum_pairs or controls < rules.minimum_control_pairs:
        wanted = f"at least {rules.minimum_pairs} and {rules.minimum_control_pairs} are needed"
        status, reason = "inconclusive", f"{count(ratio.n, 'pair')} and {controls} A/A pairs, {wanted}"
    elif status == "inconclusive":
        reason += f"; the A/A pairs show noise up to {percent(speed.noise_bound)}: more pairs are needed"
        reason += f", about {needed}"
    shares = {name: math.expm1(getattr(ratio, name)) for name in ("estimate", "lower", "upper")}
    counts = {"n": ratio.n, "unit": "pairs", "needed": needed, "look": speed.look, "looks": speed.looks}
    reference = subject.expected.models[subject.found.model].reference
    details = {"against": reference, **shares, **counts, "noise": math.expm1(speed.noise_bound)}
    figures = {"figure": math.expm1(ratio.upper), "limit": rules.slower - 1, "details": details}
    return subject.check("not-slower", status, reason, "time", **figures)


def _mean_not_slower(subject: Subject, speed: Speed) -> Check:
    """The mean sees what the median does not: calls that are seldom, but much, slower."""
    rules, mean = subject.rules.speed, speed.mean
    if mean is None:
        return subject.missing(["mean-not-slower"], "too few latency pairs for a mean", "time")[0]
    ratio, tolerable = mean.interval, math.log(rules.slower)
    status: Status = "inconclusive"
    if ratio.lower > math.log(rules.slower_shown) and mean.p_fail <= speed.alpha:
        status = "fail"
    elif ratio.upper < tolerable:
        status = "pass"
    looks_worse = ratio.estimate > tolerable and mean.p_fail <= rules.suspicion
    reason = f"mean latency {percent(ratio.estimate)} [{percent(ratio.lower)}, {percent(ratio.upper)}] against the "
    reason += f"reference's, {ratio.n} pairs without the one that is furthest out"
    if status == "inconclusive" and looks_worse:
        reason += "; it looks slower, and more pairs must show what it is"
    figures = {"figure": math.expm1(ratio.upper), "limit": rules.slower - 1, "details": {"p_value": mean.p_fail}}
    return subject.check("mean-not-slower", status, reason, "time", looks_worse=looks_worse, **figures)


def _slow_calls(subject: Subject, speed: Speed) -> Check:
    """fail: more frequent than among those that take as long; pass: their share is bounded; else inconclusive: so few
    calls can't tell. That blocks where their share is beyond the limit and looks larger than that of the others.
    """
    rules, (own, other) = subject.rules.speed, speed.slow
    lower, upper = speed.slow_bounds
    reason = f"{own:.0%} [{lower:.1%}, {upper:.1%}] of calls above {rules.slow_call:g} medians, {other:.0%} of "
    reason += f"{speed.slow_beside} (p {speed.slow_p_value:.2g})"
    before = [b["variant_seconds"] for result in subject.found.results("time") for b in result.alone_before]
    if before:
        slow, of = slow_of(rules.slow_call, *before)
        reason += f"; called alone once more, for {slow} of {of} calls were slow at first"
    status: Status = "inconclusive"
    if speed.slow_p_value <= speed.alpha:
        status = "fail"
    elif upper <= rules.slow_share:
        status = "pass"
    else:
        calls = calls_to_bound(rules.slow_share, speed.slow_rate)
        reason += f"; {rules.slow_share:.0%} can't be excluded by {speed.slow_calls} calls"
        reason += f", {calls} without a slow one would" if math.isfinite(calls) else ""
    shown_alone = speed.slow_p_value <= rules.alpha  # but not at the rate of this look
    looks_worse = shown_alone or (own >= rules.slow_share and speed.slow_p_value <= rules.suspicion)
    if status == "inconclusive" and looks_worse:
        reason += "; there look to be more than of the others, and more pairs must show it"
    details = {"lower": lower, "upper": upper, "p_value": speed.slow_p_value, "calls": speed.slow_calls}
    figures = {"figure": upper, "limit": rules.slow_share, "details": details}
    return subject.check("slow-calls", status, reason, "time", looks_worse=looks_worse, **figures)


def _p99(subject: Subject, speed: Speed) -> Check:
    rules, p99 = subject.rules.speed, speed.variant["p99"]
    over = p99 / speed.variant["median"]
    reason = f"p99 {p99:.3g} s, {over:.2g} medians"
    if rules.p99_seconds is None and rules.p99_over_median is None:
        return subject.check("p99", "not-measured", f"{reason}; no limit is set", "time", figure=p99)
    if rules.p99_seconds is not None and p99 > rules.p99_seconds:
        return subject.check("p99", "fail", reason, "time", figure=p99, limit=rules.p99_seconds)
    if rules.p99_over_median is not None:
        holds = over <= rules.p99_over_median
        return subject.holds("p99", holds, reason, "time", figure=over, limit=rules.p99_over_median)
    return subject.check("p99", "pass", reason, "time", figure=p99, limit=rules.p99_seconds)


def _noise(subject: Subject, speed: Speed) -> Check:
    limit, bound = subject.rules.speed.noise, math.expm1(speed.noise_bound)
    if speed.noise is None:
        return subject.check("noise", "fail", "no evidence: there are no A/A pairs", "time", limit=limit)
    bounded = f"bounded by {bound:.1%}" if math.isfinite(bound) else "too few A/A pairs for a bound"
    reason = f"eager against eager differs by {percent(speed.noise.estimate)}, {bounded}"
    return subject.holds("noise", bound <= limit, reason, "time", figure=bound, limit=limit)


def _processes_agree(subject: Subject, speed: Speed) -> Check:
    limit, spread = subject.rules.speed.processes_differ, max(speed.processes) - min(speed.processes)
    reason = f"median ratios of {len(speed.processes)} processes differ by {math.expm1(spread):.1%}"
    if len(speed.processes) < 2:
        reason = "one process only: what a fresh one would differ by is not known"
        return subject.check("processes-agree", "not-measured", reason, "time")
    holds = math.expm1(spread) <= limit
    return subject.holds("processes-agree", holds, reason, "time", figure=math.expm1(spread), limit=limit)


def _drift(subject: Subject, speed: Speed) -> Check:
    limit = subject.rules.speed.drift
    machine, own = (math.expm1(value) for value in speed.drift)
    reason = f"within a run the reference drifted by {machine:+.1%}, the ratio to it by {own:+.1%}"
    worst = max(machine, own, key=abs)
    return subject.holds("latency-drift", abs(worst) <= limit, reason, "time", figure=worst, limit=limit)


def _spread(subject: Subject, speed: Speed) -> Check:
    limit, found = subject.rules.speed.spread, speed.variant["mad_over_median"]
    variation, outside = speed.variant["coefficient_of_variation"], int(speed.variant["outliers"])
    reason = f"MAD over median {found:.1%}, coefficient of variation {variation:.1%}, {count(outside, 'outlier')}"
    return subject.holds("latency-spread", found <= limit, reason, "time", figure=found, limit=limit)


def start_check(subject: Subject) -> Check:
    """Cold start (compile) and warm start (predict: load and first call), against limits where they are set."""
    rules = subject.rules.speed
    compiled, predicted = subject.found.results("compile"), subject.found.results("predict")
    if not predicted:
        return subject.missing(["start-time"], "predict left no usable result", "predict")[0]
    warm = max(result.load_seconds + result.first_call_seconds for result in predicted)
    cold = max((result.cold_seconds for result in compiled), default=None)
    reason = f"warm start {warm:.3g} s" + (f", cold start {cold:.3g} s" if cold is not None else "")
    limits = [(warm, rules.warm_start_seconds), (cold, rules.cold_start_seconds)]
    judged = [(found, limit) for found, limit in limits if found is not None and limit is not None]
    if not judged:
        reason += "; no limit is set"
        return subject.check("start-time", "not-measured", reason, "compile", "predict", figure=warm)
    found, limit = max(judged, key=lambda item: item[0] / item[1])
    return subject.holds("start-time", found <= limit, reason, "compile", "predict", figure=found, limit=limit)


def memory_checks(subject: Subject) -> list[Check]:
    """`memory-growth` in the timed processes and `memory-peak` in all of them."""
    peak = _peak(subject)
    return [peak] if subject.is_reference else [_growth(subject), peak]


def _growth(subject: Subject) -> Check:
    rules, results = subject.rules.memory, subject.found.results("time")
    if not results:
        return subject.missing(["memory-growth"], "time left no usable result", "time")[0]
    limit = rules.growth_bytes_per_call
    readings = [("memory", result.memory_readings) for result in results]
    if any(result.device_memory_readings for result in results):
        readings += [("device memory", result.device_memory_readings) for result in results]
    if min(len(own) for _, own in readings) < rules.minimum_readings:
        reason = f"fewer than {rules.minimum_readings} memory readings in a process"
        return subject.check("memory-growth", "inconclusive", reason, "time", limit=limit)
    trends = [trend(own, subject.rules.speed.alpha) for _, own in readings]
    worst, what = max(
        zip(trends, (what for what, _ in readings), strict=True), key=lambda found: found[0].slope.estimate
    )
    settled = all(found.change <= rules.growth_floor_bytes for found in trends)
    status: Status = "inconclusive"
    if settled or all(found.slope.upper <= limit for found in trends):
        status = "pass"
    elif any(found.slope.lower > limit and found.change > rules.growth_floor_bytes for found in trends):
        status = "fail"
    slope = worst.slope
    reason = f"{what} grows by {_kib(slope.estimate)} a call [{_kib(slope.lower)}, {_kib(slope.upper)}]"
    reason += f", {_kib(worst.change)} in all {slope.n} readings"
    return subject.check("memory-growth", status, reason, "time", figure=slope.estimate, limit=limit)


def _kib(size: float) -> str:
    return f"{size / 1024:,.0f} KiB" if math.isfinite(size) else "unbounded"


def _mib(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _peak(subject: Subject) -> Check:
    limit = subject.rules.memory.peak_bytes
    results = subject.found.results("predict") + subject.found.results("time")
    on_device = any(result.device_peak_bytes is not None for result in results)
    found = [result.device_peak_bytes if on_device else result.peak_memory_bytes for result in results]
    peaks = [peak for peak in found if peak is not None]
    what = "the peak on the device" if on_device else "the peak"
    if limit is None:
        reason = "no limit is set" + (f"; {what} is {_mib(max(peaks))}" if peaks else "")
        figure = max(peaks) if peaks else None
        return subject.check("memory-peak", "not-measured", reason, "predict", "time", figure=figure)
    if not peaks or len(peaks) < len(results):
        return subject.missing(["memory-peak"], "a process did not report its peak memory", "predict", "time")[0]
    reason = f"{what} is {_mib(max(peaks))}, the limit {_mib(limit)}"
    holds = max(peaks) <= limit
    return subject.holds("memory-peak", holds, reason, "predict", "time", figure=max(peaks), limit=limit)
