"""What can be wrong with the rows of a series, each settled by its rule.

Frames have the columns line, timestamp, wall (datetime64[ns]), open, high, low, close, volume, amount and offset
(float64).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from greenlight.data.columns import PRICES
from greenlight.data.gaps import Frequency
from greenlight.data.options import paste
from greenlight.data.repair import Findings

_VALUES = [*PRICES, "volume"]
# A close that about doubles or halves from one row to the next: an unadjusted split, or an error.
_LARGE_MOVE = np.log(1.9)
# Exports carry prices rounded on their own; a high below the close by less is no finding.
_ROUNDING = 1e-6
_DAY = 86_400


def check_prices(frame: pd.DataFrame, findings: Findings, blank: Sequence[str]) -> pd.DataFrame:
    """Empty and non-positive prices, in the order of the file; `blank` names the columns that are empty somewhere."""
    empty = np.isnan(_prices(frame))
    if empty.any():
        rows = empty.any(axis=1)
        rule = findings.settle("empty_cells", frame["line"][rows], f"empty cells in {', '.join(blank)}")
        frame = _filled(frame, findings) if rule == "forward-fill" else frame[~rows]
    low = (_prices(frame) <= 0).any(axis=1)
    if low.any():
        text = f"prices of 0 or below (the lowest is {_prices(frame).min():g}); expected positive prices"
        findings.settle("non_positive_prices", frame["line"][low], text)
        frame = frame[~low]
    return frame.reset_index(drop=True) if empty.any() or low.any() else frame


def _prices(frame: pd.DataFrame) -> np.ndarray:
    """[rows, 4] open, high, low, close."""
    return np.stack([frame[name].to_numpy() for name in PRICES], axis=1)


def _filled(frame: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """Empty prices at the close before them in time; a first row without one goes and is refused."""
    ordered = frame.sort_values("timestamp", kind="stable")
    before = ordered["close"].ffill().shift()
    for name in PRICES:
        ordered[name] = ordered[name].fillna(before)
    without = ordered[list(PRICES)].isna().any(axis=1)
    if without.any():
        text = "an empty cell that no close comes before"
        findings.refuse("empty_cells", ordered["line"][without], text)
    return ordered[~without].sort_values("line", kind="stable")


def check_order(frame: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The frame oldest first."""
    steps = np.diff(frame["timestamp"].to_numpy())
    back = steps < np.timedelta64(0)
    if not back.any():
        return frame
    if not (steps > np.timedelta64(0)).any():
        findings.note("newest_first", "rows are newest first", "reversed", [])
    else:
        text = "rows are in no order of time; expected oldest or newest first"
        findings.settle("row_order", frame["line"][1:][back], text)
    return frame.sort_values("timestamp", kind="stable").reset_index(drop=True)


def check_duplicates(
    frame: pd.DataFrame, findings: Findings, telling_apart: Callable[[np.ndarray], str]
) -> pd.DataFrame:
    """One row a time; rows of one time are in the order of the file.

    Args:
        telling_apart: names the column, not used so far, that tells the rows of some lines apart; "" where none does.
    """
    repeated = frame["timestamp"].duplicated(keep=False).to_numpy()
    if not repeated.any():
        return frame
    same = frame.duplicated(["timestamp", *_VALUES], keep="first").to_numpy()
    if same.any():
        text = f"rows that repeat another of the same time, values and all ({_first_time(frame, same)})"
        findings.settle("identical_rows", frame["line"][same], text)
        frame = frame[~same].reset_index(drop=True)
    conflicting = frame["timestamp"].duplicated(keep=False).to_numpy()
    if conflicting.any():
        lines = frame["line"].to_numpy()[conflicting]
        text = f"rows of the same time with different values ({_first_time(frame, conflicting)})"
        apart, rule = telling_apart(lines), findings.rules.duplicate_times
        if apart:
            remedy = "Export one symbol and one time a row, or name the column of times by data.columns"
            findings.refuse("duplicate_times", lines, text + apart, remedy)
        elif _end_of_summer(frame, conflicting):
            text += ", as in the hour that occurs twice when daylight saving ends"
            zone = "Europe/Berlin" if frame["timestamp"][conflicting].iloc[0].month in (3, 10) else "America/New_York"
            remedy = f"Export the times with their offset or in UTC, or name their zone: {paste('timezone', zone)}"
            findings.refuse("duplicate_times", lines, text, remedy)
        else:
            findings.settle("duplicate_times", lines, text)
        keep = "last" if rule == "keep-last" else "first"
        frame = frame[~frame["timestamp"].duplicated(keep=keep).to_numpy()].reset_index(drop=True)
    return frame


def _end_of_summer(frame: pd.DataFrame, conflicting: np.ndarray) -> bool:
    """Whether all times that occur twice are in the small hours of Sundays of spring or autumn, without a zone."""
    times = pd.DatetimeIndex(frame["timestamp"][conflicting])
    if not np.isnan(frame["offset"].to_numpy()).all() or (times == times.normalize()).all():
        return False
    return bool(((times.day_of_week == 6) & (times.hour < 4) & np.isin(times.month, (3, 4, 9, 10, 11))).all())


def _first_time(frame: pd.DataFrame, mask: np.ndarray) -> str:
    return f"first {frame['timestamp'][mask].iloc[0].isoformat(sep=' ')}"


def check_ranges(frame: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """High not below low, and open and close between them."""
    crossed = (frame["high"] < frame["low"] * (1 - _ROUNDING)).to_numpy()
    if crossed.any():
        rule = findings.settle("high_below_low", frame["line"][crossed], "high below low")
        frame = frame.copy()
        if rule == "swap":
            frame.loc[crossed, ["high", "low"]] = frame.loc[crossed, ["low", "high"]].to_numpy()
        else:
            frame = frame[~crossed].reset_index(drop=True)
    open_, high, low, close = _prices(frame).T
    above = np.maximum(open_, close) > high * (1 + _ROUNDING)
    outside = above | (np.minimum(open_, close) < low * (1 - _ROUNDING))
    if outside.any():
        text = "open or close outside low to high"
        rule = findings.settle("outside_range", frame["line"][outside], text)
        if rule == "widen":
            frame = frame.copy()
            frame.loc[outside, "high"] = frame.loc[outside, list(PRICES)].max(axis=1)
            frame.loc[outside, "low"] = frame.loc[outside, list(PRICES)].min(axis=1)
        elif rule != "report":
            frame = frame[~outside].reset_index(drop=True)
    return frame


def note_large_moves(frame: pd.DataFrame, findings: Findings) -> None:
    """Closes that about double or halve in one row, as an unadjusted split does; only reported."""
    close = np.log(frame["close"].to_numpy())
    large = np.concatenate([[False], np.abs(np.diff(close)) > _LARGE_MOVE])
    if not large.any():
        return
    row = int(np.flatnonzero(large)[0])
    before, after = frame["close"].iloc[row - 1], frame["close"].iloc[row]
    day = frame["timestamp"].iloc[row].date().isoformat()
    moved = f"{before:g} to {after:g} on {day}"
    text = f"the close about doubles or halves in one row ({moved}): an unadjusted split, or an error"
    findings.note("large_move", text, "kept", frame["line"][large])


def note_future(frame: pd.DataFrame, findings: Findings) -> None:
    """Times after tomorrow; only reported."""
    future = (frame["timestamp"] > pd.Timestamp(np.datetime64("now", "s")) + pd.Timedelta(days=2)).to_numpy()
    if future.any():
        text = f"rows of the future, the last of {frame['timestamp'].iloc[-1].date()}"
        findings.note("future", text, "kept", frame["line"][future])


def note_last_row(frame: pd.DataFrame, frequency: Frequency, findings: Findings) -> None:
    """A last row off the grid of the others, as of a bar that was not finished; only reported."""
    step = frequency.step_seconds
    if step is None or len(frame) < 4:
        return
    seconds = frame["wall"].to_numpy().astype("datetime64[s]").astype(np.int64)
    distances = np.diff(seconds)
    if step > _DAY:
        off = distances[-1] < step * 0.75 and (distances[:-1] >= step * 0.75).mean() > 0.9
    else:
        phase = (seconds - seconds[0]) % min(step, 3600)
        off = phase[-1] != 0 and not phase[:-1].any()
    if off:
        text = f"the last row, of {frame['wall'].iloc[-1]}, is off the grid of the others, as of a bar not finished"
        findings.note("last_row", text, "kept", frame["line"].iloc[-1:])
