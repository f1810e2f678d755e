"""What tables and figures show of single symbols, windows and calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from greenlight.layout import Layout
from greenlight.report.reading import Reader

METRICS = ("mae", "mae_percent", "mase", "weighted_quantile_loss", "coverage_80", "naive_mae", "drift_mae")
LISTED = 10
CASES = 6
CONTEXT_ROWS = 48


@dataclass(frozen=True)
class SymbolScores:
    """Mean scores of one variant by symbol.

    Attributes:
        symbols: names, ascending.
        windows: [symbols] number of windows.
        values: by metric, [symbols]; NaN where a window has none (a MASE that is not defined is left out).
    """

    symbols: tuple[str, ...]
    windows: np.ndarray
    values: Mapping[str, np.ndarray]

    def column(self, metric: str, symbols: Sequence[str]) -> np.ndarray:
        """[symbols] values in the order of `symbols`, NaN where there is none."""
        place = {symbol: number for number, symbol in enumerate(self.symbols)}
        values = self.values[metric]
        return np.array([values[place[s]] if s in place else np.nan for s in symbols], dtype=float)


def symbol_scores(reader: Reader, path: Path) -> SymbolScores | None:
    """Means by symbol of a table of window scores; None where it can't be read or is empty."""
    table = reader.table(path, ["symbol", *METRICS])
    if table is None or table.num_rows == 0:
        return None
    names, code = np.unique(np.array(table.column("symbol").to_pylist()).astype(str), return_inverse=True)
    windows = np.bincount(code)
    values = {}
    for metric in METRICS:
        column = table.column(metric).to_numpy(zero_copy_only=False).astype(float)
        null = table.column(metric).is_null().to_numpy(zero_copy_only=False)
        counted = np.bincount(code, weights=~null)
        with np.errstate(invalid="ignore", divide="ignore"):
            values[metric] = np.bincount(code, weights=np.where(null, 0.0, column)) / counted
    return SymbolScores(tuple(names.tolist()), windows, values)


@dataclass(frozen=True)
class SymbolRow:
    """One symbol of one model: its variant's scores next to naive and drift forecasts and the compared variant."""

    symbol: str
    windows: int
    mae: float | None
    mae_percent: float | None
    mase: float | None
    coverage: float | None
    naive: float | None
    drift: float | None
    ratio: float | None


def symbol_rows(scores: SymbolScores, other: SymbolScores | None) -> list[SymbolRow]:
    """Rows of every symbol, the worst by MAE in percent of price first; `ratio` is MAE over that of `other`."""
    symbols, values = scores.symbols, scores.values
    with np.errstate(invalid="ignore", divide="ignore"):
        naive, drift = values["mae"] / values["naive_mae"], values["mae"] / values["drift_mae"]
        ratio = values["mae"] / other.column("mae", symbols) if other else np.full(len(symbols), np.nan)
    columns = (values["mae"], values["mae_percent"], values["mase"], values["coverage_80"], naive, drift, ratio)
    rows = [
        SymbolRow(symbol, int(scores.windows[i]), *(_known(column[i]) for column in columns))
        for i, symbol in enumerate(symbols)
    ]
    return sorted(rows, key=lambda row: (row.mae_percent is not None, -(row.mae_percent or 0), row.symbol))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def extremes(rows: Sequence[SymbolRow]) -> tuple[Sequence[SymbolRow], Sequence[SymbolRow]]:
    """(worst, best) of rows that have the worst first, at most LISTED each, none in both; a few are all `worst`."""
    if len(rows) <= LISTED:
        return rows, []
    best = rows[max(LISTED, len(rows) - LISTED) :]
    return rows[:LISTED], best[::-1]


def case_symbols(rows: Sequence[SymbolRow]) -> list[tuple[str, str]]:
    """(symbol, why) to draw forecasts of: all of a few, else the worst, the middle and the best."""
    known = (row for row in rows if row.mae_percent is not None)
    scored = sorted(known, key=lambda row: (-(row.mae_percent or 0.0), row.symbol))
    if len(scored) <= CASES:
        return [(row.symbol, "") for row in sorted(scored, key=lambda row: row.symbol)]
    middle = len(scored) // 2
    chosen = [(0, "worst"), (1, "worst"), (middle - 1, "middle"), (middle, "middle"), (-2, "best"), (-1, "best")]
    return [(scored[place].symbol, why) for place, why in chosen]


def forecast_windows(reader: Reader, path: Path) -> dict[int, dict[str, np.ndarray]]:
    """By number, the windows of a symbol's forecasts, in the order of steps; empty where it can't be read."""
    names = ["window", "step", "timestamp", "actual", "q10", "q50", "q90"]
    table = reader.table(path, names)
    if table is None or table.num_rows == 0:
        return {}
    columns = {name: table.column(name).to_numpy(zero_copy_only=False) for name in names}
    found = {}
    for window in np.unique(columns["window"]):
        rows = np.flatnonzero(columns["window"] == window)
        rows = rows[np.argsort(columns["step"][rows], kind="stable")]
        found[int(window)] = {name: values[rows] for name, values in columns.items()}
    return found


def forecast_arrays(reader: Reader, path: Path) -> dict[str, np.ndarray] | None:
    """The last window of a symbol's forecasts, in the order of steps; None where it can't be read or is empty."""
    windows = forecast_windows(reader, path)
    return windows[max(windows)] if windows else None


def context_arrays(
    reader: Reader, layout: Layout, symbol: str, before: np.datetime64, target: str
) -> tuple[np.ndarray, np.ndarray]:
    """(times, prices) of the last rows before a time, of the price that is forecast."""
    table = reader.table(layout.series(symbol), ["timestamp", target])
    if table is None:
        return np.array([], dtype="datetime64[ns]"), np.array([])
    times = table.column("timestamp").to_numpy().astype("datetime64[ns]")
    end = int(np.searchsorted(times, before))
    rows = slice(max(0, end - CONTEXT_ROWS), end)
    return times[rows], table.column(target).to_numpy()[rows]


def latency_arrays(reader: Reader, path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """([pairs] seconds of the variant, [pairs] of the reference) of all pairs that are not control pairs."""
    table = reader.table(path, ["variant_seconds", "reference_seconds", "control"])
    if table is None or table.num_rows == 0:
        return None
    measured = ~table.column("control").to_numpy(zero_copy_only=False).astype(bool)
    found = (table.column(name).to_numpy()[measured] for name in ("variant_seconds", "reference_seconds"))
    variant, reference = found
    good = np.isfinite(variant) & np.isfinite(reference) & (variant > 0) & (reference > 0)
    return (variant[good], reference[good]) if good.any() else None
