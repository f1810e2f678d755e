"""What the embedded checkpoints are trained on, and up to when."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from greenlight.errors import UserError


@dataclass(frozen=True)
class TrainingSeries:
    """The rows of one symbol that a checkpoint may be trained on.

    Attributes:
        timestamps: [rows] datetime64[ns], UTC, ascending.
        values: [rows, 5] float64 in the order of `greenlight.data.windows.FEATURES`; volume is NaN where unknown.
        sha256: of timestamps and values, so that other rows are told from these.
    """

    timestamps: np.ndarray
    values: np.ndarray
    sha256: str

    @property
    def trained_until(self) -> np.datetime64:
        """Time of the last row; evaluation targets must begin after it."""
        return self.timestamps[-1]


def training_series(folder: Path, share: float = 0.65) -> dict[str, TrainingSeries]:
    """The first `share` of the rows of every symbol in a folder of CSVs, by symbol.

    Raises:
        UserError: a file that is not readable as prices, or a share that leaves nothing.
    """
    from greenlight.data.reader import read_series
    from greenlight.data.repair import RepairRules
    from greenlight.data.series import series_arrays
    from greenlight.data.symbols import symbols_in

    if not 0.0 < share < 1.0:
        raise UserError(f"share of rows to train on is {share}; expected a number between 0 and 1")
    found = {}
    for symbol, path in symbols_in(folder, "all").items():
        timestamps, values, *_ = series_arrays(read_series(path, RepairRules()).frame)
        rows = int(len(timestamps) * share)
        timestamps, values = timestamps[:rows], np.ascontiguousarray(values[:rows], dtype=np.float64)
        digest = hashlib.sha256(timestamps.astype("datetime64[ns]").astype("<i8").tobytes())
        digest.update(values.astype("<f8").tobytes())
        found[symbol] = TrainingSeries(timestamps, values, digest.hexdigest())
    return found


def describe(series: dict[str, TrainingSeries]) -> dict[str, dict[str, object]]:
    """What training.json records of the data under `symbols`: trained_until (ISO 8601, UTC), rows, sha256."""
    return {
        symbol: {
            "trained_until": str(one.trained_until.astype("datetime64[s]")) + "Z",
            "rows": len(one.timestamps),
            "sha256": one.sha256,
        }
        for symbol, one in sorted(series.items())
    }


def mirrored_blocks(
    random: np.random.Generator, available: int, rows: int, lengths: tuple[int, int]
) -> Iterator[tuple[float, slice]]:
    """Blocks of successive rows of a series, which together hold at least `rows` rows: (sign, which rows) each.

    Place, length and sign are random. A chain of such blocks of returns keeps heavy tails and clustered volatility, and
    is never seen twice, so that a few rows can't be learned by heart.

    Args:
        available: rows of the series.
        lengths: least length of a block, and one more than the greatest.
    """
    found = 0
    while found < rows:
        length = random.integers(*lengths)
        start = random.integers(available - length + 1)
        yield random.choice((-1.0, 1.0)), slice(start, start + length)
        found += length
