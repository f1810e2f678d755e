"""Forecasters that are given windows as a configuration says: returns of prices, settings of a symbol's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from greenlight.data.returns import AS_PRICES, implied_prices, window_of_returns
from greenlight.data.windows import Window


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


def called_by_settings(forecaster: Any) -> Any:
    """The same forecaster, which forecasts windows that have settings of their own with these (`with_settings`).

    Windows of one call that differ in them are forecast in a call for each settings, filled up to the same size.
    """
    forecast = forecaster.forecast

    def by_settings(windows: Sequence[Window], *rest: Any) -> np.ndarray:
        groups = [window.settings for window in windows]
        if not any(groups):
            return forecast(windows, *rest)
        found: list[Any] = [None] * len(windows)
        for own in dict.fromkeys(groups):
            rows = [row for row, settings in enumerate(groups) if settings == own]
            filled = [windows[rows[number % len(rows)]] for number in range(len(windows))]
            with forecaster.with_settings(dict(own)):
                paths = np.array(forecast(filled, *rest))  # the next call may overwrite it
            for row, path in zip(rows, paths, strict=False):
                found[row] = path
        return np.stack(found)

    forecaster.forecast = by_settings
    return forecaster
