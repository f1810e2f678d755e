"""From windows of prices to what Toto sees, the same for every implementation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from greenlight.data.windows import CLOSE, Window, same_shape
from greenlight.errors import UserError

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


def contexts(windows: Sequence[Window], patch: int) -> tuple[np.ndarray, np.ndarray]:
    """The closing prices that Toto sees, and their units.

    The oldest rows that do not fill a patch are dropped: padding them with zeros, as the published forecaster
    does, would let the model attend to zeros as if they were prices.

    Args:
        windows: windows of one shape.
        patch: rows in a patch.

    Returns:
        [windows, length] float64, prices times units, where length is the largest multiple of `patch`;
        [windows] float64 units, powers of two.

    Raises:
        UserError: a context shorter than a patch, or with a price that is not a finite number.
    """
    length, _ = same_shape(windows)
    if length < patch:
        raise UserError(
            f"context length {length} is shorter than one patch of this Toto checkpoint, "
            f"{patch} rows; set the context length to {patch} or more"
        )
    closes = np.stack([window.context[length % patch :, CLOSE] for window in windows])
    for window, row in zip(windows, closes, strict=True):
        if not np.isfinite(row).all():
            raise UserError(
                f"window {window.key}: the context holds closing prices that are not finite numbers; Toto would "
                "answer without an error and wrongly. Name a repair rule for the series in the configuration"
            )
    units = np.array([price_unit(row) for row in closes])
    return closes * units[:, None], units


def truths(windows: Sequence[Window], patch: int, units: np.ndarray) -> np.ndarray:
    """The closing prices that are fed to Toto when it is teacher-forced: the future, without its last patch.

    Returns:
        [windows, patches, patch] float64, prices times units, where patches + 1 steps cover the horizon.
    """
    _, horizon = same_shape(windows)
    patches = -(-horizon // patch) - 1
    closes = np.stack([window.target[: patches * patch] for window in windows])
    return (closes * units[:, None]).reshape(len(windows), patches, patch)
