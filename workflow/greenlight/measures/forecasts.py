"""Forecast tables: their schema, and whether sampled paths can be a forecast at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from greenlight.data.windows import CLOSE, Window

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
    ]
)


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
) -> pa.Table:
    """Summarise sampled paths as rows, one a window and step; no windows give a table of no rows.

    Args:
        windows: the windows of one symbol.
        samples: for each window [samples, horizon] float64, in the symbol's own unit.
        provenance: kept as JSON in the schema's metadata under `greenlight`.

    Returns:
        FORECAST_SCHEMA; step 1 is the first row after the context; `mean` and the quantiles are over samples.
    """
    metadata = {b"greenlight": json.dumps(provenance, sort_keys=True).encode()}
    schema = FORECAST_SCHEMA.with_metadata(metadata)
    if not windows:
        return schema.empty_table()
    steps = [window.horizon for window in windows]
    paths = np.concatenate([np.asarray(s, dtype=np.float64) for s in samples], axis=1)
    quantiles = np.quantile(paths, QUANTILES, axis=0)
    columns: dict[str, Any] = {
        "model": [model] * sum(steps),
        "variant": [variant] * sum(steps),
        "symbol": np.repeat([window.symbol for window in windows], steps).tolist(),
        "window": np.repeat(np.array([window.index for window in windows], dtype=np.int32), steps),
        "step": np.concatenate([np.arange(1, n + 1, dtype=np.int32) for n in steps]),
        "timestamp": np.concatenate([w.timestamps[w.context_length :] for w in windows]).astype("datetime64[ns]"),
        "actual": np.concatenate([window.target for window in windows]),
        "mean": paths.mean(axis=0),
        **dict(zip(QUANTILE_COLUMNS, quantiles, strict=True)),
    }
    return pa.table(columns, schema=schema)


def problem_with(samples: np.ndarray, windows: Sequence[Window], count: int) -> str:
    """Why sampled paths can't be a forecast, in words; empty where they can.

    Args:
        samples: what a forecaster returned for `windows`.
        count: sample paths that were asked for.

    Found are a wrong shape or number format, values that are not finite, all values equal although the contexts are
    not, and sample paths that are all the same although the context varies (one draw used for every sample).
    """
    expected = (len(windows), count, windows[0].horizon)
    if np.shape(samples) != expected:
        return f"the forecast has the shape {np.shape(samples)}, expected {expected} (windows, samples, horizon)"
    if np.asarray(samples).dtype != np.float64:
        return f"the forecast is {np.asarray(samples).dtype}, expected float64"
    finite = np.isfinite(samples)
    if not finite.all():
        window, _, step = (int(i) for i in np.argwhere(~finite)[0])
        return (
            f"{int((~finite).sum())} of {finite.size} forecast values are NaN or infinite, "
            f"first at window {windows[window].key}, step {step + 1}"
        )
    varied = [i for i, window in enumerate(windows) if np.ptp(window.context[:, CLOSE]) > 0]
    if varied and np.ptp(samples[varied]) == 0:
        return f"every forecast value is {samples[varied[0], 0, 0]:g}"
    same = [windows[i].key for i in varied if count > 1 and np.ptp(samples[i], axis=0).max() == 0]
    if same:
        return f"all {count} sample paths are equal in {len(same)} of {len(windows)} windows, first {same[0]}"
    return ""
