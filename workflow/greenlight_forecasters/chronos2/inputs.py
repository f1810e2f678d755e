"""From windows of prices to what Chronos-2 sees, the same for every implementation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlight.api import FEATURES, UserError, Window, same_shape
from greenlight_forecasters.chronos2 import LEVELS
from greenlight_forecasters.chronos2.checkpoint import Dimensions


@dataclass(frozen=True)
class Variates:
    """Which columns of a window the model sees beside the one that is forecast, which comes first."""

    beside: tuple[int, ...] = ()

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Variates:
        """The columns that the model's settings name, which it sees beside the one that is forecast."""
        return cls(tuple(FEATURES.index(name) for name in settings.get("beside") or ()))

    def contexts(self, windows: Sequence[Window], dimensions: Dimensions) -> np.ndarray:
        """What the model sees of windows of one shape: [windows, variates, length] float64, NaN where unknown.

        Raises:
            UserError: a horizon that is longer than one pass of the checkpoint, or a checkpoint of other quantiles.
        """
        _, horizon = same_shape(windows)
        if dimensions.quantiles != LEVELS:
            raise UserError(
                f"this checkpoint forecasts quantiles {dimensions.quantiles}; Chronos-2, as gated here, has {LEVELS}"
            )
        check_horizon(horizon, dimensions)
        column = windows[0].column
        columns = [column, *(other for other in self.beside if other != column)]
        return np.stack([window.context[:, columns].T for window in windows])


def check_horizon(horizon: int, dimensions: Dimensions) -> None:
    """UserError for a horizon that one pass does not reach: the published code then feeds on its own quantiles."""
    if not 1 <= horizon <= dimensions.longest_horizon:
        raise UserError(
            f"horizon {horizon}: this Chronos-2 checkpoint forecasts 1 to {dimensions.longest_horizon} rows in one "
            "pass; longer horizons, which the published code reaches by feeding on its own quantiles, are not gated"
        )


def standardised(quantiles: np.ndarray, contexts: np.ndarray) -> np.ndarray:
    """Quantiles [windows, levels, horizon] of the forecast price in standard deviations of its context.

    Args:
        contexts: as from `Variates.contexts`, the forecast price first.
    """
    prices = contexts[:, 0]
    level, spread = np.nanmean(prices, axis=-1), np.nanstd(prices, axis=-1)
    spread = np.where(spread > 0, spread, 1.0)
    return (quantiles - level[:, None, None]) / spread[:, None, None]
