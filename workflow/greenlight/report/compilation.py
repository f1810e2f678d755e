"""What compiling did, variant by variant: the places behind the counts, and whether CUDA graphs could engage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from greenlight.report.reading import at, number

LISTED = 8
_EVENTS = {
    "graph_breaks": "graph break",
    "eager_frames": "runs eagerly",
    "recompiles": "recompile",
    "recompile_limit_hits": "recompile limit",
}


@dataclass(frozen=True)
class Compilation:
    """One compiled variant.

    Attributes:
        seconds: of compiling, as (part, seconds): total, Dynamo, AOTAutograd, Inductor.
        cache: lookups of the warm start in words, such as `2 hits, 0 misses`.
        tuning: whether kernels were chosen by timing them, in words; empty where that is not known.
        places: graph breaks, eager frames, recompiles and recompile limits, a line each; more: how many are not listed.
        predicted: whether CUDA graphs could engage, from the graphs compiled here; obstacles: what forbids or splits.
        found: what CUDA graphs did in the run, in words; empty where the device has none.
        changes: what of torch the implementation changes or goes round, a sentence each.
        trace: tlparse's pages of the kept trace, relative to the results folder; trace_note: why there are none.
    """

    model: str
    variant: str
    seconds: tuple[tuple[str, float], ...]
    cache: str
    tuning: str
    places: tuple[str, ...]
    more: int
    predicted: str
    obstacles: tuple[str, ...]
    found: str
    changes: tuple[str, ...]
    trace: str
    trace_note: str


def compilations(
    compiled: Mapping[tuple[str, str], dict[str, Any]],
    predicted: Mapping[tuple[str, str], dict[str, Any]],
    traces: Mapping[tuple[str, str], dict[str, Any]],
) -> Iterator[Compilation]:
    """One entry for each variant that was compiled.

    Args:
        compiled, predicted: by (model, variant), the result of the compile trial and of the first predict trial.
        traces: by the same, what the compile record says of its kept trace; {} where none was kept.
    """
    for (model, variant), result in compiled.items():
        health = at(result, "health", kind=dict, default={})
        readiness = at(result, "readiness", kind=dict) or at(health, "readiness", kind=dict)
        if not at(health, "graphs", kind=int) and readiness is None and not at(health, "engaged"):
            continue
        warm = at(predicted.get((model, variant), {}), "health", kind=dict, default={})
        places = list(_places(health))
        parts = (("total", "total"), ("Dynamo", "dynamo"), ("AOTAutograd", "aot_autograd"), ("Inductor", "inductor"))
        seconds = [(name, number(health, "compile_seconds", key)) for name, key in parts]
        yield Compilation(
            model=model,
            variant=variant,
            seconds=tuple((name, value) for name, value in seconds if value is not None),
            cache=_cache(at(warm, "cache", kind=dict, default={})),
            tuning=_tuning(variant, at(health, "autotuning", kind=dict, default={})),
            places=tuple(places[:LISTED]),
            more=max(0, len(places) - LISTED),
            predicted=_predicted(readiness or {}),
            obstacles=tuple(_obstacles(readiness or {})),
            found=_cuda_graphs(at(warm, "cuda_graphs", kind=dict, default={})),
            changes=tuple(str(text) for text in at(result, "changes", kind=dict, default={}).values()),
            trace=at(traces.get((model, variant)), "pages", kind=str, default=""),
            trace_note=at(traces.get((model, variant)), "note", kind=str, default=""),
        )


def _places(health: Mapping[str, Any]) -> Iterator[str]:
    for key, word in _EVENTS.items():
        for event in at(health, key, kind=list, default=[]):
            cause = at(event, "reason", kind=str) or at(event, "guard", kind=str, default="")
            yield f"{word} at {_place(event)}: {cause or 'no reason given'}"


def _place(event: Any) -> str:
    where = f"{at(event, 'file', default='?')}:{at(event, 'line', default='?')}"
    function = at(event, "function", kind=str)
    return f"{where} in {function}" if function else where


def _cache(cache: Mapping[str, Any]) -> str:
    if not cache:
        return ""
    hits, misses = (
        sum(at(cache, f"{kind}_{what}", kind=int, default=0) for kind in ("fx", "aot")) for what in ("hits", "misses")
    )
    return f"{hits} hits, {misses} misses"


def _tuning(variant: str, tuning: Mapping[str, Any]) -> str:
    """Said where it was asked for or done."""
    if at(tuning, "engaged") is True:
        return f"{at(tuning, 'benchmarks', default='some')} kernels timed in {number(tuning, 'seconds') or 0:.1f} s"
    if at(tuning, "engaged") is False and variant.endswith("-max-autotune"):
        return "no kernel was chosen by timing"
    return ""


def _predicted(readiness: Mapping[str, Any]) -> str:
    if at(readiness, "ready") is None:
        note = at(readiness, "note", kind=str)
        return f"not known: {note}" if note else "not known"
    return "nothing stands in their way" if readiness["ready"] else "they can't engage as a whole"


def _obstacles(readiness: Mapping[str, Any]) -> Iterator[str]:
    for node in at(readiness, "nodes", kind=list, default=[])[:LISTED]:
        yield f"{at(node, 'operation', default='?')} at {_place(node)}: {at(node, 'reason', default='')}"
    for entry in at(readiness, "mutated_inputs", kind=list, default=[])[:LISTED]:
        yield f"mutated input {at(entry, 'name', default='?')} at {_place(entry)}"
    if at(readiness, "ready") is False and (note := at(readiness, "note", kind=str)):
        yield note


def _cuda_graphs(graphs: Mapping[str, Any]) -> str:
    if at(graphs, "available") is not True:
        return ""
    skips = [str(at(skip, "reason", default="")) for skip in at(graphs, "skips", kind=list, default=[])]
    counts = f"{at(graphs, 'recordings', default=0)} recorded"
    if at(graphs, "replays", kind=int) is not None:
        counts += f", {graphs['replays']} replayed"
    return "; ".join([counts, *(f"skipped: {reason}" for reason in skips[:3])])
