"""A canonical series as it lies on disk, read into arrays; without pandas, so that trials and judging start faster."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from greenlight.data.windows import FEATURES
from greenlight.files import read_parquet

SCHEMA = pa.schema(
    [pa.field("timestamp", pa.timestamp("ns"), nullable=False)]
    + [pa.field(name, pa.float64(), nullable=name == "volume") for name in FEATURES]
    + [
        pa.field("amount", pa.float64()),
        pa.field("wall", pa.timestamp("ns"), nullable=False),
        pa.field("offset_seconds", pa.float64()),
    ]
)


class Prices(NamedTuple):
    """A canonical series as arrays.

    Attributes:
        timestamps: [rows] datetime64[ns], the instants in UTC, ascending.
        values: [rows, 5] float64 as in FEATURES; unknown volume is NaN.
        wall: [rows] datetime64[ns], the clock that the file has, for models with a calendar.
        amount: [rows] float64, money that was turned over; NaN where unknown.
    """

    timestamps: np.ndarray
    values: np.ndarray
    wall: np.ndarray
    amount: np.ndarray


def load_series(path: Path) -> Prices:
    """Read a canonical series and check it: what `cut_windows` takes.

    Raises:
        ValueError: not parquet, truncated, of another schema, empty, times not ascending, a wall clock that is not the
            instant and the offset, or a price that is not a positive number. It names the file.
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
    times, wall = (table.column(name).to_numpy() for name in ("timestamp", "wall"))
    values = np.stack([table.column(name).to_numpy() for name in FEATURES], axis=1)
    amount, offset = (table.column(name).to_numpy() for name in ("amount", "offset_seconds"))
    problem = _problem(times, values)
    ahead = np.nan_to_num(offset).astype("timedelta64[s]")
    if problem is None and not np.array_equal(times + ahead, wall):
        problem = "its wall clock is not the instant and the offset"
    if problem is None and ((amount < 0) | np.isinf(amount)).any():
        problem = "an amount is negative or infinite"
    if problem:
        raise ValueError(f"{path}: not a canonical series; {problem}; remove it and run again")
    return Prices(times, values, wall, amount)


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
