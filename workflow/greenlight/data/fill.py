"""Rows that a series lacks, found on its own clock and added there by rule."""

from __future__ import annotations

from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from greenlight.data.clock import local_offsets
from greenlight.data.gaps import Frequency, Missing, find_missing, infer_frequency
from greenlight.data.repair import Findings

# Asked first for the changes of daylight saving that a file with offsets shows.
_ZONES = (
    "America/New_York", "Europe/London", "Europe/Berlin", "America/Chicago", "Australia/Sydney", "Europe/Athens",
    "America/Los_Angeles", "America/Toronto", "America/Sao_Paulo", "Asia/Jerusalem", "Pacific/Auckland",
)  # fmt: skip


def check_gaps(frame: pd.DataFrame, findings: Findings, zone: str) -> tuple[pd.DataFrame, Frequency]:
    """Missing rows by the series' own week, in the clock (local or UTC) that lacks fewer.

    Args:
        zone: name of the clock's zone where it is known, as `Clock.zone` has it.
    """
    utc, wall = frame["timestamp"].to_numpy(), frame["wall"].to_numpy()
    on_wall = bool((np.diff(wall) > np.timedelta64(0)).all())
    frequency = infer_frequency(wall if on_wall else utc)
    missing = find_missing(wall if on_wall else utc, frequency)
    if on_wall and not np.array_equal(np.diff(utc), np.diff(wall)):
        other = infer_frequency(utc)
        in_utc = find_missing(utc, other)
        if other.step_seconds is not None and (
            frequency.step_seconds is None or len(in_utc.after) < len(missing.after)
        ):
            frequency, missing, on_wall = other, in_utc, False
    if frequency.step_seconds is None:
        text = "the distances between rows have no common step, so gaps can't be told"
        if findings.rules.gaps == "report":
            findings.note("irregular", text, "report")
        else:
            findings.refuse("gaps", [], text)
    if not len(missing.after):
        return frame, frequency
    added = _added(frame, missing, on_wall, zone) if findings.rules.gaps == "forward-fill" else None
    text = _gap_text(frame, missing) + (f"; {len(added)} rows added" if added is not None else "")
    findings.settle("gaps", _lines_after(frame, missing), text)
    if added is None:
        return frame, frequency
    both = pd.concat([frame, added], ignore_index=True)
    return both.sort_values("timestamp", kind="stable", ignore_index=True), frequency


def _lines_after(frame: pd.DataFrame, missing: Missing) -> np.ndarray:
    """Line of the row before each gap."""
    return frame["line"].to_numpy()[np.unique(missing.after)]


def _gap_text(frame: pd.DataFrame, missing: Missing) -> str:
    rows, counts = np.unique(missing.after, return_counts=True)
    longest = int(rows[counts.argmax()])
    since = frame["wall"].iloc[longest].isoformat(sep=" ")
    return (
        f"{len(missing.after)} rows missing in {len(rows)} gaps, each later than the row of the line named; "
        f"the longest of {counts.max()} rows after {since}"
    )


def _added(frame: pd.DataFrame, missing: Missing, on_wall: bool, zone: str) -> pd.DataFrame:
    """Flat rows at the close before each gap, volume 0 (unknown where it was unknown), at times that the clock has."""
    added = frame.iloc[missing.after].copy()
    clock, other = ("wall", "timestamp") if on_wall else ("timestamp", "wall")
    added[clock] += missing.offset
    added["offset"] = _offsets(frame, missing, added[clock].to_numpy(), on_wall, zone)
    added = added[added["offset"].notna().to_numpy() | frame["offset"].isna().all()]
    ahead = pd.to_timedelta(added["offset"].fillna(0.0), unit="s")
    added[other] = added[clock] - ahead if on_wall else added[clock] + ahead
    for name in ("open", "high", "low"):
        added[name] = added["close"]
    added["volume"] *= 0.0
    added["amount"] *= 0.0
    fresh = ~added["timestamp"].isin(frame["timestamp"]) & ~added["timestamp"].duplicated()
    between = added["timestamp"] > frame["timestamp"].iloc[0]
    return added[fresh & between]


def _offsets(frame: pd.DataFrame, missing: Missing, times: np.ndarray, on_wall: bool, zone: str) -> np.ndarray:
    """Offset of each missing row: of the rows around it where they agree, else of the zone that fits the whole file."""
    offset = frame["offset"].to_numpy()
    before, after = offset[missing.after], offset[np.minimum(missing.after + 1, len(offset) - 1)]
    if not (before != after).any() or np.isnan(offset).all():
        return before
    found = zone if zone in available_timezones() else _zone_of(frame)
    if not found:
        return after
    return np.where(before == after, before, local_offsets(times, found, instants=not on_wall))


def _zone_of(frame: pd.DataFrame) -> str:
    """A zone whose offsets are those of the file in every row; "" where there is none."""
    utc, offset = frame["timestamp"].to_numpy(), frame["offset"].to_numpy()
    for name in (*_ZONES, *sorted(available_timezones())):
        if np.array_equal(local_offsets(utc, name, instants=True), offset):
            return name
    return ""
