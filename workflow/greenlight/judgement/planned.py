"""What a job left against what was planned: quantities, windows, steps and calls, not any number of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from greenlight.judgement.call_records import CallResult
from greenlight.judgement.expected import Expected, ExpectedJob
from greenlight.judgement.probe_records import Draws, ProbeResult
from greenlight.judgement.records import PredictResult, TimeResult
from greenlight.measures.numerics import BEYOND, other_sizes


def unplanned_files(found: Collection[str], planned: Collection[str]) -> Iterator[str]:
    """Files that a record names and nobody planned, or the other way round, in words."""
    if absent := [name for name in planned if name not in found]:
        yield f"{len(planned) - len(absent)} of {len(planned)} files: {absent[0]} is not among them"
    if more := sorted(set(found) - set(planned)):
        yield f"{more[0]}, which nobody planned"


def unplanned_results(
    result: Any, asked: ExpectedJob, expected: Expected, variant: str, used: Mapping[str, int]
) -> Iterator[str]:
    """What of a trial's result is not as planned, in words.

    Args:
        result: as `call_records.RESULTS` has it; None for a trial that failed.
        used: windows in a call, by name, where memory allowed fewer than planned.
    """
    calls = {name: min(size, used.get(name, size)) for name, size in expected.calls.items()}
    match result:
        case PredictResult():
            windows = sum(expected.symbols[symbol].windows for symbol in asked.symbols)
            planned = -(-windows // calls["windows_per_call"])
            if len(result.memory_readings) != planned:
                yield f"it forecast in {len(result.memory_readings)} calls, expected {planned}"
        case ProbeResult():
            yield from _probe(result, asked, sorted(set(calls.values())))
            yield from _draws(result.draws, asked)
        case CallResult():
            yield from _calls(result)
        case TimeResult():
            if asked.warm_up_calls is not None and result.warm_up_calls != asked.warm_up_calls:
                yield f"it was warmed up by {result.warm_up_calls} calls, expected {asked.warm_up_calls}"
            timed = sum(load.pairs for load in result.load.during)
            if len(result.memory_readings) != timed:
                yield f"it read memory after {len(result.memory_readings)} of {timed} pairs"


def _probe(result: ProbeResult, asked: ExpectedJob, calls: list[int]) -> Iterator[str]:
    """Every quantity in every size of call, of the planned windows, with as many steps in each."""
    sizes: dict[int | None, list[str]] = {}
    steps: dict[str, int] = {}
    for quantity in result.quantities:
        name = quantity.quantity
        sizes.setdefault(None if name.endswith(BEYOND) else quantity.batch_size, []).append(name)
        if quantity.problem:
            continue
        if quantity.windows != asked.windows:
            yield f"{name} of {quantity.windows} windows, expected {asked.windows}"
        if quantity.steps != steps.setdefault(name, quantity.steps):
            yield f"{name} of {steps[name]} steps, and of {quantity.steps} with {quantity.batch_size} in a call"
    planned: set[int | None] = {*calls, *other_sizes(calls), *([None] if asked.beyond else [])}
    if set(sizes) != planned:
        words = [", ".join(str(size or BEYOND[2:]) for size in sorted(own, key=str)) for own in (sizes, planned)]
        yield f"it compared calls of {words[0]}, expected {words[1]}"
        return
    wanted = sizes[calls[0]]
    for size, names in sizes.items():
        own = [name.removesuffix(BEYOND) for name in names]
        if sorted(own) != sorted(set(wanted)):
            where = BEYOND[2:] if size is None else f"{size} in a call"
            yield f"it compared {', '.join(own)} with {where}, expected {', '.join(sorted(set(wanted)))}, each once"


def _calls(result: CallResult) -> Iterator[str]:
    """The same quantities in every shape, each of the first and the last windows of its call."""
    names = [sorted(quantity.quantity for quantity in shape.quantities) for shape in result.shapes]
    for shape, own in zip(result.shapes, names, strict=True):
        if own != sorted(set(names[0])):
            yield f"it compared {', '.join(own)} in {shape}, expected {', '.join(sorted(set(names[0])))}, each once"
        for quantity in shape.quantities:
            if not quantity.problem and (quantity.windows, quantity.batch_size) != (min(shape.batch, 4), shape.batch):
                yield f"{quantity.quantity} of {quantity.windows} windows in a call of {quantity.batch_size} in {shape}"


def _draws(draws: Draws | None, asked: ExpectedJob) -> Iterator[str]:
    if draws is None or not asked.replicates:
        if (draws is not None) != bool(asked.replicates):
            yield f"it drew {'no ' if draws is None else ''}paths beside the reference's, expected the opposite"
        return
    if len(set(draws.windows)) != len(draws.windows) or len(draws.windows) != asked.drawn_windows:
        yield f"it drew paths of {len(set(draws.windows))} windows, expected {asked.drawn_windows}"
    planned = asked.replicates << (draws.look - 1)
    if draws.replicates != planned:
        yield f"it drew {draws.replicates} replicates at look {draws.look}, expected {planned}"
