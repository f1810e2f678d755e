"""Forecast accuracy: scores of each window, and their averages with intervals.

Definitions follow Hyndman and Koehler (2006) for MASE and GluonTS (gluonts.evaluation, and fev after it)
for the weighted quantile loss. The point forecast of the absolute errors (MAE, MAPE, MASE) is what production makes
of a forecast (`measures.points`), by default the median of the samples, which is what minimises them; that of
RMSE is their mean. Nothing here knows of models or of the judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from greenlight.measures.forecasts import QUANTILE_COLUMNS, QUANTILES
from greenlight.measures.points import COLUMN
from greenlight.measures.returns import RETURN_METRICS

METRICS = (
    "mae", "mae_percent", "mape", "rmse", "mase", "weighted_quantile_loss", "coverage_80", "naive_mae", "drift_mae",
    "mean_price",
)  # fmt: skip
SCORES_SCHEMA = pa.schema(
    [("model", pa.string()), ("variant", pa.string()), ("symbol", pa.string())]
    + [("window", pa.int32()), ("horizon", pa.int32())]
    + [(metric, pa.float64()) for metric in (*METRICS, *RETURN_METRICS)]
)
"""Metrics of returns are null where no model was given returns."""
RATIOS = ("mae_over_naive", "mae_over_drift")
RESAMPLES = 1000
_MAE, _MASE = METRICS.index("mae"), METRICS.index("mase")


@dataclass(frozen=True)
class WindowContext:
    """What the naive forecasts and MASE need of a window's context, in the symbol's own unit.

    Attributes:
        last: last price of the context, the naive forecast of every step.
        drift: mean change a row over the context; the drift forecast of step k is last + k * drift.
        naive_scale: mean absolute change a row, MASE's denominator; 0 where the price never moves.
    """

    last: float
    drift: float
    naive_scale: float


def window_context(prices: np.ndarray) -> WindowContext:
    """Context figures of [context length] prices; ValueError with fewer than two."""
    prices = np.asarray(prices, dtype=np.float64)
    if len(prices) < 2:
        raise ValueError(f"a context needs at least two prices, found {len(prices)}")
    drift = (prices[-1] - prices[0]) / (len(prices) - 1)
    return WindowContext(float(prices[-1]), float(drift), float(np.abs(np.diff(prices)).mean()))


def score_windows(
    forecasts: pa.Table, contexts: Mapping[tuple[str, int], WindowContext], horizon: int
) -> tuple[pa.Table, list[str]]:
    """Score every window of one variant's forecasts.

    Args:
        forecasts: columns model, variant, symbol, window, step, actual, mean, point, q10 ... q90, and of returns those
            of `measures.returns`; any order of rows.
        contexts: by (symbol, window).
        horizon: steps that each window must have, 1..horizon, each once.

    Returns:
        A table of SCORES_SCHEMA, one row a window, by symbol and window; and what is wrong, a sentence each.
        A window with a step missing or doubled, a value that is not finite, or no context has NaN
        scores. MASE is null, not NaN, where the context never moves: it is not defined there.

        mae: mean |actual - point|; mae_percent: 100 mae / mean price; mape: 100 mean |error| / |actual|;
        rmse: of the mean forecast; mase: mae / naive_scale;
        weighted_quantile_loss: mean over levels q of 2 sum_t (q - [actual < f_q]) (actual - f_q) /
        sum_t |actual|; coverage_80: share of steps with q10 <= actual <= q90; mean_price: mean
        |actual|.
    """
    model, variant = _single(forecasts, "model"), _single(forecasts, "variant")
    symbol = np.asarray(forecasts.column("symbol").to_pylist(), dtype=object)
    names, code = np.unique(symbol.astype(str), return_inverse=True)
    window = forecasts.column("window").to_numpy().astype(np.int64)
    step = forecasts.column("step").to_numpy().astype(np.int64)
    order = np.lexsort((step, window, code))
    code, window, step = code[order], window[order], step[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(code) != 0) | (np.diff(window) != 0)])
    lengths = np.diff(np.r_[starts, len(code)])
    keys = [(str(names[code[start]]), int(window[start])) for start in starts]
    whole = _whole(step, starts, lengths, horizon)
    of_returns = [name for name, column in RETURN_METRICS.items() if column in forecasts.column_names]
    metrics = {name: np.full(len(keys), np.nan) for name in (*METRICS, *of_returns)}
    if whole.any():
        rows = order[starts[whole][:, None] + np.arange(horizon)]
        for name in of_returns:
            metrics[name][whole] = forecasts.column(RETURN_METRICS[name]).to_numpy()[rows].mean(axis=1)
        known = [contexts.get(key) for key, good in zip(keys, whole, strict=True) if good]
        for name, values in _score(forecasts, rows, known).items():
            metrics[name][whole] = values
    problems = _problems(keys, whole, metrics["mae"], contexts, horizon)
    undefined = np.array([key in contexts and contexts[key].naive_scale == 0 for key in keys], dtype=bool)
    columns: dict[str, Any] = {"model": [model] * len(keys), "variant": [variant] * len(keys)}
    columns |= {"symbol": [key[0] for key in keys], "window": [key[1] for key in keys]}
    columns |= {"horizon": [horizon] * len(keys)}
    for name in METRICS:
        mask = undefined & np.isfinite(metrics["mae"]) if name == "mase" else None
        columns[name] = pa.array(metrics[name], mask=mask, from_pandas=False)
    for name in RETURN_METRICS:
        columns[name] = pa.array(metrics[name]) if name in metrics else pa.nulls(len(keys), pa.float64())
    return pa.table(columns, schema=SCORES_SCHEMA), problems


def _single(forecasts: pa.Table, column: str) -> str:
    found = forecasts.column(column).unique().to_pylist()
    if len(found) != 1:
        raise ValueError(f"forecasts of one {column} are scored at a time, found {found[:5]}")
    return str(found[0])


def _whole(step: np.ndarray, starts: np.ndarray, lengths: np.ndarray, horizon: int) -> np.ndarray:
    """[windows] whether a window has the steps 1..horizon, each once."""
    whole: np.ndarray = lengths == horizon
    steps = step[starts[whole][:, None] + np.arange(horizon)]
    whole[whole] = (steps == np.arange(1, horizon + 1)).all(axis=1)
    return whole


def _score(forecasts: pa.Table, rows: np.ndarray, contexts: list[WindowContext | None]) -> dict[str, np.ndarray]:
    """Metrics of [windows, horizon] rows; NaN where anything of a window is not finite or there is no
    context.
    """

    def column(name: str) -> np.ndarray:
        values: np.ndarray = forecasts.column(name).to_numpy(zero_copy_only=False).astype(np.float64)[rows]
        return values

    blank = WindowContext(np.nan, np.nan, np.nan)
    last, drift, scale = np.array(
        [(found.last, found.drift, found.naive_scale) for found in (entry or blank for entry in contexts)]
    ).T
    actual, mean = column("actual"), column("mean")
    quantiles = np.stack([column(name) for name in QUANTILE_COLUMNS])
    point = column(COLUMN)
    error = np.abs(actual - point)
    steps = np.arange(1, rows.shape[1] + 1)
    levels = np.array(QUANTILES)[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        total = np.abs(actual).sum(axis=1)
        pinball = (levels - (actual < quantiles)) * (actual - quantiles)
        scores = {
            "mae": error.mean(axis=1),
            "mae_percent": 100 * error.sum(axis=1) / total,
            "mape": 100 * (error / np.abs(actual)).mean(axis=1),
            "rmse": np.sqrt(np.square(actual - mean).mean(axis=1)),
            "mase": error.mean(axis=1) / scale,
            "weighted_quantile_loss": (2 * pinball.sum(axis=2) / total).mean(axis=0),
            "coverage_80": ((quantiles[0] <= actual) & (actual <= quantiles[-1])).mean(axis=1),
            "naive_mae": np.abs(actual - last[:, None]).mean(axis=1),
            "drift_mae": np.abs(actual - last[:, None] - drift[:, None] * steps).mean(axis=1),
            "mean_price": total / rows.shape[1],
        }
    finite = np.isfinite(actual).all(axis=1) & np.isfinite(mean).all(axis=1)
    finite &= np.isfinite(point).all(axis=1)
    finite &= np.isfinite(quantiles).all(axis=(0, 2)) & np.isfinite(last + drift + scale)
    return {name: np.where(finite, values, np.nan) for name, values in scores.items()}


def _problems(
    keys: list[tuple[str, int]],
    whole: np.ndarray,
    mae: np.ndarray,
    contexts: Mapping[tuple[str, int], WindowContext],
    horizon: int,
) -> list[str]:
    problems = []
    for key, good, value in zip(keys, whole, mae, strict=True):
        name = f"{key[0]}/{key[1]}"
        if not good:
            problems.append(f"{name} does not have the steps 1 to {horizon}, each once")
        elif key not in contexts:
            problems.append(f"{name} has no context: the data has no such window")
        elif not np.isfinite(value):
            problems.append(f"{name} has forecasts or outcomes that are not finite")
    return problems


def summarise(
    metrics: Mapping[str, np.ndarray],
    symbols: np.ndarray,
    *,
    rate: float = 0.025,
    seed: int = 0,
    each_symbol: bool = True,
) -> dict[str, Any]:
    """Averages of window scores, each symbol and in all, with bootstrap intervals.

    Args:
        metrics: by name, [windows]; NaN marks a window that has no score, and its averages are NaN: nothing is
            averaged away. Only an undefined MASE (NaN where `mae` is finite) is left out, and counted.
        symbols: [windows] names.
        rate: probability in each tail of the percentile intervals.
        seed: of the resampling; the same seed gives the same intervals.
        each_symbol: whether the symbols get their own averages.

    Returns:
        {"overall": {metric: {"value", "lower", "upper"}, "mae_over_naive": {...}, "mae_over_drift": {...}},
         "symbols": {symbol: {metric: {...}}}, "counts": {"symbols", "windows", "unscored", "undefined_mase"}}
        A symbol's value is the mean of its windows (resampled windows); the overall value is the mean of the
        symbols' values (resampled symbols), so that each symbol weighs the same. The ratios to the naive
        forecasts are geometric means over symbols of the ratio of their mean errors.
    """
    names, code, sizes = np.unique(np.asarray(symbols).astype(str), return_inverse=True, return_counts=True)
    table = np.stack([np.asarray(metrics[name], dtype=np.float64) for name in METRICS], axis=1)
    unscored = ~np.isfinite(table[:, _MAE])
    undefined = ~np.isfinite(table[:, _MASE]) & ~unscored
    order = np.argsort(code, kind="stable")
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    means = _means(table[order], undefined[order], starts, sizes)
    # A symbol that neither moves nor is missed has the ratio 1, not 0/0.
    tiny = 1e-9 * means[:, METRICS.index("mean_price")]
    others = (means[:, METRICS.index(name)] for name in ("naive_mae", "drift_mae"))
    ratios = [np.log((means[:, _MAE] + tiny) / (other + tiny)) for other in others]
    overall = _intervals(np.column_stack([means, *ratios])[None], rate, seed, (*METRICS, *RATIOS))[0]
    for name in RATIOS:
        overall[name] = {key: float(np.exp(value)) for key, value in overall[name].items()}
    counts = {"symbols": len(names), "windows": len(table)}
    counts |= {"unscored": int(unscored.sum()), "undefined_mase": int(undefined.sum())}
    summary: dict[str, Any] = {"overall": overall, "symbols": {}, "counts": counts}
    for size in np.unique(sizes) if each_symbol else ():
        alike = np.flatnonzero(sizes == size)
        blocks = table[order][starts[alike][:, None] + np.arange(size)]
        found = _intervals(blocks, rate, seed, METRICS)
        summary["symbols"] |= {str(names[number]): entry for number, entry in zip(alike, found, strict=True)}
    return summary


def _means(table: np.ndarray, undefined: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """[symbols, metrics] means of windows sorted by symbol; an undefined MASE is left out, other NaN are kept."""
    filled = table.copy()
    filled[undefined, _MASE] = 0.0
    means: np.ndarray = np.add.reduceat(filled, starts) / sizes[:, None]
    defined = sizes - np.add.reduceat(undefined.astype(np.int64), starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        means[:, _MASE] = np.where(defined > 0, means[:, _MASE] * sizes / defined, np.nan)
    return means


def _intervals(blocks: np.ndarray, rate: float, seed: int, names: tuple[str, ...]) -> list[dict[str, dict[str, float]]]:
    """Mean and percentile bootstrap interval of [groups, units, columns] over units, by group and column.

    All groups share the resampled units. There is no interval from one unit.
    """
    count = blocks.shape[1]
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)
    keep = np.ones(blocks.shape)
    keep[..., _MASE] = np.isfinite(blocks[..., _MASE])
    # An undefined MASE weighs nothing; where the window has no score at all, its MAE is NaN and so is this.
    filled = np.where(keep > 0, blocks, np.where(np.isnan(blocks[..., _MAE]), np.nan, 0.0)[..., None])
    with np.errstate(divide="ignore", invalid="ignore"):
        values = filled.sum(axis=1) / keep.sum(axis=1)
        resampled = np.einsum("ru,guc->rgc", draws, filled, optimize=True)
        resampled[..., _MASE] *= count / (draws @ keep[..., _MASE].T)
    resampled = np.where(np.isfinite(values), resampled / count, 0.0)
    # Only resamples in which no MASE is defined are left out; where there are none, the plain function is faster.
    quantile = np.nanquantile if np.isnan(resampled).any() else np.quantile
    bounds = quantile(resampled, [rate, 1 - rate], axis=0)
    bounds = np.where(np.isfinite(values) & (count > 1), bounds, np.nan)
    keys = ("value", "lower", "upper")
    return [
        {name: dict(zip(keys, map(float, column), strict=True)) for name, column in zip(names, group, strict=True)}
        for group in np.stack([values, *bounds], axis=-1)
    ]
