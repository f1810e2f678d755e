"""A canonical series as it lies on disk, read into arrays; without pandas, so that trials and judging start faster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from greenlight.data.windows import FEATURES
from greenlight.files import read_parquet

SCHEMA = pa.schema(
    [pa.field("timestamp", pa.timestamp("ns"), nullable=False)]
    + [pa.field(name, pa.float64(), nullable=name == "volume") for name in FEATURES]
)


def load_series(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a canonical series and check it: what `cut_windows` takes.

    Returns:
        timestamps [rows] datetime64[ns], values [rows, 5] float64 as in FEATURES; unknown volume is NaN.

    Raises:
        ValueError: not parquet, truncated, of another schema, empty, times not ascending, or a price that is
            not a positive number. It names the file.
        FileNotFoundError: there is no such file.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        table = read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not readable as parquet ({error}); remove it and run again") from error
    if not table.schema.remove_metadata().equals(SCHEMA):
        found = ", ".join(f"{field.name}: {field.type}" for field in table.schema)
        raise ValueError(f"{path}: not a canonical series; its columns are {found}; remove it and run again")
    times = table.column("timestamp").to_numpy()
    values = np.stack([table.column(name).to_numpy() for name in FEATURES], axis=1)
    problem = _problem(times, values)
    if problem:
        raise ValueError(f"{path}: not a canonical series; {problem}; remove it and run again")
    return times, values


def _problem(times: np.ndarray, values: np.ndarray) -> str | None:
    if not len(times):
        return "it has no rows"
    if np.isnat(times).any() or not (np.diff(times) > np.timedelta64(0)).all():
        return "its times are not ascending and unique"
    prices = values[:, :4]
    if not (np.isfinite(prices) & (prices > 0)).all():
        return "a price is not a positive number"
    volume = values[:, 4]
    return "a volume is negative or infinite" if ((volume < 0) | np.isinf(volume)).any() else None
