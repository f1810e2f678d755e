"""Did compilation do what it should? Judged from positive evidence in every process, for compiled variants."""

from __future__ import annotations

from typing import Any

from greenlight.judgement.checks.base import Check, Subject, count
from greenlight.judgement.records import Health
from greenlight.judgement.registry import demanded

MODE_CHECKS = {
    "reduce-overhead": tuple(demanded("cuda-graphs")),
    "max-autotune": tuple(demanded("cuda-graphs", "autotuning")),
}
COMPILED_CHECKS = tuple(demanded("compiled"))
_STAGES = ("compile", "predict", "time")


def health_checks(subject: Subject) -> list[Check]:
    """All health checks of a compiled variant; none of an eager one."""
    mode = subject.variant.mode
    if mode == "eager":
        return []
    names = COMPILED_CHECKS + MODE_CHECKS.get(mode, ())
    compiled, predicted = subject.found.results("compile"), subject.found.results("predict")
    if not compiled or not predicted:
        absent = " and ".join(s for s, r in (("compile", compiled), ("predict", predicted)) if not r)
        return subject.missing(names, f"{absent} left no usable result", *_STAGES)
    health = _healths(subject)
    checks = [
        _engaged(subject, health),
        _recompiles(subject, health),
        _late_compilations(subject, health),
        _recompile_limit(subject, health),
        _graph_breaks(subject, health),
        _eager_frames(subject, health),
        _cold_cache(subject, compiled),
        _warm_cache(subject, compiled, predicted),
    ]
    if "cuda-graphs" in names:
        checks.append(_cuda_graphs(subject, [result.health for result in predicted]))
    if "autotuning" in names:
        checks.append(_autotuning(subject, [result.health for result in compiled]))
    return checks


def _healths(subject: Subject) -> list[tuple[str, Health]]:
    """(stage, health) of every process that left one."""
    return [
        (stage, result.health)
        for stage in (*_STAGES, "probe", "repeat", "replicate")
        for result in subject.found.results(stage)
        if result.health is not None
    ]


def _engaged(subject: Subject, health: list[tuple[str, Health]]) -> Check:
    """Compiled graphs ran in every process, and after warm-up in every forecast, as many as in any other."""
    idle = sorted({stage for stage, entry in health if not entry.engaged or entry.graphs == 0})
    fewest = min(entry.graphs for _, entry in health)
    later = [(stage, entry.forecasts) for stage, entry in health if entry.forecasts is not None]
    unseen = [stage for stage in ("predict", "time") if stage in subject.found.expected.stages()]
    unseen = [stage for stage in unseen if not any(each == stage and found.calls for each, found in later)]
    reason = f"compiled graphs ran in all {len(health)} processes, at least {count(fewest, 'graph')} each"
    holds, given_up = False, [(stage, found) for stage, found in later if found.idle]
    # Other stages forecast other numbers of windows in a call, which may take as many graphs more.
    uneven = [(stage, found) for stage, found in later if stage in ("predict", "time") and found.fewest < found.most]
    if idle:
        reason = f"compilation never engaged in {', '.join(idle)}: no compiled graph ran"
    elif given_up:
        stage, found = given_up[0]
        reason = f"in {stage}, {found.idle} of {count(found.calls, 'forecast')} after warm-up ran no compiled graph, "
        reason += f"from number {found.first_idle} on"
    elif uneven:
        stage, found = uneven[0]
        reason = f"in {stage}, some forecasts after warm-up ran {found.fewest} compiled graphs, others {found.most}: "
        reason += "a part gave up compiling"
    elif unseen:
        reason = f"no evidence: {' and '.join(unseen)} counted no forecast after warm-up"
    else:
        holds = True
        reason += f", and in each of {sum(found.calls for _, found in later)} forecasts after warm-up"
    return subject.holds("compile-engaged", holds, reason, *_STAGES, figure=fewest, limit=1)


def _recompiles(subject: Subject, health: list[tuple[str, Health]]) -> Check:
    limit = subject.rules.health.recompiles_after_warm_up
    if any(stage == "predict" and entry.recompiles_after_warm_up is None for stage, entry in health):
        reason = "predict marked no end of warm-up, so recompiles after it are not known"
        return subject.check("recompiles-after-warm-up", "inconclusive", reason, *_STAGES, limit=limit)
    counted: list[tuple[int, str, Health | None]]
    counted = [(entry.recompiles_after_warm_up or 0, stage, entry) for stage, entry in health]
    counted += [(result.recompiles_after_warm_up, "time", None) for result in subject.found.results("time")]
    most, stage, worst = max(counted, key=lambda item: item[0])
    cause = f"; the last one: {_name(worst.recompiles[-1])}" if worst and worst.recompiles else ""
    reason = f"at most {count(most, 'recompile')} after warm-up" if most else "no recompile after warm-up"
    if most > limit:
        reason = f"{count(most, 'recompile')} after warm-up in {stage}{cause}"
    return subject.holds("recompiles-after-warm-up", most <= limit, reason, *_STAGES, figure=most, limit=limit)


def _late_compilations(subject: Subject, health: list[tuple[str, Health]]) -> Check:
    """Frames first met after warm-up compile in front of a waiting caller."""
    most = max(entry.compilations_after_warm_up or 0 for _, entry in health)
    reason = f"{count(most, 'frame')} compiled after warm-up" if most else "nothing compiled after warm-up"
    return subject.holds("compiled-after-warm-up", most == 0, reason, *_STAGES, figure=most, limit=0)


def _name(event: dict[str, Any]) -> str:
    """A graph break, recompile or frame in words."""
    place = f"{event.get('file', '')}:{event.get('line', '')}".strip(":")
    cause = event.get("guard") or event.get("reason") or ""
    parts = [str(event.get("function", "")), place, str(cause).strip()]
    return ", ".join(part for part in parts if part)[:240] or "unnamed"


def _worst_list(health: list[tuple[str, Health]], name: str) -> list[dict[str, Any]]:
    return max((getattr(entry, name) for _, entry in health), key=len)


def _recompile_limit(subject: Subject, health: list[tuple[str, Health]]) -> Check:
    hits = _worst_list(health, "recompile_limit_hits")
    reason = "no frame reached the recompile limit"
    if hits:
        reason = f"{count(len(hits), 'frame')} reached the recompile limit and run eagerly: {_name(hits[0])}"
    return subject.holds("recompile-limit", not hits, reason, *_STAGES, figure=len(hits), limit=0)


def _graph_breaks(subject: Subject, health: list[tuple[str, Health]]) -> Check:
    breaks, limit = _worst_list(health, "graph_breaks"), subject.rules.health.graph_breaks
    reason = count(len(breaks), "graph break") + (f", the first: {_name(breaks[0])}" if breaks else "")
    holds = len(breaks) <= limit
    return subject.holds("graph-breaks", holds, reason, *_STAGES, figure=len(breaks), limit=limit)


def _eager_frames(subject: Subject, health: list[tuple[str, Health]]) -> Check:
    frames, limit = _worst_list(health, "eager_frames"), subject.rules.health.eager_frames
    reason = "no frame silently ran in eager mode"
    if frames:
        reason = f"{count(len(frames), 'frame')} silently ran in eager mode, the first: {_name(frames[0])}"
    holds = len(frames) <= limit
    return subject.holds("eager-frames", holds, reason, *_STAGES, figure=len(frames), limit=limit)


def _cold_cache(subject: Subject, compiled: list[Any]) -> Check:
    files = max(result.cache_files_before for result in compiled)
    reason = "the cold compile began with an empty cache"
    if files:
        reason = f"the cache held {count(files, 'file')} before the cold compile, so it was not cold"
    return subject.holds("cold-cache", files == 0, reason, "compile", figure=files, limit=0)


def _warm_cache(subject: Subject, compiled: list[Any], predicted: list[Any]) -> Check:
    """No process compiles what the compile stage did: by the counters of its lookups, and by its first call's time.

    A probe may compile what only it runs, so it must find as much in the cache as forecasting does.
    """
    budget = subject.rules.health.warm_start_share
    started = [*predicted, *subject.found.results("time")]
    hits = sum(_hits(result.health) for result in started)
    misses = sum(result.health.cache.fx_misses + result.health.cache.aot_misses for result in started)
    needed = min(_hits(result.health) for result in predicted)
    probed = [_hits(probe.health) for probe in subject.found.results("probe")]
    cold = max(result.cold_seconds for result in compiled)
    share = max(result.first_call_seconds for result in started) / cold if cold > 0 else float("inf")
    reason = f"{count(hits, 'cache hit')} and {misses} missed"
    holds = hits > 0 and misses == 0
    trials = [t for record in subject.found.records.values() for t in record.document.trials if t.attempts]
    if not holds:
        reason += ": the shipped cache does not spare compilation"
        reason += f"; memory ran out, and another batch compiles anew: {trials[0].reduced}" if trials else ""
    elif probed and min(probed) < needed:
        holds, reason = False, f"probe found {min(probed)} of {needed} in the cache, and compiled the others again"
    elif share > budget:
        holds, reason = False, f"{reason}, but a first call took {share:.0%} of the cold compile, to be {budget:.0%}"
    else:
        reason += f" at the warm starts; the slowest first call took {share:.0%} of the cold compile"
    return subject.holds("warm-cache", holds, reason, "compile", "predict", "time", figure=misses, limit=0)


def _hits(health: Health) -> int:
    return health.cache.fx_hits + health.cache.aot_hits


def _cuda_graphs(subject: Subject, health: list[Health]) -> Check:
    graphs = [entry.cuda_graphs for entry in health]
    skips = [str(skip.get("reason", "")) for entry in graphs for skip in entry.skips]
    skipped = f"; skipped: {skips[0][:200]}" if skips else ""
    if not any(entry.available for entry in graphs):
        return subject.check("cuda-graphs", "not-measured", "this device has no CUDA graphs", "predict")
    if any(entry.engaged is False for entry in graphs):
        return subject.check("cuda-graphs", "fail", f"no CUDA graph was recorded{skipped}", "predict")
    if any(entry.engaged is None for entry in graphs):
        return subject.check("cuda-graphs", "inconclusive", f"nothing shows CUDA graphs ran{skipped}", "predict")
    fewest = min(entry.recordings for entry in graphs)
    reason = f"CUDA graphs ran in every process{skipped}"
    return subject.check("cuda-graphs", "pass", reason, "predict", figure=fewest, limit=1)


def _autotuning(subject: Subject, health: list[Health]) -> Check:
    tuned = [entry.autotuning for entry in health]
    if any(entry.engaged is None for entry in tuned):
        reason = "the graphs came from a cache: nothing shows what was tuned"
        return subject.check("autotuning", "inconclusive", reason, "compile")
    operations = min(entry.operations for entry in tuned)
    holds = all(entry.engaged for entry in tuned)
    reason = f"{count(operations, 'operation')} tuned" if holds else "max-autotune tuned nothing: it is default here"
    return subject.holds("autotuning", holds, reason, "compile", figure=operations, limit=1)
