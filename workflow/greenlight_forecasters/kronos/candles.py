"""Windows to what the model reads, and what it writes back to prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from greenlight.api import UserError, Window, same_shape
from greenlight_forecasters.kronos.config import CLIP, EPSILON

_PRICES = 4
_VOLUME = 4


@dataclass(frozen=True)
class Candles:
    """Windows as the model reads them.

    Attributes:
        values: [windows, context length, 6] float32, the FEATURES, normalised and clipped.
        future: [windows, horizon, 6] float32, the truth, normalised alike; only `probe` reads it.
        stamps: [windows, context length + horizon, 5] int64: minute, hour, weekday, day, month.
        mean, deviation: [windows, 6] float32.
    """

    values: np.ndarray
    future: np.ndarray
    stamps: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    def __getitem__(self, rows: slice) -> Candles:
        """Some of the windows."""
        return Candles(*(getattr(self, field.name)[rows] for field in fields(self)))

    def restore(self, normalised: np.ndarray, feature: int) -> np.ndarray:
        """Normalised values of one feature [windows, ...] in the symbols' own unit, float64."""
        shape = (-1, *(1,) * (normalised.ndim - 1))
        mean, deviation = (each[:, feature].reshape(shape) for each in (self.mean, self.deviation))
        return (normalised.astype(np.float32) * (deviation + np.float32(EPSILON)) + mean).astype(np.float64)


def prepare(windows: Sequence[Window], clip: float = CLIP) -> Candles:
    """Normalise windows by mean and standard deviation of their whole context, in float32 as published.

    What is farther than `clip` standard deviations from the mean is cut off there.

    The amount of a candle is the window's own or, where that is unknown, its volume times the mean of its four
    prices. A window whose context has an unknown volume anywhere is treated as the published code treats a missing
    column: volume and amount are 0. Stamps are the wall clock's, as the published code reads them from a file.

    Raises:
        UserError: a price that is not finite.
    """
    same_shape(windows)
    values, futures, means, deviations = [], [], [], []
    for window in windows:
        rows = _checked(window)
        context, future = rows[: window.context_length], rows[window.context_length :]
        mean, deviation = context.mean(axis=0), context.std(axis=0)
        values.append(_normalise(context, mean, deviation, clip))
        # An unknown volume after the context is fed as the context's mean.
        futures.append(np.nan_to_num(_normalise(future, mean, deviation, clip), nan=0.0))
        means.append(mean)
        deviations.append(deviation)
    return Candles(
        np.stack(values),
        np.stack(futures),
        np.stack([stamps(window.calendar) for window in windows]),
        np.stack(means),
        np.stack(deviations),
    )


def stamps(timestamps: np.ndarray) -> np.ndarray:
    """[rows] datetime64 to [rows, 5] int64: minute, hour, weekday (Monday is 0), day of the month, month."""
    minutes, days, months = (np.asarray(timestamps).astype(f"datetime64[{unit}]") for unit in "mDM")
    minute, day, month = (part.astype(np.int64) for part in (minutes, days, months))
    of_month = (days - months.astype(days.dtype)).astype(np.int64) + 1
    # 1970-01-01 was a Thursday.
    return np.stack((minute % 60, minute // 60 % 24, (day + 3) % 7, of_month, month % 12 + 1), axis=-1)


def with_amount(values: np.ndarray, known_until: int, given: np.ndarray | None = None) -> np.ndarray:
    """[rows, 5] prices and volume to [rows, 6] float32 with the amount: the given one, else volume times mean price.

    Volume and amount, also a given one, are 0 where the volume of the first `known_until` rows is unknown anywhere.

    Args:
        given: [rows] amounts, NaN where unknown; None where the file has none.
    """
    rows = np.array(values, dtype=np.float64)
    known = bool(np.isfinite(rows[:known_until, _VOLUME]).all())
    if not known:
        rows[:, _VOLUME] = 0.0
    amount = rows[:, _VOLUME] * rows[:, :_PRICES].mean(axis=1)
    if given is not None and known:
        amount = np.where(np.isnan(given), amount, given)
    # Column by column in memory, as a data frame's values are: float32 sums depend on the order.
    return np.asfortranarray(np.column_stack((rows, amount)), dtype=np.float32)


def _checked(window: Window) -> np.ndarray:
    """[context length + horizon, 6] float32; UserError for a price of the context that is not finite."""
    faulty = ~np.isfinite(window.context[:, :_PRICES]).all(axis=1)
    if faulty.any():
        raise UserError(
            f"window {window.key}: a price in its context is not a finite number, first at "
            f"{window.timestamps[faulty.argmax()]}; mend or drop that row"
        )
    return with_amount(np.concatenate((window.context, window.future)), window.context_length, window.amount)


def _normalise(rows: np.ndarray, mean: np.ndarray, deviation: np.ndarray, clip: float) -> np.ndarray:
    return np.clip((rows - mean) / (deviation + np.float32(EPSILON)), -clip, clip)
