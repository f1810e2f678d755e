"""Evaluation windows: a context of L rows and a target of H rows, cut from the end of a series."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

FEATURES = ("open", "high", "low", "close", "volume")
CLOSE = FEATURES.index("close")
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Window:
    """One evaluation case of one symbol.

    Attributes:
        symbol: name of the symbol.
        index: 0 for the oldest window of the symbol.
        context: [context length, 5] float64, the FEATURES in the symbol's own unit; unknown volume is NaN.
        future: [horizon, 5] float64, the rows that follow; their prices in `column` are the target.
        timestamps: [context length + horizon] datetime64[ns], UTC.
        wall: [context length + horizon] datetime64[ns], the clock of the exchange, for models with a calendar; None
            where it is the timestamps'.
        amount: [context length + horizon] float64, money that was turned over, NaN where unknown; None: unknown.
        column: which of FEATURES is forecast, the closing price by default.
        settings: of the model, where the symbol has some of its own: (name, value) pairs, ascending.
    """

    symbol: str
    index: int
    context: np.ndarray
    future: np.ndarray
    timestamps: np.ndarray
    wall: np.ndarray | None = None
    amount: np.ndarray | None = None
    column: int = CLOSE
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def calendar(self) -> np.ndarray:
        """[context length + horizon] datetime64[ns], the times by which a model knows hours, days and months."""
        return self.timestamps if self.wall is None else self.wall

    @property
    def key(self) -> str:
        """Name of the window, such as GOOG/2."""
        return f"{self.symbol}/{self.index}"

    @property
    def horizon(self) -> int:
        """Number of rows to forecast."""
        return len(self.future)

    @property
    def context_length(self) -> int:
        """Number of rows that the model sees."""
        return len(self.context)

    @property
    def known(self) -> np.ndarray:
        """The prices of the context in `column` that are not missing, float64."""
        prices = self.context[:, self.column]
        return prices[~np.isnan(prices)]

    @property
    def target(self) -> np.ndarray:
        """[horizon] float64, the prices to forecast."""
        return self.future[:, self.column]

    @property
    def first_target(self) -> np.datetime64:
        """Time of the first row to forecast."""
        return self.timestamps[self.context_length]


def cut_windows(
    symbol: str,
    timestamps: np.ndarray,
    values: np.ndarray,
    *,
    context_length: int,
    horizon: int,
    count: int,
    not_before: np.datetime64 | None = None,
    wall: np.ndarray | None = None,
    amount: np.ndarray | None = None,
    column: int = CLOSE,
    settings: tuple[tuple[str, Any], ...] = (),
) -> list[Window]:
    """The last `count` windows of a series whose targets do not overlap, oldest first.

    Args:
        timestamps: [rows] datetime64[ns], ascending.
        values: [rows, 5] float64 in the order of FEATURES.
        wall, amount: [rows] as in Window; column, settings: as there.
        not_before: targets must begin after this time (rows up to it were trained on).

    Returns:
        At most `count` windows; fewer where the series is too short. The targets tile the last rows.
    """
    rows = len(timestamps)
    windows: list[Window] = []
    for back in range(count, 0, -1):
        start = rows - back * horizon
        if start < context_length or (not_before is not None and timestamps[start] <= not_before):
            continue
        first, last = start - context_length, start + horizon
        clock, turned = (None if each is None else each[first:last] for each in (wall, amount))
        parts = (values[first:start], values[start:last], timestamps[first:last], clock, turned, column, settings)
        windows.append(Window(symbol, len(windows), *parts))
    return windows


def practice_windows(count: int, context_length: int, horizon: int, seed: int, column: int = CLOSE) -> list[Window]:
    """`count` windows of seeded random walks, for compiling and warming up without any data."""
    random = np.random.default_rng(seed)
    rows = context_length + horizon
    times = np.datetime64("2020-01-01", "ns") + np.arange(rows) * np.timedelta64(1, "D")
    windows = []
    for number in range(count):
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, rows)))
        open_ = np.concatenate([[100.0], close[:-1]])
        high = np.maximum(open_, close) * (1 + random.uniform(0, 0.01, rows))
        low = np.minimum(open_, close) * (1 - random.uniform(0, 0.01, rows))
        values = np.stack([open_, high, low, close, random.uniform(1e5, 1e6, rows)], axis=1)
        parts = (values[:context_length], values[context_length:], times)
        windows.append(Window(f"PRACTICE{number}", 0, *parts, column=column))
    return windows


def with_missing(window: Window, share: float, seed: int) -> Window:
    """The window, in whose context a share of the rows is missing (NaN in every column), at seeded places."""
    if not share:
        return window
    context = window.context.copy()
    random = np.random.default_rng(window_seed(seed, window))
    context[random.choice(len(context), rows_missing(share, len(context)), replace=False)] = np.nan
    return replace(window, context=context)


def rows_missing(share: float, context_length: int) -> int:
    """How many rows of a context are missing."""
    return round(share * context_length)


def window_seed(seed: int, window: Window, replicate: int = 0) -> int:
    """Seed of the random numbers of one window, independent of every other window and of batching.

    It depends on the symbol and the time of the first target, not on the window's place in a batch or list,
    so the same window gets the same random numbers in whatever company it is forecast. A 63-bit integer.
    """
    first = window.first_target.astype("datetime64[ns]").astype(np.int64)
    text = f"{seed}|{window.symbol}|{first}|{replicate}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def same_shape(windows: Sequence[Window]) -> tuple[int, int]:
    """(context length, horizon) shared by all windows; ValueError where they differ or there are none."""
    shapes = {(window.context_length, window.horizon) for window in windows}
    if len(shapes) != 1:
        raise ValueError(f"windows of one call must share context length and horizon, found {sorted(shapes)}")
    return shapes.pop()
