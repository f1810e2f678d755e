"""A canonical series as read from a price file, with what was found in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from greenlight.data.gaps import Frequency
from greenlight.data.repair import Finding
from greenlight.data.stored import SCHEMA
from greenlight.data.windows import FEATURES
from greenlight.files import write_parquet


@dataclass(frozen=True)
class Series:
    """The prices of one symbol as read from its file.

    Attributes:
        frame: timestamp (datetime64[ns], UTC without zone, ascending, unique), open, high, low, close, volume
            (float64; volume NaN where unknown, prices never).
        findings: what was found in the file and what was done about it.
        columns: the file's name of each canonical column; None where it has none.
        frequency: how often there are rows.
        source: name of the file.
        source_sha256: SHA-256 of the file's bytes.
    """

    frame: pd.DataFrame
    findings: tuple[Finding, ...]
    columns: dict[str, str | None]
    frequency: Frequency
    source: str
    source_sha256: str


def series_arrays(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What `cut_windows` takes: timestamps [rows] datetime64[ns], values [rows, 5] float64 as in FEATURES."""
    values = frame[list(FEATURES)].to_numpy(dtype=np.float64)
    return frame["timestamp"].to_numpy().astype("datetime64[ns]"), values


def series_report(series: Series) -> dict[str, Any]:
    """The data report of a symbol as plain JSON: rows, times, frequency, columns, findings, source."""
    times = series.frame["timestamp"]
    return {
        "source": series.source,
        "source_sha256": series.source_sha256,
        "rows": len(series.frame),
        "first": _iso(times.iloc[0]),
        "last": _iso(times.iloc[-1]),
        "frequency": series.frequency.as_dict(),
        "columns": series.columns,
        "volume_known": bool(series.frame["volume"].notna().any()),
        "first_close": float(series.frame["close"].iloc[0]),
        "last_close": float(series.frame["close"].iloc[-1]),
        "findings": [finding.as_dict() for finding in series.findings],
    }


def _iso(time: pd.Timestamp) -> str:
    return time.isoformat(timespec="auto") + "Z"


def write_series(path: Path, series: Series) -> None:
    """Write a series atomically as parquet with the canonical schema; its metadata has the source's hash."""
    table = pa.Table.from_pandas(series.frame, schema=SCHEMA, preserve_index=False)
    write_parquet(path, table.replace_schema_metadata({"source_sha256": series.source_sha256}), durable=False)
