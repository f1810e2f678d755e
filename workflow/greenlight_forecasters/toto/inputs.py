"""From windows of prices to what Toto sees, the same for every implementation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from greenlight.api import UserError, Window, same_shape

# The unit of a window makes the standard deviation of its context at least this and less than twice this.
_SPREAD = 8.0
# A context that hardly moves is measured against its level instead: 8 / 2**-10 is a level of 8192.
_LEAST_RELATIVE_SPREAD = 2.0**-10


def price_unit(closes: np.ndarray) -> float:
    """The power of two by which a window's prices are multiplied before Toto sees them.

    Toto's scaler adds 0.1 to the variance, an absolute number: at prices near 1e-5 it would hide the
    series. In these units it is at most 0.2% of the variance, whatever the price. A power of two changes no
    digit of the prices, and is the same factor for every implementation.

    Args:
        closes: [context length] float64 prices of the context.
    """
    spread = max(float(closes.std()), _LEAST_RELATIVE_SPREAD * float(np.abs(closes).max()))
    if spread == 0.0:
        return 1.0
    return 2.0 ** (np.log2(_SPREAD) - np.floor(np.log2(spread)))


@dataclass(frozen=True)
class Quoting:
    """How each window's prices are quoted to Toto: (price - level) * unit.

    Attributes:
        levels: [windows] float64, the last price of each context. Toto's scaler subtracts a mean in the dtype of
            the series; prices far from zero would lose their digits there in float32.
        units: [windows] float64, powers of two.
    """

    levels: np.ndarray
    units: np.ndarray

    def quoted(self, prices: np.ndarray) -> np.ndarray:
        """What Toto sees of prices [windows, rows]."""
        return (prices - self.levels[:, None]) * self.units[:, None]

    def prices(self, paths: np.ndarray) -> np.ndarray:
        """The prices that Toto's paths [windows, samples, horizon] mean."""
        return paths / self.units[:, None, None] + self.levels[:, None, None]


def contexts(windows: Sequence[Window], patch: int) -> tuple[np.ndarray, Quoting]:
    """The closing prices as Toto sees them.

    The oldest rows that do not fill a patch are dropped: padding them with zeros, as the published forecaster
    does, would let the model attend to zeros as if they were prices.

    Args:
        windows: windows of one shape.
        patch: rows in a patch.

    Returns:
        [windows, length] float64 quoted prices, where length is the largest multiple of `patch`, and how they are
        quoted.

    Raises:
        UserError: a context shorter than a patch, or with a price that is not a finite number.
    """
    length, _ = same_shape(windows)
    if length < patch:
        raise UserError(
            f"context length {length} is shorter than one patch of this Toto checkpoint, "
            f"{patch} rows; set the context length to {patch} or more"
        )
    prices = np.stack([window.context[length % patch :, window.column] for window in windows])
    for window, row in zip(windows, prices, strict=True):
        if not np.isfinite(row).all():
            raise UserError(
                f"window {window.key}: the context holds prices that are not finite numbers; Toto would "
                "answer wrongly without an error. Name a repair rule for the series in the configuration"
            )
    quoting = Quoting(prices[:, -1].copy(), np.array([price_unit(row) for row in prices]))
    return quoting.quoted(prices), quoting


def truths(windows: Sequence[Window], patch: int, quoting: Quoting) -> np.ndarray:
    """The prices that are fed to Toto when it is teacher-forced: the future, without its last patch.

    Returns:
        [windows, patches, patch] float64 quoted prices, where patches + 1 steps cover the horizon.
    """
    _, horizon = same_shape(windows)
    patches = -(-horizon // patch) - 1
    prices = np.stack([window.target[: patches * patch] for window in windows])
    return quoting.quoted(prices).reshape(len(windows), patches, patch)
