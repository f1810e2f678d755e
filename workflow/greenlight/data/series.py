"""A canonical series as read from a price file, with what was found in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from greenlight.data.gaps import Frequency
from greenlight.data.repair import Finding
from greenlight.data.stored import SCHEMA, Prices
from greenlight.data.windows import FEATURES
from greenlight.files import write_parquet


@dataclass(frozen=True)
class Series:
    """The prices of one symbol as read from its file.

    Attributes:
        frame: timestamp (datetime64[ns], UTC without zone, ascending, unique; as written where the zone is unknown),
            open, high, low, close, volume, amount (float64; volume and amount NaN where unknown, prices never), wall
            (datetime64[ns], the clock that the file has) and offset (float64, seconds that it is ahead of UTC; NaN
            where the zone is unknown).
        findings: what was found in the file and what was done about it.
        columns: the file's name of each canonical column; None where it has none.
        frequency: how often there are rows.
        source: name of the file.
        source_sha256: SHA-256 of the file's bytes.
        timezone: in words: a name, an offset, several, UTC or `unknown`.
        ignored: the file's names of the columns that were not used.
    """

    frame: pd.DataFrame
    findings: tuple[Finding, ...]
    columns: dict[str, str | None]
    frequency: Frequency
    source: str
    source_sha256: str
    timezone: str = "unknown"
    ignored: tuple[str, ...] = ()


def series_arrays(frame: pd.DataFrame) -> Prices:
    """What `cut_windows` takes."""
    times, wall = (frame[name].to_numpy().astype("datetime64[ns]") for name in ("timestamp", "wall"))
    values, amount = (frame[names].to_numpy(dtype=np.float64) for names in (list(FEATURES), "amount"))
    return Prices(times, values, wall, amount)


def series_report(series: Series) -> dict[str, Any]:
    """The data report of a symbol as plain JSON: rows, times, frequency, columns, findings, source."""
    times, zone = series.frame["timestamp"], "Z" if series.frame["offset"].notna().all() else ""
    return {
        "source": series.source,
        "source_sha256": series.source_sha256,
        "rows": len(series.frame),
        "first": _iso(times.iloc[0]) + zone,
        "last": _iso(times.iloc[-1]) + zone,
        "timezone": series.timezone,
        "frequency": asdict(series.frequency),
        "columns": series.columns,
        "ignored": list(series.ignored),
        "volume_known": bool(series.frame["volume"].notna().any()),
        "amount_known": bool(series.frame["amount"].notna().any()),
        "first_close": float(series.frame["close"].iloc[0]),
        "last_close": float(series.frame["close"].iloc[-1]),
        "findings": [asdict(finding) for finding in series.findings],
    }


def _iso(time: pd.Timestamp) -> str:
    return time.isoformat(timespec="auto")


def write_series(path: Path, series: Series) -> None:
    """Write a series atomically as parquet with the canonical schema; its metadata has the source's hash."""
    frame = series.frame.rename(columns={"offset": "offset_seconds"})
    table = pa.Table.from_pandas(frame, schema=SCHEMA, preserve_index=False)
    write_parquet(path, table.replace_schema_metadata({"source_sha256": series.source_sha256}), durable=False)
