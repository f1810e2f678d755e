"""Forecast tables: their schema, and whether sampled paths can be a forecast at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from greenlight.data.windows import Window

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
QUANTILE_COLUMNS = tuple(f"q{round(100 * level)}" for level in QUANTILES)
FORECAST_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("window", pa.int32(), nullable=False),
        pa.field("step", pa.int32(), nullable=False),
        pa.field("timestamp", pa.timestamp("ns"), nullable=False),
        pa.field("actual", pa.float64(), nullable=False),
        pa.field("mean", pa.float64(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in QUANTILE_COLUMNS),
        pa.field("samples", pa.list_(pa.float32()), nullable=False),
    ]
)
"""A row a window and step. `samples` holds the value of each sample path, the first path first, so that paths can be
followed from step to step."""


def paths_hash(samples: Iterable[np.ndarray]) -> str:
    """SHA-256 over the bits of sampled paths, one window's [samples, horizon] after the other."""
    digest = hashlib.sha256()
    for paths in samples:
        digest.update(np.ascontiguousarray(paths).tobytes())
    return digest.hexdigest()


def forecast_table(
    model: str,
    variant: str,
    windows: Sequence[Window],
    samples: Sequence[np.ndarray],
    provenance: dict[str, Any],
    levels: Sequence[float] = (),
) -> pa.Table:
    """Summarise sampled paths or quantiles as rows, one a window and step; no windows give a table of no rows.

    Args:
        windows: the windows of one symbol.
        samples: for each window [samples or levels, horizon] float64, in the symbol's own unit.
        provenance: kept as JSON in the schema's metadata under `greenlight`.
        levels: of the quantiles; empty for sample paths.

    Returns:
        FORECAST_SCHEMA; step 1 is the first row after the context; `mean` and the quantiles are over samples. Of
        quantiles the mean is that of the distribution that is linear between them and ends at the outermost.
    """
    metadata = {b"greenlight": json.dumps(provenance, sort_keys=True).encode()}
    schema = FORECAST_SCHEMA.with_metadata(metadata)
    if not windows:
        return schema.empty_table()
    steps = [window.horizon for window in windows]
    paths = np.concatenate([np.asarray(s, dtype=np.float64) for s in samples], axis=1)
    if levels:
        quantiles, mean = paths[[list(levels).index(level) for level in QUANTILES]], _weights(levels) @ paths
    else:
        quantiles, mean = np.quantile(paths, QUANTILES, axis=0), paths.mean(axis=0)
    columns: dict[str, Any] = {
        "model": [model] * sum(steps),
        "variant": [variant] * sum(steps),
        "symbol": np.repeat([window.symbol for window in windows], steps).tolist(),
        "window": np.repeat(np.array([window.index for window in windows], dtype=np.int32), steps),
        "step": np.concatenate([np.arange(1, n + 1, dtype=np.int32) for n in steps]),
        "timestamp": np.concatenate([w.timestamps[w.context_length :] for w in windows]).astype("datetime64[ns]"),
        "actual": np.concatenate([window.target for window in windows]),
        "mean": mean,
        **dict(zip(QUANTILE_COLUMNS, quantiles, strict=True)),
        "samples": pa.FixedSizeListArray.from_arrays(pa.array(paths.T.astype(np.float32).ravel()), len(paths)).cast(
            pa.list_(pa.float32())
        ),
    }
    return pa.table(columns, schema=schema)


def _weights(levels: Sequence[float]) -> np.ndarray:
    """Share of each quantile in the mean: half of what lies between it and its neighbours, all of it at the ends."""
    inner = np.diff(np.asarray(levels)) / 2
    weights: np.ndarray = np.r_[inner, 0.0] + np.r_[0.0, inner]
    weights[0] += levels[0]
    weights[-1] += 1 - levels[-1]
    return weights


def problem_with(
    samples: np.ndarray,
    windows: Sequence[Window],
    count: int,
    levels: Sequence[float] = (),
    crossing: bool = False,
) -> str:
    """Why sampled paths or quantiles can't be a forecast, in words; empty where they can.

    Args:
        samples: what a forecaster returned for `windows`.
        count: sample paths that were asked for.
        levels: of the quantiles; empty for sample paths.
        crossing: whether quantiles may cross at single steps.

    Found are a wrong shape or number format, values that are not finite, all values equal although the contexts are
    not, sample paths that are all the same although the context varies (one draw used for every sample), and quantiles
    that cross: any that do, or where that may be, a window whose first decile is above its last one on average.
    """
    rows = "levels" if levels else "samples"
    count = len(levels) or count
    expected = (len(windows), count, windows[0].horizon)
    if type(samples) is not np.ndarray:
        return f"the forecast is {type(samples).__name__}, expected a plain numpy array"
    if np.shape(samples) != expected:
        return f"the forecast has the shape {np.shape(samples)}, expected {expected} (windows, {rows}, horizon)"
    if np.asarray(samples).dtype != np.float64:
        return f"the forecast is {np.asarray(samples).dtype}, expected float64"
    finite = np.isfinite(samples)
    if not finite.all():
        window, _, step = (int(i) for i in np.argwhere(~finite)[0])
        return (
            f"{int((~finite).sum())} of {finite.size} forecast values are NaN or infinite, "
            f"first at window {windows[window].key}, step {step + 1}"
        )
    varied = [i for i, window in enumerate(windows) if len(window.known) and np.ptp(window.known) > 0]
    if varied and np.ptp(samples[varied]) == 0:
        return f"every forecast value is {samples[varied[0], 0, 0]:g}"
    same = [windows[i].key for i in varied if count > 1 and np.ptp(samples[i], axis=0).max() == 0]
    if same:
        what = "quantiles" if levels else "sample paths"
        return f"all {count} {what} are equal in {len(same)} of {len(windows)} windows, first {same[0]}"
    if levels and crossing:
        low, high = (list(levels).index(level) for level in (QUANTILES[0], QUANTILES[-1]))
        turned = np.flatnonzero((samples[:, high] - samples[:, low]).mean(axis=-1) < 0)
        return f"window {windows[turned[0]].key}: its quantiles descend" if turned.size else ""
    if levels and (crossed := np.argwhere(np.diff(samples, axis=1) < 0)).size:
        window, level, step = (int(i) for i in crossed[0])
        return (
            f"quantiles cross at {len(crossed)} places, first at window {windows[window].key}, step {step + 1}: "
            f"that of {levels[level]:g} is above that of {levels[level + 1]:g}"
        )
    return ""
