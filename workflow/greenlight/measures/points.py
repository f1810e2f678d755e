"""The point forecast that absolute errors (MAE, MAPE, MASE) are of: median, mean, or trimmed mean.

Written `median`, `mean`, or `trimmed-mean 0.1`: without that share of the paths, or of the distribution, at each end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

MEDIAN, MEAN, TRIMMED = "median", "mean", "trimmed-mean"
COLUMN = "point"


def point_words(point: str) -> str:
    """What a point forecast is called: `median`, `mean`, `mean without 10% at each end`."""
    kind, _, trim = point.partition(" ")
    return f"mean without {float(trim):.0%} at each end" if kind == TRIMMED else kind


def trimmed_mean(values: np.ndarray, trim: float, levels: Sequence[float] = ()) -> np.ndarray:
    """Mean over the last axis without a share at each end: [...] float64.

    Args:
        values: [..., samples] sample paths, of which the whole ones within that share are left out; or
            [..., levels] quantiles, of which the distribution is taken that is linear between them and ends at the
            outermost.
        trim: the share, below 0.5.
        levels: of the quantiles; empty for sample paths.
    """
    values = np.asarray(values, dtype=np.float64)
    if not levels:
        cut = int(trim * values.shape[-1])
        mean: np.ndarray = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
        return mean
    known = np.asarray(levels, dtype=np.float64)
    grid = np.unique(np.r_[trim, known[(known > trim) & (known < 1 - trim)], 1 - trim])
    # What each quantile adds at each place of the grid, and what each place weighs by the trapezoid rule.
    shares = np.stack([np.interp(grid, known, row) for row in np.eye(len(known))], axis=1)
    widths = np.diff(grid)
    weights = (np.r_[widths, 0.0] + np.r_[0.0, widths]) / 2 / (1 - 2 * trim)
    found: np.ndarray = values @ (weights @ shares)
    return found


def point_of(paths: np.ndarray, point: str) -> np.ndarray:
    """The point forecast of sample paths over the last axis: [..., samples] to [...] float64."""
    kind, _, trim = point.partition(" ")
    if kind == TRIMMED:
        return trimmed_mean(paths, float(trim))
    found: np.ndarray = np.median(paths, axis=-1) if kind == MEDIAN else paths.mean(axis=-1)
    return found


def with_point(forecasts: pa.Table, point: str, levels: Sequence[float] = ()) -> pa.Table:
    """A table of forecasts with its point forecast in the column `point`."""
    kind, _, trim = point.partition(" ")
    if kind != TRIMMED:
        return forecasts.append_column(COLUMN, forecasts.column("q50" if kind == MEDIAN else "mean"))
    drawn = forecasts.column("samples").combine_chunks()
    values = drawn.flatten().to_numpy(zero_copy_only=False).reshape(len(forecasts), -1)
    return forecasts.append_column(COLUMN, pa.array(trimmed_mean(values, float(trim), levels)))
