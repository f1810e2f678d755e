"""Interleaved latency pairs in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from greenlight.statistics.sequential import slow_of

PAIRS_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("process", pa.int32(), nullable=False),
        pa.field("pair", pa.int32(), nullable=False),
        pa.field("order", pa.string(), nullable=False),
        pa.field("reference_seconds", pa.float64(), nullable=False),
        pa.field("variant_seconds", pa.float64(), nullable=False),
        pa.field("control", pa.bool_(), nullable=False),
    ]
)

# Calls take as long as others whose median is at most so many times theirs.
AS_LONG = 1.25


@dataclass(frozen=True)
class Pair:
    """One call of the reference and one of the variant, in seconds.

    A control pair is reference and reference. Where it has the number of another pair of its process, the first of its
    calls is that pair's own call of the reference (see `calls_of_reference`).
    """

    pair: int
    order: str
    reference_seconds: float
    variant_seconds: float
    control: bool


def interleaved_pairs(
    reference: Callable[[int], Any],
    variant: Callable[[int], Any],
    *,
    pairs: int,
    control_pairs: int,
    seed: int,
    first: int = 0,
    after_pair: Callable[[bool, Any, Any], None] = lambda control, own, other: None,
) -> list[dict[str, Any]]:
    """Time two calls in turn, with the order within each pair and the places of control pairs drawn at random.

    Calls must return only when their work is done; they return a plain array, whose values are read within their time
    (TypeError for anything else: an object could compute when it is looked at). Interleaving
    keeps drift of the machine out of the ratios (Kalibera and Jones, arXiv 2007.10899; facts in the docs).

    A control pair costs one call, not two: a further one of the reference beside that of a pair, on the side away from
    the variant (V R R, or R R V). Pairs and control pairs are judged each at a rate of their own, which add up whether
    or not they share calls. Control pairs beyond the number of pairs have two calls of their own.

    Args:
        reference, variant: get a number, the same for both arms of a pair and else none that was given before, so that
            a remembered answer is not taken for a fast one.
        first: number of the first pair.
        after_pair: gets whether it is a control pair, and what its second arm and the reference returned; outside the
            timed part.
    """
    random = np.random.default_rng([seed, first])
    beside = min(pairs, control_pairs)
    kinds = random.permutation(["pair"] * (pairs - beside) + ["beside"] * beside + ["alone"] * (control_pairs - beside))
    further = first + len(kinds)
    measured: list[Pair] = []
    for number, kind in enumerate(kinds, start=first):
        second_first = bool(random.integers(2))
        calls = [(reference if kind == "alone" else variant, number), (reference, number)]
        if kind == "beside":
            calls.append((reference, further))
            further += 1
        timed = [timed_call(*one) for one in (calls if second_first else calls[::-1])]
        (seconds, output), (own, other), *more = timed if second_first else timed[::-1]
        order = ("reference-first", "variant-first")
        measured.append(Pair(number, order[second_first], own, seconds, kind == "alone"))
        after_pair(kind == "alone", output, other)
        for seconds, output in more:
            measured.append(Pair(number, order[not second_first], own, seconds, True))
            after_pair(True, output, other)
    return [asdict(pair) for pair in measured]


@dataclass(frozen=True)
class SlowCalls:
    """(slow calls, calls) of a variant and of what it is held against.

    Attributes:
        own: all of the variant's calls.
        held, beside: of them, those beside which others were made that took as long, and these others.
        others: whose these are, in words.
    """

    own: tuple[int, int]
    held: tuple[int, int]
    beside: tuple[int, int]
    others: str


def slow_calls(
    slow_call: float,
    alone: Mapping[str, Sequence[float]],
    process: np.ndarray,
    pair: np.ndarray,
    control: np.ndarray,
    reference: np.ndarray,
    variant: np.ndarray,
) -> SlowCalls:
    """How many calls were slow, in pairs and alone.

    On a machine that interrupts, a long call is beyond a multiple of its median less often than a short one: what
    interrupts it is a smaller part of it. So calls are held against the yardstick, which takes as long, and against
    those of the reference only where these do, too, or where there is no yardstick.

    Args:
        slow_call: a call is slow above so many medians of its part.
        alone: {"variant_seconds", "yardstick_seconds"} of `calls_until_slow` or `steady_calls`; may be empty.
        process, pair, control, reference, variant: as for `calls_of_reference`.
    """
    paired, eager = variant[~control], calls_of_reference(process, pair, control, reference, variant)
    own, other = slow_of(slow_call, paired), slow_of(slow_call, eager)
    single, beside = (np.asarray(alone.get(f"{name}_seconds", ())) for name in ("variant", "yardstick"))
    every = slow_of(slow_call, paired, single)
    if not len(beside):
        return SlowCalls(every, own, other, "the reference's")
    steady, yardstick = _slow_beside(slow_call, single, beside)
    medians = sorted((float(np.median(paired)), float(np.median(eager))))
    if medians[1] > AS_LONG * medians[0]:
        return SlowCalls(every, steady, yardstick, "the yardstick's")
    arms = zip(_slow_beside(slow_call, paired, eager), (steady, yardstick), strict=True)
    held, others = ((one[0] + two[0], one[1] + two[1]) for one, two in arms)
    return SlowCalls(every, held, others, "the reference's and the yardstick's")


def _slow_beside(slow_call: float, own: np.ndarray, other: np.ndarray) -> list[tuple[int, int]]:
    """(slow calls, calls) of two arms that take as long: above so many medians of the arm, or of both if that is more.

    Where others interrupt about half of the calls, an arm's own median falls to the one side or to the other by chance.
    """
    of_both = np.median(np.concatenate((own, other)))
    return [(int((arm > slow_call * max(np.median(arm), of_both)).sum()), len(arm)) for arm in (own, other)]


def calls_of_reference(
    process: np.ndarray, pair: np.ndarray, control: np.ndarray, reference: np.ndarray, variant: np.ndarray
) -> np.ndarray:
    """Seconds of each call of the reference, control pairs included; a call that two pairs share counts once.

    Args: [pairs] columns of `PAIRS_SCHEMA`, the last two being seconds.
    """
    measured = set(zip(process[~control].tolist(), pair[~control].tolist(), strict=True))
    keys = zip(process[control].tolist(), pair[control].tolist(), strict=True)
    alone = np.array([key not in measured for key in keys], dtype=bool)
    return np.concatenate([reference[~control], reference[control][alone], variant[control]])


def timed_call(call: Callable[[int], Any], number: int) -> tuple[float, Any]:
    """(seconds, output) of a call with a number; TypeError unless it returns a plain array."""
    started = time.perf_counter()
    output = call(number)
    if type(output) is not np.ndarray:
        raise TypeError(f"a timed call returned {type(output).__name__}, expected a plain numpy array")
    # Every value is read, so that whatever the call put off is done within its time.
    output.copy()
    return time.perf_counter() - started, output


def pairs_table(model: str, variant: str, processes: list[list[dict[str, Any]]]) -> pa.Table:
    """All raw pairs of all processes in PAIRS_SCHEMA."""
    rows = [
        {"model": model, "variant": variant, "process": number, **pair}
        for number, pairs in enumerate(processes)
        for pair in pairs
    ]
    return pa.Table.from_pylist(rows, schema=PAIRS_SCHEMA)
