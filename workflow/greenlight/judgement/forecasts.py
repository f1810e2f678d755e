"""Reading forecasts, cell by expected cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from greenlight.judgement.drawn_windows import WindowDifferences, compare_windows
from greenlight.judgement.expected import Expected
from greenlight.measures.forecasts import QUANTILE_COLUMNS, QUANTILES
from greenlight.measures.paths import PathDifferences, compare_paths
from greenlight.measures.points import COLUMN, MEAN, MEDIAN, trimmed_mean

VALUES = ("actual", "mean", *QUANTILE_COLUMNS)
_NAMES = ("model", "variant", "symbol")
_COLUMNS = (*_NAMES, "window", "step", *VALUES, "samples")
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in _NAMES]
    + [(name, pa.int32()) for name in ("window", "step")]
    + [(name, pa.float64()) for name in VALUES]
    + [("samples", pa.list_(pa.float32()))]
)

_STORED = 1e-6

Problem = tuple[str, str, str | None, int | None]
"""(kind, message, symbol, window), see `judgement.evidence.Problem`."""


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of one variant on the expected rows.

    Attributes:
        values: by name, [rows, horizon] float64 in the order of `Expected.rows()`; NaN where absent. The point forecast
            is `point`.
        whole: [rows] bool, whether every step of a row is there once and finite.
        paths: [rows, samples, horizon] float32, the sample paths, or [rows, levels, horizon] of quantiles; NaN where
            absent. Only until they have been compared.
    """

    values: Mapping[str, np.ndarray]
    whole: np.ndarray
    paths: np.ndarray | None = None

    def mae(self) -> np.ndarray:
        """[rows] mean absolute error of the point forecast."""
        errors: np.ndarray = np.abs(self.values["actual"] - self.values[COLUMN]).mean(axis=1)
        return errors

    def paths_against(self, other: Forecasts) -> PathDifferences | None:
        """Differences of the sample paths from another's; None where either is not whole."""
        if self.paths is None or other.paths is None or not (self.whole.all() and other.whole.all()):
            return None
        width = np.abs(other.values["q90"] - other.values["q10"]).mean(axis=1)
        price = np.abs(other.values["actual"]).mean(axis=1)
        return compare_paths(self.paths, other.paths, width, price)

    def windows_against(self, other: Forecasts) -> WindowDifferences | None:
        """How the sample paths are drawn beside another's of other random numbers; None where either is not whole."""
        if self.paths is None or other.paths is None or not (self.whole.all() and other.whole.all()):
            return None
        return compare_windows(self.paths, other.paths)


def read_forecasts(
    files: Mapping[str, Path], model: str, variant: str, expected: Expected
) -> tuple[Forecasts, list[Problem]]:
    """Forecasts from one file a symbol, and what is wrong with them.

    Args:
        files: by symbol; a symbol without a file has no cells, which is for the caller to report.
    """
    tables: dict[str, pa.Table] = {}
    problems: list[Problem] = []
    for symbol, path in files.items():
        table = _read(path)
        if isinstance(table, str):
            problems.append(("schema" if "column" in table else "unreadable", table, symbol, None))
        else:
            tables[symbol] = table
    rows, horizon = expected.rows(), expected.horizon
    values = {name: np.full((len(rows), horizon), np.nan) for name in VALUES}
    levels = expected.models[model].levels
    samples = np.full((len(rows), horizon, len(levels) or expected.samples), np.nan, dtype=np.float32)
    counts = np.zeros(len(rows) * horizon, dtype=np.int64)
    if tables:
        problems += _fill(tables, model, variant, expected, values, samples, counts)
    cells = counts.reshape(len(rows), horizon)
    finite: np.ndarray = np.all([np.isfinite(array).all(axis=1) for array in values.values()], axis=0)
    ladder = np.stack([values[name] for name in QUANTILE_COLUMNS])
    crossed: np.ndarray = np.any(ladder[:-1] > ladder[1:], axis=(0, 2)) & (not expected.models[model].crossing)
    paths = samples.transpose(0, 2, 1)
    strange = _other_samples(paths, values, levels)
    whole = finite & (cells == 1).all(axis=1) & ~crossed & ~strange
    for number in np.flatnonzero(~whole):
        symbol, window = rows[number]
        if symbol not in tables:
            continue
        kind, what = "not-finite", "has forecasts or outcomes that are not finite"
        if (cells[number] > 1).any():
            kind, what = "duplicate", "has steps that occur twice"
        elif (cells[number] < 1).any():
            kind, what = "missing", f"has {int((cells[number] > 0).sum())} of {horizon} steps"
        elif crossed[number]:
            kind, what = "schema", "has quantiles that cross"
        elif finite[number] and strange[number]:
            kind, what = "schema", "has a mean and quantiles that are not those of its sample paths"
        problems.append((kind, f"{symbol}/{window} {what}", symbol, window))
    values[COLUMN] = _points(expected.point, values, samples, levels)
    for array in (*values.values(), samples):
        array[~whole] = np.nan
    return Forecasts(values, whole, paths), problems


def _points(
    point: str, values: Mapping[str, np.ndarray], samples: np.ndarray, levels: Sequence[float]
) -> np.ndarray:  # fmt: skip
    """[rows, horizon] the point forecast, of samples or quantiles [rows, horizon, number]."""
    if point in (MEDIAN, MEAN):
        return values["q50" if point == MEDIAN else "mean"].copy()
    return trimmed_mean(samples, float(point.partition(" ")[2]), levels)


def _other_samples(paths: np.ndarray, values: Mapping[str, np.ndarray], levels: Sequence[float]) -> np.ndarray:
    """[rows] whether a quantile, or the mean of sample paths, is not that of what was forecast.

    Args:
        paths: [rows, samples or levels, horizon].
        levels: of the quantiles; empty for sample paths.
    """
    if levels:
        found = paths[:, [levels.index(level) for level in QUANTILES]].transpose(1, 0, 2)
        stated = np.stack([values[name] for name in QUANTILE_COLUMNS])
    else:
        found = np.stack([paths.mean(axis=1, dtype=np.float64), *np.quantile(paths, QUANTILES, axis=1)])
        stated = np.stack([values[name] for name in ("mean", *QUANTILE_COLUMNS)])
    # What was forecast is stored in float32, and a mean is off by the rounding of its largest value.
    size = np.abs(paths).max(axis=1, initial=0.0)
    strange: np.ndarray = ~(np.abs(found - stated) <= _STORED * size).all(axis=(0, 2))
    return strange


def _read(path: Path) -> pa.Table | str:
    """The columns of a file that judgement needs, or what is wrong with it."""
    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(path.read_bytes()))
        names = file.schema_arrow.names
        absent = [name for name in _COLUMNS if name not in names]
        if absent:
            return f"columns are missing: {', '.join(absent)}"
        table = file.read(columns=list(_COLUMNS), use_threads=False).select(_COLUMNS).replace_schema_metadata()
        return table if table.schema.equals(_SCHEMA) else table.cast(_SCHEMA)
    except (OSError, pa.ArrowException, ValueError) as error:
        text = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        return f"not readable as a forecast table ({text})"


def _fill(
    tables: Mapping[str, pa.Table],
    model: str,
    variant: str,
    expected: Expected,
    values: Mapping[str, np.ndarray],
    samples: np.ndarray,
    counts: np.ndarray,
) -> list[Problem]:
    """Put every row of the tables into its cell; rows that belong to no cell are problems."""
    table = pa.concat_tables(tables.values())
    owner = np.repeat(np.arange(len(tables)), [len(own) for own in tables.values()])
    symbols = list(tables)
    known = np.ones(len(table), dtype=bool)
    wanted = pa.array(symbols).take(pa.array(owner))
    for name, own in (("model", model), ("variant", variant), ("symbol", wanted)):
        same = pc.fill_null(pc.equal(table.column(name), own), False)
        known &= same.to_numpy(zero_copy_only=False)
    window, step = (pc.fill_null(table.column(name), -1).to_numpy(zero_copy_only=False) for name in ("window", "step"))
    first, start = {}, 0
    for symbol, entry in expected.symbols.items():
        first[symbol] = (start, entry.windows)
        start += entry.windows
    begin, many = np.array([first[symbol] for symbol in symbols]).T
    known &= (window >= 0) & (window < many[owner]) & (step >= 1) & (step <= expected.horizon)
    place = ((begin[owner] + window) * expected.horizon + step - 1)[known]
    np.add.at(counts, place, 1)
    for name, array in values.items():
        array.reshape(-1)[place] = table.column(name).to_numpy(zero_copy_only=False)[known]
    drawn = table.column("samples").combine_chunks()
    problems: list[Problem] = []
    lengths = pc.fill_null(pc.list_value_length(drawn), -1).to_numpy(zero_copy_only=False)
    if (lengths == samples.shape[-1]).all():
        rows = drawn.flatten().to_numpy(zero_copy_only=False).reshape(len(table), samples.shape[-1])
        samples.reshape(-1, samples.shape[-1])[place] = rows[known]
    for number in np.unique(owner[lengths != samples.shape[-1]]):
        found = lengths[(owner == number) & (lengths != samples.shape[-1])][0]
        what = f"{symbols[number]} has {max(0, found)} sample paths or levels in a row, expected {samples.shape[-1]}"
        problems.append(("schema", what, symbols[number], None))
    for number in np.unique(owner[~known]):
        many_bad = int((~known & (owner == number)).sum())
        what = f"{many_bad} rows are not of {model}, {variant}, {symbols[number]}, its expected windows and steps"
        problems.append(("identity", what, symbols[number], None))
    return problems
