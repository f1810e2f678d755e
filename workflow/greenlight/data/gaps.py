"""The frequency of a series, and the rows that are missing from its own week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DAY = 86_400
_WEEK = 7 * _DAY
_LONGEST_GRID = 5_000_000
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class Frequency:
    """How often a series has rows.

    Attributes:
        label: in words, such as `business days`, `daily`, `hourly`, `5 minutes`, `weekly`, `irregular`.
        step_seconds: the most frequent distance between rows; None where irregular.
        days: the days of the week that have rows, for steps up to a day.
    """

    label: str
    step_seconds: int | None
    days: tuple[str, ...] = ()


@dataclass(frozen=True)
class Missing:
    """Rows that a series lacks.

    Attributes:
        after: [missing] index of the row after which each is missing, ascending.
        offset: [missing] timedelta64[ns] from that row to the missing one.
    """

    after: np.ndarray
    offset: np.ndarray


def infer_frequency(wall: np.ndarray) -> Frequency:
    """The frequency of ascending, unique times [rows] datetime64[ns], in the clock of the exchange.

    The step is the most frequent distance; where under half of the distances are near it, or the whole is more
    than millions of steps, the series is irregular. Days of the week count where they have at least a fifth of
    an even share of the rows.
    """
    seconds = wall.astype("datetime64[s]").astype(np.int64)
    if len(seconds) < 3:
        return Frequency("irregular", None)
    distances, counts = np.unique(np.diff(seconds), return_counts=True)
    step = int(distances[counts.argmax()])
    # Daylight saving moves a day by an hour; months have 28 to 31 days.
    near = counts[np.abs(distances - step) <= step * 0.11].sum()
    if step <= 0 or near * 2 < counts.sum() or seconds[-1] - seconds[0] > step * _LONGEST_GRID:
        return Frequency("irregular", None)
    if step > _DAY:
        days = step / _DAY
        label = "weekly" if days == 7 else "monthly" if 28 <= days <= 31 else f"{days:g} days"
        return Frequency(label, step)
    weekdays = _weekdays(seconds)
    present = np.bincount(weekdays, minlength=7) * 35 >= len(seconds)
    open_days = tuple(day for day, there in zip(_DAYS, present, strict=True) if there)
    return Frequency(_label(step, open_days), step, open_days)


def _label(step: int, days: tuple[str, ...]) -> str:
    if step == _DAY:
        known = {_DAYS: "daily", _DAYS[:5]: "business days"}
        return known.get(days, f"daily on {' '.join(days)}")
    if step == 3600:
        return "hourly"
    for unit, name in ((3600, "hours"), (60, "minutes"), (1, "seconds")):
        if step % unit == 0:
            return f"{step // unit} {name}"
    return f"{step} seconds"


def _weekdays(seconds: np.ndarray) -> np.ndarray:
    """0 for Monday; 1970-01-01 was a Thursday."""
    return (seconds // _DAY + 3) % 7


def find_missing(wall: np.ndarray, frequency: Frequency) -> Missing:
    """Rows missing from a regular series: times of its own week that have none.

    A time of the week belongs to the series where at least half of the weeks have a row at it; under three
    weeks, a time of the day likewise, from Monday to Friday and on the other days that have rows. So nights
    and weekends without rows are no gaps; holidays are.
    """
    none = Missing(np.zeros(0, dtype=np.int64), np.zeros(0, dtype="timedelta64[ns]"))
    step = frequency.step_seconds
    if step is None:
        return none
    seconds = wall.astype("datetime64[s]").astype(np.int64)
    places = np.rint((seconds - seconds[0]) / step).astype(np.int64)
    if step > _DAY:
        # Months differ in length, so the distance is counted from the row before, not on a grid.
        extra = np.maximum(np.rint(np.diff(seconds) / step).astype(np.int64) - 1, 0)
    else:
        grid = np.arange(places[-1] + 1)
        there = np.zeros(len(grid), dtype=bool)
        there[places] = True
        absent = grid[~there & _own_week(seconds[0] + grid * step, there, step)]
        after = np.searchsorted(places, absent, side="right") - 1
        return Missing(after, ((absent - places[after]) * step).astype("timedelta64[s]").astype("timedelta64[ns]"))
    after = np.repeat(np.arange(len(extra)), extra)
    ordinal = np.concatenate([np.arange(1, count + 1) for count in extra]) if len(after) else np.zeros(0, np.int64)
    return Missing(after, (ordinal * step).astype("timedelta64[s]").astype("timedelta64[ns]"))


def _own_week(grid_seconds: np.ndarray, there: np.ndarray, step: int) -> np.ndarray:
    """Mask over the grid: times at which the series usually has rows."""
    span = grid_seconds[-1] - grid_seconds[0] + step
    days = _weekdays(grid_seconds)
    if span < 3 * _WEEK or _WEEK % step:
        with_rows = np.bincount(days, weights=there, minlength=7) > 0
        with_rows[:5] = True
        whole_days = np.ones(len(grid_seconds), dtype=bool)
        usual = whole_days if step == _DAY else _usual(grid_seconds % _DAY // step, there)
        return with_rows[days] & usual
    return _usual(grid_seconds % _WEEK // step, there)


def _usual(slots: np.ndarray, there: np.ndarray) -> np.ndarray:
    possible = np.bincount(slots)
    seen = np.bincount(slots, weights=there)
    return (seen * 2 >= possible)[slots]
