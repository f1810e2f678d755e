"""Compile health: what torch.compile really did, as one typed record.

No single source of Dynamo tells all graph breaks: a break inside a `for`, `try` or `with` body shows only as a
failed compilation of the frame, `if tensor:` only as a break reason, and some only in a counter. The record is the
union of all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pydantic import BaseModel

from greenlight.api import Forecaster
from greenlight.watch.observer import Attempt, Graph, Observer, Place, switched_off


class Frames(BaseModel):
    """Distinct frames by source line: seen by Dynamo, with compiled code, and run eagerly against the wish.

    A frame without tensor operations is seen, neither compiled nor eager. One past its recompile limit is both.
    """

    seen: int
    compiled: int
    eager: int


class Finding(BaseModel):
    """A place in the user's source, or a frame, and why it is listed."""

    file: str
    line: int
    function: str
    reason: str


class Recompile(BaseModel):
    """A frame that was compiled again, and the guard that failed."""

    function: str
    file: str
    line: int
    guard: str


class Seconds(BaseModel):
    """Seconds spent compiling; `total` is the sum of the three."""

    total: float
    dynamo: float
    aot_autograd: float
    inductor: float


class Cache(BaseModel):
    """Lookups in the FX graph cache and the AOTAutograd cache."""

    fx_hits: int
    fx_misses: int
    fx_bypasses: int
    aot_hits: int
    aot_misses: int
    aot_bypasses: int


class Autotuning(BaseModel):
    """Whether kernels were chosen by timing them; `engaged` is None where all graphs came from a cache."""

    engaged: bool | None
    operations: int
    benchmarks: int
    seconds: float


class CudaGraphs(BaseModel):
    """CUDA graphs by positive evidence, torch.compile's and those that engines record of what it compiled.

    `engaged` is None where none were asked for; `partitions` are torch.compile's.
    """

    available: bool
    requested: bool
    recordings: int
    replays: int | None
    partitions: int | None
    skips: list[dict[str, str]]
    engaged: bool | None


class HealthRecord(BaseModel):
    """What torch.compile did within one `HealthRecorder`.

    `recompiles_after_warm_up` counts recompiles after `end_of_warm_up`, and every frame that hit its recompile
    limit, whenever it did: such a frame runs eagerly for all that is new to it. `compilations_after_warm_up` also
    counts frames that were first met after it. Both are None when the end of warm-up was not marked.
    `calls` counts calls of graphs that Inductor compiled, and replays of CUDA graphs that engines record of them.
    `forecasts`, after warm-up: `calls`, how many of them were `idle` (no graph ran; `first_idle` from 1, else 0), and
    the `fewest` and `most` graphs that ran in one.
    """

    graphs: int
    frames: Frames
    eager_frames: list[Finding]
    graph_breaks: list[Finding]
    recompiles: list[Recompile]
    recompiles_after_warm_up: int | None
    compilations_after_warm_up: int | None
    recompile_limit_hits: list[Finding]
    compile_seconds: Seconds
    cache: Cache
    autotuning: Autotuning
    cuda_graphs: CudaGraphs
    calls: dict[str, int]
    forecasts: dict[str, int] | None = None
    engaged: bool
    notes: list[str]
    torch: str


class HealthRecorder:
    """Watches torch.compile within a `with` block.

        with HealthRecorder() as recorder:
            warm_up()
            recorder.end_of_warm_up()
            run()
        health = recorder.record()

    One at a time in a process; it sees what is compiled within the block, so it must be entered before the first
    call of compiled code. Its cost is a counter a call of a compiled graph.

    Args:
        waits: for the import of what compiles, which takes seconds, as where an eager variant is run.
    """

    def __init__(self, waits: bool = False) -> None:
        self._observer = Observer(waits=waits)
        self._warm: tuple[int, int] | None = None  # attempts and calls at the end of warm-up
        self._off = ""
        self._graphs_run: list[int] | None = None  # compiled graphs that ran in each forecast after warm-up

    def __enter__(self) -> HealthRecorder:
        self._observer.__enter__()
        self._off = switched_off()
        return self

    def __exit__(self, *exception: object) -> None:
        self._observer.__exit__(*exception)

    def end_of_warm_up(self, forecaster: Forecaster | None = None) -> None:
        """Mark that from here on nothing should be compiled any more.

        Args:
            forecaster: whose forecasts are counted from here on, each with the compiled graphs that ran in it. Code
                that gives up compiling later runs none, or fewer.
        """
        self._warm = (len(self._observer.attempts), self._observer.calls)
        if forecaster is not None:
            graphs: list[int] = []
            self._graphs_run = graphs
            forecaster.forecast = self._counted(forecaster.forecast, graphs)  # type: ignore[method-assign]

    def _counted(self, forecast: Callable[..., Any], graphs: list[int]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            before = self._observer.calls
            found = forecast(*arguments)
            graphs.append(self._observer.calls - before)
            return found

        return counted

    def record(self) -> dict[str, Any]:
        """The health record as a plain dict, see `HealthRecord`; within the block or after it."""
        seen = self._observer
        attempts = seen.attempts
        after = None if self._warm is None else attempts[self._warm[0] :]
        limit_hits = _limit_hits(attempts)
        eager = eager_frames(attempts)
        calls = {"total": seen.calls}
        if self._warm is not None:
            calls["after_warm_up"] = seen.calls - self._warm[1]
        record = HealthRecord(
            graphs=len(seen.graphs),
            frames=Frames(
                seen=len({one.place for one in attempts}),
                compiled=len({one.place for one in attempts if one.compiled and one.operations}),
                eager=len(eager),
            ),
            eager_frames=eager,
            graph_breaks=graph_breaks(seen),
            recompiles=[_recompile(one) for one in attempts if _is_recompile(one)],
            recompiles_after_warm_up=None if after is None else sum(map(_is_recompile, after)) + len(limit_hits),
            compilations_after_warm_up=None if after is None else len(after),
            recompile_limit_hits=limit_hits,
            compile_seconds=_seconds(attempts),
            cache=_cache(seen),
            autotuning=_autotuning(seen, attempts),
            cuda_graphs=_cuda_graphs(seen, attempts),
            calls=calls,
            forecasts=_forecasts(self._graphs_run),
            engaged=seen.calls > 0,
            notes=[self._off] if self._off else [],
            torch=torch.__version__,
        )
        return record.model_dump()


def _forecasts(run: list[int] | None) -> dict[str, int] | None:
    if run is None:
        return None
    first = next((number for number, graphs in enumerate(run, start=1) if graphs == 0), 0)
    bounds = {"fewest": min(run, default=0), "most": max(run, default=0)}
    return {"calls": len(run), "idle": run.count(0), "first_idle": first, **bounds}


def headline(text: str) -> str:
    """The first line of one of Dynamo's messages."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def one_line(text: str) -> str:
    """Headline and explanation of one of Dynamo's messages in one line of at most 500 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    first, rest = lines[0], lines[1:]
    explained = [line.removeprefix("Explanation:").strip() for line in rest if line.startswith("Explanation:")]
    if not explained and first.endswith(":"):  # "backend='inductor' raised:", and the error on the next line
        explained = rest[:1]
    return f"{first.removesuffix(':')}: {explained[0]}"[:500] if explained else first[:500]


# What Dynamo calls a branch on a tensor as a break reason, and what it calls it in its counter.
_BRANCH_REASON = "generic_jump"
_BRANCH_COUNTER = "Data-dependent branching"


def graph_breaks(seen: Observer) -> list[Finding]:
    """The union of break reasons, failed frames and counters, each break once."""
    found: dict[tuple[str, int, str], Finding] = {}
    for broken in seen.breaks:
        reason = one_line(broken.reason)
        if reason.startswith(_BRANCH_REASON):
            reason = f"{_BRANCH_COUNTER}: {reason}"
        key = (broken.place.file, broken.place.line, headline(broken.reason))
        found.setdefault(key, _finding(broken.place, reason))
    placed = {key[:2] for key in found}
    for one in seen.attempts:
        place = one.failure_place or one.place
        if _is_break(one) and (place.file, place.line) not in placed:
            key = (place.file, place.line, headline(one.failure))
            found.setdefault(key, _finding(place, one_line(one.failure)))
    told = {key[2] for key in found} | {headline(one.failure) for one in seen.attempts}
    if any(text.startswith(_BRANCH_REASON) for text in told):
        told.add(_BRANCH_COUNTER)
    for group in ("graph_break", "unimplemented"):
        for text in seen.counter(group):
            if headline(text) not in told:
                told.add(headline(text))
                found[("", 0, headline(text))] = _finding(Place("", 0, ""), one_line(text))
    return list(found.values())


def eager_frames(attempts: list[Attempt]) -> list[Finding]:
    """Frames that Dynamo gave up, so that they run in eager mode; those it leaves alone by design are not here."""
    found: dict[Place, Finding] = {}
    for one in attempts:
        if one.failure:
            found.setdefault(one.place, _finding(one.place, f"{one.failure_type}: {one_line(one.failure)}"))
    return list(found.values())


def _limit_hits(attempts: list[Attempt]) -> list[Finding]:
    found: dict[Place, Finding] = {}
    for one in attempts:
        if _is_limit_hit(one):
            reason = f"{one_line(one.failure)}; last guard: {headline(one.recompile_guard)}"
            found.setdefault(one.place, _finding(one.place, reason))
    return list(found.values())


def _is_limit_hit(one: Attempt) -> bool:
    text = one.failure.lower()
    return "recompile limit" in text or "recompile_limit" in text or "cache_size_limit" in text


def _is_break(one: Attempt) -> bool:
    """Whether Dynamo gave up for the user's code; a backend that fails is no graph break."""
    return one.failure_type in ("Unsupported", "UserError", "SkipFrame") and not _is_limit_hit(one)


def _is_recompile(one: Attempt) -> bool:
    return bool(one.recompile_guard) and not _is_limit_hit(one)


def _recompile(one: Attempt) -> Recompile:
    place = one.place
    # Dynamo pads the guard to a column before it quotes the source.
    guard = " ".join(headline(one.recompile_guard).split())[:500]
    return Recompile(function=_function(place), file=place.file, line=place.line, guard=guard)


def _finding(place: Place, reason: str) -> Finding:
    return Finding(file=place.file, line=place.line, function=_function(place), reason=reason)


def _function(place: Place) -> str:
    """The user's function, also for the part of it that Dynamo split off after a graph break."""
    match = re.fullmatch(r"torch_dynamo_resume_in_(.+)_at_\d+", place.function)
    return match[1] if match else place.function


def _seconds(attempts: list[Attempt]) -> Seconds:
    total = sum(one.dynamo_seconds for one in attempts)
    aot = sum(one.aot_seconds for one in attempts)
    inductor = sum(one.inductor_seconds for one in attempts)
    return Seconds(
        total=total,
        dynamo=max(0.0, total - aot),
        aot_autograd=max(0.0, aot - inductor),
        inductor=inductor,
    )


def _cache(seen: Observer) -> Cache:
    inductor, aot = seen.counter("inductor"), seen.counter("aot_autograd")
    return Cache(
        fx_hits=inductor.get("fxgraph_cache_hit", 0),
        fx_misses=inductor.get("fxgraph_cache_miss", 0),
        fx_bypasses=inductor.get("fxgraph_cache_bypass", 0),
        aot_hits=aot.get("autograd_cache_hit", 0),
        aot_misses=aot.get("autograd_cache_miss", 0),
        aot_bypasses=aot.get("autograd_cache_bypass", 0),
    )


def _autotuning(seen: Observer, attempts: list[Attempt]) -> Autotuning:
    counters = seen.counter("inductor")
    operations = counters.get("select_algorithm_autotune", 0)
    benchmarks = sum(
        count
        for name, count in counters.items()
        if name in ("coordesc_tuning_bench", "combo_autotune_bench") or name.startswith("benchmarking.")
    )
    cache = _cache(seen)
    from_cache = cache.fx_hits > 0 and cache.fx_misses + cache.fx_bypasses == 0
    engaged = operations + counters.get("coordesc_tuning_bench", 0) > 0
    return Autotuning(
        engaged=None if from_cache and not engaged else engaged,
        operations=operations,
        benchmarks=benchmarks,
        seconds=sum(one.autotune_seconds for one in attempts),
    )


def _cuda_graphs(seen: Observer, attempts: list[Attempt]) -> CudaGraphs:
    available = torch.cuda.is_available()
    requested = seen.own_cuda_graphs > 0 or any(one.cuda_graphs_requested for one in seen.graphs)
    reasons = [*seen.skips, *(one.skip_reason for one in attempts if one.skip_reason)]
    reasons += [_skip_reason(one) for one in seen.graphs if one.cuda_graphs_requested and not one.cuda_graphs_kept]
    counted = seen.counter("inductor").get("cudagraph_skips", 0)
    if counted and not reasons:
        reasons.append("torch counted a skip and gave no reason")
    return CudaGraphs(
        available=available,
        requested=requested,
        recordings=seen.recordings,
        replays=seen.replays if available else None,
        partitions=sum(one.partitions for one in seen.graphs) if requested else None,
        skips=[{"reason": one} for one in dict.fromkeys(_plain(reasons))],
        engaged=seen.recordings > 0 and seen.replays > 0 if requested else None,
    )


def _skip_reason(graph: Graph) -> str:
    """Why CUDA graphs were asked for and not kept; torch says nothing where there is no part to record."""
    if "cuda" not in graph.devices:
        return f"the graph runs on {', '.join(graph.devices) or 'no device'}: CUDA graphs need a CUDA device"
    if graph.skip_reason:
        return graph.skip_reason
    return "nothing in the graph can be recorded; torch skips it without a message"


def _plain(reasons: Iterable[str]) -> list[str]:
    """Each reason in one line, with the innermost line of the user's source where torch names the stack."""
    plain = []
    for one in reasons:
        text = headline(one).removeprefix("skipping cudagraphs due to ").removesuffix("Found from :").strip()
        places = re.findall(r'File "(.+)", line (\d+), in (\S+)', one)
        if places:
            file, line, function = places[-1]
            text = f"{text} At {file}:{line}, in {function}."
        plain.append(text[:500])
    return plain
