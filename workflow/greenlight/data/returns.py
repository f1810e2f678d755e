"""Returns in place of prices: what a model is given of a window, and how its paths become prices again.

A simple return is p[t] / p[t-1] - 1, a logarithmic one ln(p[t] / p[t-1]). A context of L returns takes L + 1 prices.
"""

from __future__ import annotations

import numpy as np

from greenlight.data.windows import FEATURES, PRICES, Window

AS_PRICES, RETURNS, LOG_RETURNS = "prices", "returns", "log-returns"
INPUTS = (AS_PRICES, RETURNS, LOG_RETURNS)
_COLUMNS = [FEATURES.index(name) for name in PRICES]


def rows_for(context_length: int, given: str) -> int:
    """Rows of prices from which a context of so many rows is made, of what a model is given."""
    return context_length + (given != AS_PRICES)


def returns_between(prices: np.ndarray, before: np.ndarray, kind: str) -> np.ndarray:
    """The returns from the prices `before` to `prices`, of any shape that fits; `kind` is one of INPUTS."""
    change: np.ndarray = (prices - before) / before
    return np.log1p(change) if kind == LOG_RETURNS else change


def window_of_returns(window: Window, kind: str) -> Window:
    """The window whose prices are returns over the row before; its first row of context is used up.

    Volumes and amounts stay what they are. Nothing in it lies in the memory of the other window.
    """
    rows = np.concatenate((window.context, window.future))
    values = rows[1:].copy()
    values[:, _COLUMNS] = returns_between(rows[1:, _COLUMNS], rows[:-1, _COLUMNS], kind)
    length = window.context_length - 1
    wall, amount = (None if each is None else each[1:].copy() for each in (window.wall, window.amount))
    parts = (values[:length], values[length:], window.timestamps[1:].copy(), wall, amount)
    return Window(window.symbol, window.index, *parts, window.column, window.settings)


def implied_prices(paths: np.ndarray, last: np.ndarray, kind: str) -> np.ndarray:
    """The prices that paths of returns imply: [windows, samples, horizon] float64.

    Args:
        paths: [windows, samples, horizon] returns.
        last: [windows] the last price of each context.
    """
    grown = np.exp(np.cumsum(paths, axis=-1)) if kind == LOG_RETURNS else np.cumprod(1.0 + paths, axis=-1)
    prices: np.ndarray = last[:, None, None] * grown
    return prices
