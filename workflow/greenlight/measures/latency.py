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
    reference: Callable[[], Any],
    variant: Callable[[], Any],
    *,
    pairs: int,
    control_pairs: int,
    seed: int,
    after_pair: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Time two calls in turn, with the order within each pair and the place of control pairs drawn at random.

    Calls must return only when their work is done (forecasts come back as host arrays, so they do). Interleaving
    keeps drift of the machine out of the ratios (Kalibera and Jones, arXiv 2007.10899; facts in the docs).
    """
    random = np.random.default_rng(seed)
    controls = random.permutation([False] * pairs + [True] * control_pairs)
    measured = []
    for number, control in enumerate(controls):
        second = reference if control else variant
        if random.integers(2):
            variant_seconds, reference_seconds, order = _seconds(second), _seconds(reference), "variant-first"
        else:
            reference_seconds, variant_seconds, order = _seconds(reference), _seconds(second), "reference-first"
        measured.append(asdict(Pair(number, order, reference_seconds, variant_seconds, bool(control))))
        after_pair()
    return measured


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def pairs_table(model: str, variant: str, processes: list[list[dict[str, Any]]]) -> pa.Table:
    """All raw pairs of all processes in PAIRS_SCHEMA."""
    rows = [
        {"model": model, "variant": variant, "process": number, **pair}
        for number, pairs in enumerate(processes)
        for pair in pairs
    ]
    return pa.Table.from_pylist(rows, schema=PAIRS_SCHEMA)
