"""What can be wrong with the rows of a series, each settled by its rule.

Frames have the columns line, timestamp, wall (datetime64[ns]), open, high, low, close, volume (float64).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from greenlight.data.columns import PRICES
from greenlight.data.gaps import Frequency, Missing, find_missing, infer_frequency
from greenlight.data.repair import Findings

_VALUES = [*PRICES, "volume"]
# A close that about doubles or halves from one row to the next: an unadjusted split, or an error.
_LARGE_MOVE = np.log(1.9)
# Exports carry prices rounded on their own; a high below the close by less is no finding.
_ROUNDING = 1e-6


def check_prices(frame: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """Empty and non-positive prices, in the order of the file."""
    empty = np.isnan(_prices(frame))
    if empty.any():
        names = [name for name, column in zip(PRICES, empty.T, strict=True) if column.any()]
        rows = empty.any(axis=1)
        rule = findings.settle("empty_cells", frame["line"][rows], f"empty cells in {', '.join(names)}")
        frame = _filled(frame, findings) if rule == "forward-fill" else frame[~rows]
    low = (_prices(frame) <= 0).any(axis=1)
    if low.any():
        text = f"prices of 0 or below (the lowest is {_prices(frame).min():g}); expected positive prices"
        findings.settle("non_positive_prices", frame["line"][low], text)
        frame = frame[~low]
    return frame.reset_index(drop=True)


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
        findings.note("empty_cells", text, "refuse", ordered["line"][without])
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


def check_duplicates(frame: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """One row a time; rows of one time are in the order of the file."""
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
        text = f"rows of the same time with different values ({_first_time(frame, conflicting)})"
        rule = findings.settle("duplicate_times", frame["line"][conflicting], text)
        keep = "last" if rule == "keep-last" else "first"
        frame = frame[~frame["timestamp"].duplicated(keep=keep).to_numpy()].reset_index(drop=True)
    return frame


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


def check_gaps(frame: pd.DataFrame, findings: Findings) -> tuple[pd.DataFrame, Frequency]:
    """Missing rows by the series' own week, in the clock (local or UTC) that lacks fewer."""
    utc, wall = frame["timestamp"].to_numpy(), frame["wall"].to_numpy()
    frequency = infer_frequency(utc)
    missing = find_missing(utc, frequency)
    if not np.array_equal(utc, wall) and (np.diff(wall) > np.timedelta64(0)).all():
        local = infer_frequency(wall)
        missing_local = find_missing(wall, local)
        fewer = frequency.step_seconds is None or len(missing_local.after) <= len(missing.after)
        if local.step_seconds is not None and fewer:
            frequency, missing = local, missing_local
    if frequency.step_seconds is None:
        text = "the distances between rows have no common step, so gaps can't be told"
        if findings.rules.gaps == "report":
            findings.note("irregular", text, "report")
        else:
            findings.note("gaps", text, "refuse")
    if not len(missing.after):
        return frame, frequency
    rule = findings.settle("gaps", _lines_after(frame, missing), _gap_text(frame, missing))
    return (_with_rows(frame, missing) if rule == "forward-fill" else frame), frequency


def _lines_after(frame: pd.DataFrame, missing: Missing) -> np.ndarray:
    """Line of the row before each gap."""
    return frame["line"].to_numpy()[np.unique(missing.after)]


def _gap_text(frame: pd.DataFrame, missing: Missing) -> str:
    rows, counts = np.unique(missing.after, return_counts=True)
    longest = int(rows[counts.argmax()])
    since = frame["timestamp"].iloc[longest].isoformat(sep=" ")
    return (
        f"{len(missing.after)} rows missing in {len(rows)} gaps, each later than the row of the line named; "
        f"the longest of {counts.max()} rows after {since}"
    )


def _with_rows(frame: pd.DataFrame, missing: Missing) -> pd.DataFrame:
    """The frame with flat rows at the close before each gap and volume 0 (unknown where it was unknown)."""
    added = frame.iloc[missing.after].copy()
    added["timestamp"] += missing.offset
    added["wall"] += missing.offset
    for name in ("open", "high", "low"):
        added[name] = added["close"]
    added["volume"] *= 0.0
    both = pd.concat([frame, added], ignore_index=True).sort_values("timestamp", kind="stable", ignore_index=True)
    return both[~both["timestamp"].duplicated().to_numpy()].reset_index(drop=True)
