"""Times as exports write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_INTEGER = re.compile(r"(\d+)(?:\.0*)?")
_OFFSET = re.compile(r"(?<=[T ])\d\d(?::?\d\d(?::?\d\d(?:\.\d+)?)?)?\s*(?:Z|[+-]\d\d(?::?\d\d)?)$")
_OFFSET_ITSELF = re.compile(r"\s*(?:Z|[+-]\d\d(?::?\d\d)?)$")
_ZONE_WORD = re.compile(r"\s*(UTC|GMT)$")
_YEAR_FIRST = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)(.*)")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?!\d)(.*)")
_WORDED = ("%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d %Y")
_EPOCH_UNITS = {9: ("s", 10**9), 10: ("s", 10**9), 13: ("ms", 10**6), 15: ("us", 10**3), 16: ("us", 10**3)}
_EPOCH_UNITS |= {18: ("ns", 1), 19: ("ns", 1)}


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes:
        utc: [rows] datetime64[ns], NaT where unparseable.
        wall: [rows] datetime64[ns], the local time that was written; equal to `utc` where no offset was.
        form: how they are written, such as `ISO 8601`, `Unix milliseconds`, `month/day/year`.
        zoned: whether the cells have offsets.
    """

    utc: np.ndarray
    wall: np.ndarray
    form: str
    zoned: bool


def read_times(cells: list[str]) -> Times:
    """Read a column of times; a time without an offset is taken for UTC.

    Understood are ISO 8601, year/month/day, Unix times of one unit (s, ms, us or ns by their length), compact
    dates (20240131), month/day/year or day/month/year where the column as a whole leaves no doubt which, and
    English dates in words. Where some cells have an offset and others none, the latter are unparseable.
    """
    cells = [cell.strip() for cell in cells]
    if cells and _ISO_DAY.fullmatch(cells[0]) and set(map(len, cells)) == {10}:
        # Plain dates, by far the most frequent form, are read faster by NumPy.
        try:
            times = _plausible(np.array(cells, dtype="datetime64[D]").astype("datetime64[ns]"))
            return Times(times, times, "ISO 8601", False)
        except ValueError:
            pass
    filled = [cell for cell in cells if cell]
    if filled and sum(_INTEGER.fullmatch(cell) is not None for cell in filled) * 2 > len(filled):
        return _integers(cells)
    form = "ISO 8601"
    if not all(_ISO_DAY.match(cell) for cell in filled):
        cells, form = _to_iso(cells)
    if any(cell.endswith(("UTC", "GMT")) for cell in cells):
        cells = [_ZONE_WORD.sub("Z", cell) for cell in cells]
    return _iso(cells, form)


def _iso(cells: list[str], form: str) -> Times:
    # One pass over the text tells whether offsets are possible at all: most files have plain dates.
    zoned = [False] * len(cells)
    if any(len(cell) > 12 for cell in cells):
        zoned = [_OFFSET.search(cell) is not None for cell in cells]
    utc = _parsed(cells)
    if not any(zoned):
        return Times(utc, utc, form, False)
    wall = _parsed([_strip_offset(cell) for cell in cells])
    without = ~np.array(zoned, dtype=bool)
    utc[without], wall[without] = np.datetime64("NaT"), np.datetime64("NaT")
    return Times(utc, wall, f"{form} with offset", True)


def _strip_offset(cell: str) -> str:
    return _OFFSET_ITSELF.sub("", cell)


def _parsed(cells: list[str]) -> np.ndarray:
    parsed = pd.to_datetime(pd.Series(cells, dtype="str"), format="ISO8601", utc=True, errors="coerce")
    # A year alone, or a bare number, would be read as a date: a day is the least that is asked for.
    times = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[ns]").copy()
    short = np.array([len(cell) < 10 for cell in cells], dtype=bool)
    times[short] = np.datetime64("NaT")
    return _plausible(times)


def _plausible(times: np.ndarray) -> np.ndarray:
    """Times outside 1800 to 2200 are taken for unparseable."""
    outside = (times < np.datetime64("1800-01-01")) | (times >= np.datetime64("2200-01-01"))
    times[outside] = np.datetime64("NaT")
    return times


def _to_iso(cells: list[str]) -> tuple[list[str], str]:
    """Rewrite other forms of dates as ISO 8601; what does not fit stays and is found unparseable."""
    matches = [_YEAR_LAST.fullmatch(cell) for cell in cells]
    parts = [(int(match[1]), int(match[3])) for match in matches if match]
    month_first = any(second > 12 for _, second in parts)
    day_first = any(first > 12 for first, _ in parts)
    doubtful = bool(parts) and month_first == day_first
    result = []
    for cell, match in zip(cells, matches, strict=True):
        year_first = _YEAR_FIRST.fullmatch(cell)
        if year_first:
            result.append(f"{year_first[1]}-{int(year_first[2]):02d}-{int(year_first[3]):02d}{year_first[4]}")
        elif match and not doubtful:
            month, day = (match[1], match[3]) if month_first else (match[3], match[1])
            result.append(f"{match[4]}-{int(month):02d}-{int(day):02d}{match[5]}")
        else:
            result.append("ambiguous" if match else _worded(cell))
    if doubtful:
        form = "month/day/year or day/month/year, undecidable"
    elif parts:
        form = "month/day/year" if month_first else "day/month/year"
    else:
        form = "other dates"
    return result, form


def _worded(cell: str) -> str:
    for form in _WORDED:
        parsed = pd.to_datetime(cell, format=form, errors="coerce")
        if not pd.isna(parsed):
            return parsed.strftime("%Y-%m-%d")
    return cell


def _integers(cells: list[str]) -> Times:
    """Unix times of one unit, or compact dates."""
    matches = [_INTEGER.fullmatch(cell) for cell in cells]
    longest = max(len(match[1]) for match in matches if match)
    if longest == 8:
        compact = [
            f"{cell[:4]}-{cell[4:6]}-{cell[6:8]}" if match else "" for cell, match in zip(cells, matches, strict=True)
        ]
        return _iso(compact, "year month day without separators")
    unit, factor = _EPOCH_UNITS.get(longest, ("", 0))
    times = np.full(len(cells), np.datetime64("NaT"), dtype="datetime64[ns]")
    for row, match in enumerate(matches):
        # A shorter number than the others by more than a digit would be of another unit.
        if unit and match and len(match[1]) >= longest - 1 and int(match[1]) * factor < 2**63:
            times[row] = np.datetime64(int(match[1]) * factor, "ns")
    return Times(times, times, f"Unix times in {unit}" if unit else f"integers of {longest} digits", False)
