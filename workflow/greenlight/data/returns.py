"""Returns in place of prices: what a model is given of a window, and how its paths become prices again.

A simple return is p[t] / p[t-1] - 1, a logarithmic one ln(p[t] / p[t-1]). A context of L returns takes L + 1 prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def given_returns(forecaster: Any, kind: str) -> Any:
    """The same forecaster, which is given returns of the windows it is called with, and whose paths become prices.

    Its `forecast` and `probe` are called with windows of prices, with a row of context more than the model sees. What
    `kind` is "prices" stays as it is.
    """
    if kind == AS_PRICES:
        return forecaster
    forecast, probe = forecaster.forecast, forecaster.probe

    def of_prices(windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        given = [window_of_returns(window, kind) for window in windows]
        kept = [(one.context.copy(), one.future.copy()) for one in given]
        paths = forecast(given, samples, seed)
        for one, (context, future) in zip(given, kept, strict=True):
            if not (np.array_equal(one.context, context, True) and np.array_equal(one.future, future, True)):
                raise ValueError(f"the forecaster changes the window that it is given, first {one.key}")
        if not np.issubdtype(np.asarray(paths).dtype, np.floating) or np.ndim(paths) != 3:
            return paths  # no forecast, which who called says better
        return implied_prices(paths, np.array([w.context[-1, w.column] for w in windows]), kind)

    forecaster.forecast = of_prices
    forecaster.probe = lambda windows: probe([window_of_returns(window, kind) for window in windows])
    forecaster.shifts_with_prices = False  # returns of prices that are all higher by an amount are others
    return forecaster
