"""Interleaved latency pairs in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

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


@dataclass(frozen=True)
class Pair:
    """One call of the reference and one of the variant, in seconds; a control pair is reference and reference."""

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
    after_pair: Callable[[Any], None] = lambda output: None,
) -> list[dict[str, Any]]:
    """Time two calls in turn, with the order within each pair and the place of control pairs drawn at random.

    Calls must return only when their work is done; they return a plain array, whose values are read within their time
    (TypeError for anything else: an object could compute when it is looked at). Interleaving
    keeps drift of the machine out of the ratios (Kalibera and Jones, arXiv 2007.10899; facts in the docs).

    Args:
        reference, variant: get the number of their pair, so that no pair asks for what an earlier one was given and
            a remembered answer is not taken for a fast one.
        first: number of the first pair.
        after_pair: gets what the second arm of the pair returned; outside the timed part.
    """
    random = np.random.default_rng([seed, first])
    controls = random.permutation([False] * pairs + [True] * control_pairs)
    measured = []
    for number, control in enumerate(controls, start=first):
        second = reference if control else variant
        variant_first = bool(random.integers(2))
        calls = (second, reference) if variant_first else (reference, second)
        timed = [timed_call(call, number) for call in calls]
        (variant_seconds, output), (reference_seconds, _) = timed if variant_first else timed[::-1]
        order = "variant-first" if variant_first else "reference-first"
        measured.append(asdict(Pair(number, order, reference_seconds, variant_seconds, bool(control))))
        after_pair(output)
    return measured


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
