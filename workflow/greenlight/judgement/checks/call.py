"""Does it do so as production calls it: in all its shapes, from several threads, and again and again?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from greenlight.judgement.call_records import CallResult, ShapeResult, SoakResult
from greenlight.judgement.checks.base import Check, Status, Subject, count, percent_of_price
from greenlight.judgement.checks.numerics import worst_error
from greenlight.judgement.expected import ExpectedCalls
from greenlight.judgement.probe_records import TogetherResult
from greenlight.judgement.registry import made_in
from greenlight.statistics.intervals import Trend, trend

CALL_CHECKS = made_in("call", stages="call predict", demand="all")
# Integers of which rounding may turn one in a thousand: tokens of a value near the edge between two.
_INTEGERS = 1e-3
# Numerics of the same code and inputs differ by rounding at most, as a share of their RMS value.
_NUMERICS = 1e-5


def call_checks(subject: Subject) -> list[Check]:
    """All checks of the call as production makes it; what the configuration does not ask for is not measured."""
    together, job = _together(subject), subject.found.expected.jobs.get("call")
    if job is None:
        reason = "single calls in the run's own shape: evaluation.call asks for nothing else"
        return [together, *(subject.check(name, "not-measured", reason, "predict") for name in CALL_CHECKS)]
    results = subject.found.results("call")
    if not results:
        return [together, *subject.missing(CALL_CHECKS, "call left no usable result", "call")]
    (result,) = results
    return [together, _shapes(subject, job.call, result), *_soak(subject, job.call, result.soak)]


def _shapes(subject: Subject, asked: ExpectedCalls, result: CallResult) -> Check:
    """`shapes-stable`; the figure is the number of frames compiled in the second pass."""
    name = "shapes-stable"
    if not asked.shapes:
        reason = "the run's own shape only: evaluation.call.shapes names no other"
        return subject.check(name, "not-measured", reason, "call")
    if [shape.sizes for shape in result.shapes] != list(asked.shapes):
        return subject.missing([name], f"{count(len(result.shapes), 'shape')} of {len(asked.shapes)}", "call")[0]
    again = sum(shape.again.compiled for shape in result.shapes)
    graphs = sum(shape.first.compiled for shape in result.shapes)
    details = {
        "shapes": len(result.shapes),
        "compiled_in_first_pass": graphs,
        "slowest_first_call": max(shape.first.seconds for shape in result.shapes),
        "against": result.eager,
    }
    faults = list(_faults(subject, result))
    if faults:
        more = f"; {len(faults) - 1} more like it" if len(faults) > 1 else ""
        reason = faults[0] + more
    else:
        reason = f"{count(len(result.shapes), 'shape')}: numerics hold in each"
        reason += f", forecasts are those of {result.eager}" if result.eager else ""
        if subject.variant.compiled:
            reason += f"; {count(graphs, 'frame')} compiled in the first pass, none in the second"
    return subject.holds(name, not faults, reason, "call", figure=again, limit=0, details=details)


def _faults(subject: Subject, result: CallResult) -> Iterator[str]:
    """What does not hold in some shape, in words, the plainest first."""
    shapes = result.shapes
    if subject.variant.compiled:
        if late := [shape for shape in shapes if shape.again.compiled]:
            guard = f" (last guard: {late[0].again.guard})" if late[0].again.guard else ""
            frames = sum(shape.again.compiled for shape in late)
            yield f"{count(frames, 'frame')} compiled anew in the second pass, in {late[0]}{guard}"
        if result.limit_hits:
            first = result.limit_hits[0]
            yield (
                f"{count(len(result.limit_hits), 'frame')} reached the recompile limit in the sweep and run eagerly: "
                f"{first.get('function', '')}, {first.get('file', '')}:{first.get('line', '')}"
            )
        for shape in shapes:
            if not shape.again.graphs_run:
                yield f"no compiled graph ran in {shape}: it gave up compiling"
    yield from _numerical_faults(subject, shapes)
    if result.eager is None:
        return
    if absent := [shape for shape in shapes if shape.agreement is None]:
        yield f"no evidence: {absent[0]} was not compared with {result.eager}"
        return
    yield from _parted(subject, result.eager, shapes)


def _numerical_faults(subject: Subject, shapes: Sequence[ShapeResult]) -> Iterator[str]:
    for shape in shapes:
        found = worst_error(subject, shape.quantities)
        if isinstance(found, str):
            yield f"{shape}: {found}"
        elif found.error.load > 1:
            yield f"{shape}: {found.words}"
        for quantity in shape.quantities:
            allowed = max(subject.rules.numerics.exact_mismatches, int(_INTEGERS * quantity.elements))
            exact = quantity.kind == "exact" and not subject.found.expected.alone  # tokens flip by rounding
            if exact and quantity.mismatches > allowed:
                yield f"{shape}: {quantity.mismatches} of {quantity.elements} integers of {quantity.quantity} differ"


def _parted(subject: Subject, eager: str, shapes: Sequence[ShapeResult]) -> Iterator[str]:
    """Sample paths that part from the eager ones: in one shape as of one symbol, in all as in all windows."""
    rules, reduced = subject.rules.accuracy, subject.variant.reduced
    tolerance = rules.reduced_window_difference if reduced else rules.window_difference
    limit = rules.reduced_windows_differing if reduced else rules.windows_differing
    known = [(shape, shape.agreement) for shape in shapes if shape.agreement is not None]
    for shape, agreement in known:
        share = agreement.parted / agreement.paths
        if share > rules.symbol_differing:
            yield (
                f"{shape}: {share:.0%} of the sample paths differ from {eager} by more than {tolerance:.0%} of the "
                f"band, by up to {percent_of_price(agreement.farthest)}"
            )
    parted, paths = sum(each.parted for _, each in known), sum(each.paths for _, each in known)
    if parted > limit * paths:
        worst = max(known, key=lambda one: one[1].parted / one[1].paths)[0]
        yield f"{parted / paths:.0%} of the sample paths of all shapes differ from {eager}, most in {worst}"


def _together(subject: Subject) -> Check:
    """`concurrent-calls`; the figure is the share of sample paths that part from those of calls one by one."""
    name, rules = "concurrent-calls", subject.rules.accuracy
    asked = subject.found.expected.jobs["probe"].threads
    results = subject.found.results("probe")
    found: TogetherResult | None = results[0].together if results else None
    if asked == 1:
        return subject.check(name, "not-measured", "calls come one by one: evaluation.call.concurrency is 1", "probe")
    if found is None or found.threads != asked or not found.calls:
        what = f"{asked} threads were asked for, " + (f"{found.threads} called" if found else "none called")
        return subject.missing([name], what, "probe")[0]
    share = found.parted / found.paths if found.paths else 0.0
    alone, together = median(found.seconds_alone), median(found.seconds_together)
    throughput = sum(found.seconds_alone) / found.wall_seconds if found.wall_seconds > 0 else math.nan
    details = {
        "threads": found.threads,
        "calls": found.calls,
        "differing_calls": found.differing,
        "median_seconds_alone": alone,
        "median_seconds_together": together,
        "slowest_seconds_together": max(found.seconds_together),
        "throughput": throughput if math.isfinite(throughput) else None,
        "compiled": found.compiled,
    }
    holds = False
    if found.errors:
        reason = f"{len(found.errors)} of {found.calls} calls of {found.threads} threads raised: {found.errors[0]}; "
        reason += "who calls it from one thread at a time says so by evaluation.call.concurrency: 1"
    elif found.shares_generator and found.numerics_apart is None:
        return subject.missing([name], "numerics of threads were not compared", "probe")[0]
    elif found.shares_generator and found.numerics_apart is not None and not found.numerics_apart <= _NUMERICS:
        reason = (
            f"the numerics of {found.threads} threads on one object differ by {found.numerics_apart:.2g} of their RMS "
            "value from those of calls one by one: threads share something that each call writes"
        )
    elif found.parted and found.shares_generator:
        reason = (
            f"calls of {found.threads} threads on one object forecast something else than one by one: {found.parted} "
            f"sample paths lie beyond all of those, by up to {percent_of_price(found.farthest)}"
        )
    elif found.parted:
        tolerance = rules.reduced_window_difference if subject.variant.reduced else rules.window_difference
        reason = (
            f"{found.differing} of {found.calls} calls of {found.threads} threads on one object give other forecasts "
            f"than one by one: {found.parted} sample paths differ by more than {tolerance:.0%} of the band, by up to "
            f"{percent_of_price(found.farthest)}: threads share something that each call writes"
        )
    else:
        holds = True
        same = "to the bit" if not found.differing else f"to rounding ({percent_of_price(found.farthest)})"
        if found.differing and found.shares_generator:
            same = "but for their random numbers, which threads draw from one generator"
        reason = f"{found.calls} calls of {found.threads} threads give what they give one by one, {same}; "
        reason += f"p50 {1000 * together:.3g} ms beside each other, {1000 * alone:.3g} ms alone"
    if holds and found.compiled > subject.rules.health.recompiles_after_warm_up:
        holds = False
        reason = f"{count(found.compiled, 'frame')} compiled anew in other threads, in front of a waiting caller"
    return subject.holds(name, holds, reason, "probe", figure=share, limit=0, details=details)


def _soak(subject: Subject, asked: ExpectedCalls, found: SoakResult | None) -> list[Check]:
    """`soak`: memory and results stay; `soak-drift`: seconds do."""
    names = ("soak", "soak-drift")
    if not asked.calls:
        reason = "no soak is asked for: evaluation.call.calls is 0"
        return [subject.check(name, "not-measured", reason, "call") for name in names]
    if found is None or found.calls != asked.calls:
        return subject.missing(names, f"{found.calls if found else 0} of {asked.calls} calls were made", "call")
    return [_memory_and_results(subject, found), _drift(subject, found)]


def _memory_and_results(subject: Subject, found: SoakResult) -> Check:
    rules, limit = subject.rules.memory, subject.rules.memory.growth_bytes_per_call
    trends = {"memory": trend(np.array(found.memory_readings), subject.rules.speed.alpha)}
    if found.device_memory_readings:
        trends["device memory"] = trend(np.array(found.device_memory_readings), subject.rules.speed.alpha)
    what, worst = max(trends.items(), key=lambda entry: entry[1].slope.estimate)
    slope = worst.slope.estimate / found.calls_a_reading
    grown = f"{what} grows by {slope / 1024:,.1f} KiB a call, {worst.change / 2**20:,.1f} MiB in all"
    status: Status = "pass"
    reason = f"{found.calls} calls: the same results throughout; {grown}"
    if found.changed:
        status, reason = "fail", f"{found.changed} of {found.calls} calls give other forecasts than the first did"
    elif any(_grows(each, found, rules.growth_floor_bytes, limit) for each in trends.values()):
        status, reason = "fail", f"in {found.calls} calls {grown}"
    elif found.compiled:
        status, reason = "fail", f"{count(found.compiled, 'frame')} compiled anew within {found.calls} calls"
    return subject.check("soak", status, reason, "call", figure=slope, limit=limit)


def _grows(found: Trend, soaked: SoakResult, floor: int, limit: int) -> bool:
    """Whether memory is shown to grow by more than the limit a call, or all in all by many floors and steadily.

    Many calls show a slow leak that `memory-growth` must let pass: a floor each hundred calls is one.
    """
    steady = found.slope.lower > 0 and found.change > max(1.0, soaked.calls / 100) * floor
    return steady or (found.slope.lower > limit * soaked.calls_a_reading and found.change > floor)


def _drift(subject: Subject, found: SoakResult) -> Check:
    """The last third of the calls against the first, by medians: a shared machine moves too, so this only warns."""
    limit, third = subject.rules.speed.drift, max(1, len(found.seconds) // 3)
    first, last = median(found.seconds[:third]), median(found.seconds[-third:])
    change = last / first - 1 if first > 0 else math.inf
    reason = f"p50 {1000 * first:.3g} ms in the first third of {found.calls} calls, {1000 * last:.3g} ms in the last"
    figure = change if math.isfinite(change) else None
    return subject.holds("soak-drift", change <= limit, reason, "call", figure=figure, limit=limit)
