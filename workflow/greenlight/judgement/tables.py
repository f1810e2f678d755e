"""Reading the two tables that judgement needs, row by expected row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from greenlight.judgement.expected import ExpectedJob
from greenlight.measures.accuracy import METRICS
from greenlight.measures.returns import RETURN_METRICS
from greenlight.statistics.looks import look_of

_READ = (*METRICS, *RETURN_METRICS)
UNDEFINED = ("mase", *RETURN_METRICS)
"""Metrics that may be null: not defined for a window (a context that never moves), not the same as NaN. Those of
returns are null where models are given prices."""

_MAX_LISTED = 50


@dataclass(frozen=True)
class Scores:
    """Scores of one variant on the expected rows.

    Attributes:
        metrics: by name, [rows] float64 in the order of `Expected.rows()`; NaN where absent or undefined.
        complete: whether every expected row is there once and finite.
        absent: number of expected rows that are missing, doubled or not finite.
    """

    metrics: dict[str, np.ndarray]
    complete: bool
    absent: int


@dataclass(frozen=True)
class Pairs:
    """Latency pairs of one variant: [pairs] each, in the order in which they were measured within a process.

    control marks A/A pairs, in which both calls ran the reference. Seconds are finite and positive.
    """

    process: np.ndarray
    pair: np.ndarray
    control: np.ndarray
    reference_first: np.ndarray
    reference_seconds: np.ndarray
    variant_seconds: np.ndarray

    def select(self, control: bool) -> Pairs:
        """Only the A/A pairs, or only the others."""
        keep = self.control == control
        return Pairs(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


def _columns(path: Path, names: tuple[str, ...], numbers: tuple[str, ...]) -> dict[str, pa.ChunkedArray] | str:
    """Columns of a parquet file, or what is wrong with it."""
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (OSError, pa.ArrowException, ValueError) as error:
        return f"not readable as parquet ({str(error).splitlines()[0][:120]})"
    absent = [name for name in (*names, *numbers) if name not in table.column_names]
    if absent:
        return f"columns are missing: {', '.join(absent)}"
    for name in numbers:
        kind = table.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            return f"column {name} holds {kind}, expected numbers"
    for name in names:
        kind = table.schema.field(name).type
        text = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(text) or pa.types.is_large_string(text)):
            return f"column {name} holds {kind}, expected text"
    if table.num_rows == 0:
        return "the table has no rows"
    return {name: table.column(name) for name in (*names, *numbers)}


def _strangers(columns: dict[str, pa.ChunkedArray], model: str, variant: str) -> str | None:
    """What rows of another model or variant there are, if any."""
    for name, expected in (("model", model), ("variant", variant)):
        others = sorted({str(value) for value in columns[name].unique().to_pylist()} - {expected})
        if others:
            return f"rows of {name} {', '.join(others[:3])} in the table of {expected}"
    return None


def read_pairs(path: Path, model: str, variant: str, asked: ExpectedJob) -> tuple[Pairs | None, list[tuple[str, str]]]:
    """Latency pairs, and problems as (kind, message); None where the table can't be used at all."""
    numbers = ("process", "pair", "control", "reference_seconds", "variant_seconds")
    columns = _columns(path, ("model", "variant", "order"), numbers)
    if isinstance(columns, str):
        return None, [("schema" if "column" in columns else "unreadable", columns)]
    stranger = _strangers(columns, model, variant)
    if stranger is not None:
        return None, [("identity", stranger)]
    array = {name: columns[name].to_numpy(zero_copy_only=False) for name in numbers}
    seconds = np.stack([array["reference_seconds"], array["variant_seconds"]]).astype(float)
    counts = np.stack([array["process"], array["pair"], array["control"]]).astype(float)
    if not (np.isfinite(seconds).all() and (seconds > 0).all() and np.isfinite(counts).all()):
        return None, [("not-finite", "there are latencies or numbers of pairs that are not finite and positive")]
    order = np.array(columns["order"].to_pylist(), dtype=object)
    if not np.isin(order, ("reference-first", "variant-first")).all():
        return None, [("schema", "column order holds something else than reference-first and variant-first")]
    process, pair, control = counts.astype(np.int64)
    keys = np.stack([process, control, pair], axis=1)
    if len(np.unique(keys, axis=0)) < len(keys):
        return None, [("duplicate", "there are pairs that occur twice")]
    if len(np.unique(seconds, axis=1).T) < len(keys):
        return None, [("duplicate", "there are pairs whose seconds are those of another pair")]
    sort = np.lexsort((pair, control, process))
    pairs = Pairs(
        process[sort],
        pair[sort],
        control[sort].astype(bool),
        (order == "reference-first")[sort],
        seconds[0][sort],
        seconds[1][sort],
    )
    return pairs, _pair_counts(pairs, asked)


def _pair_counts(pairs: Pairs, asked: ExpectedJob) -> list[tuple[str, str]]:
    """Problems where a process, or some of its pairs, is missing, or there are more than any look has."""
    problems, looks = [], set()
    for process in range(asked.trials):
        for control, wanted in ((False, asked.pairs), (True, asked.control_pairs)):
            found = int(((pairs.process == process) & (pairs.control == control)).sum())
            look = look_of(found, wanted, asked.trials, asked.looks if process == asked.trials - 1 else 1)
            looks |= {look} if process == asked.trials - 1 else set()
            if look is None:
                kind = "missing" if found < wanted else "unexpected"
                name = "control pairs" if control else "pairs"
                problems.append((kind, f"process {process} has {found} of {wanted} {name}"))
    if len(looks - {None}) > 1:
        problems.append(("missing", "pairs and control pairs are not those of the same look"))
    strange = sorted(set(pairs.process.tolist()) - set(range(asked.trials)))
    if strange:
        problems.append(("unexpected", f"there are pairs of process {strange[0]}, of {asked.trials} processes"))
    return problems


def read_scores(
    path: Path, model: str, variant: str, rows: Sequence[tuple[str, int]], steps: int
) -> tuple[Scores | None, list[tuple[str, str, str | None, int | None]]]:
    """Scores on every expected row, and problems as (kind, message, symbol, window).

    Args:
        rows: the (symbol, window) that are expected, such as `Expected.rows()`; steps: their horizon.
    """
    columns = _columns(path, ("model", "variant", "symbol"), ("window", "horizon", *_READ))
    if isinstance(columns, str):
        return None, [("schema" if "column" in columns else "unreadable", columns, None, None)]
    stranger = _strangers(columns, model, variant)
    if stranger is not None:
        return None, [("identity", stranger, None, None)]
    place = {row: number for number, row in enumerate(rows)}
    found = list(zip(columns["symbol"].to_pylist(), columns["window"].to_pylist(), strict=True))
    row = np.array([place.get(key, -1) for key in found])
    problems: list[tuple[str, str, str | None, int | None]] = []
    if (row < 0).any():
        symbol, window = found[int(np.argmax(row < 0))]
        problems.append(("unexpected", f"{int((row < 0).sum())} rows that nothing asked for", symbol, window))
    counts = np.bincount(row[row >= 0], minlength=len(place))
    horizon = columns["horizon"].to_numpy(zero_copy_only=False).astype(float)
    if (horizon != steps).any():
        problems.append(("schema", f"rows whose horizon is not {steps}", None, None))
    metrics = {name: np.full(len(place), np.nan) for name in _READ}
    bad = counts != 1
    for name in _READ:
        metrics[name][row[row >= 0]] = columns[name].to_numpy(zero_copy_only=False).astype(float)[row >= 0]
        broken = ~np.isfinite(metrics[name])
        if name in UNDEFINED:
            null = np.zeros(len(place), dtype=bool)
            null[row[row >= 0]] = columns[name].is_null().to_numpy(zero_copy_only=False)[row >= 0]
            broken &= ~null
        bad |= broken
    for metric in metrics.values():
        metric[bad] = np.nan
    problems += _row_problems(list(place), counts, bad)
    return Scores(metrics, not problems, int(bad.sum())), problems


def _row_problems(
    rows: list[tuple[str, int]], counts: np.ndarray, bad: np.ndarray
) -> list[tuple[str, str, str | None, int | None]]:
    """A problem for each expected row that is not there once and finite, the first fifty by name."""
    problems: list[tuple[str, str, str | None, int | None]] = []
    for number in np.flatnonzero(bad)[:_MAX_LISTED]:
        symbol, window = rows[number]
        if counts[number] == 0:
            problems.append(("missing", f"{symbol}/{window} has no score", symbol, window))
        elif counts[number] > 1:
            problems.append(("duplicate", f"{symbol}/{window} occurs {counts[number]} times", symbol, window))
        else:
            problems.append(("not-finite", f"{symbol}/{window} has a score that is not finite", symbol, window))
    if bad.sum() > _MAX_LISTED:
        problems.append(("missing", f"and {int(bad.sum()) - _MAX_LISTED} more rows", None, None))
    return problems
