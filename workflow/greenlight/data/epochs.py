"""Whole numbers that are times: Unix times of any unit and calendars without separators, told by plausibility."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NO_TIME = np.datetime64("NaT", "ns")
_UNITS = (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9))
# From 1973 on; before it, seconds have as many digits as dates.
_FIRST = 10**8
_DAY = 86_400
_TICKS = (600_000_000_000_000_000, 680_000_000_000_000_000)
# Fields of yyyymmddHHMMSSfff by number of digits.
_CALENDARS = {8: "yyyymmdd", 10: "yyyymmddHH", 12: "yyyymmddHHMM", 14: "yyyymmddHHMMSS", 17: "yyyymmddHHMMSSfff"}


def read_integers(cells: pa.Array, integers: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Times that are written as whole numbers.

    A calendar reading is taken where it fits every row; else each number is a Unix time of the unit that puts it
    between 1973 and tomorrow. Units may change within a file, as they did at Binance in 2025.

    Args:
        cells: text; integers: mask of those that are whole numbers, `.0` behind them allowed.

    Returns:
        times datetime64[ns] (NaT where not understood), mask of Unix times, the form in words.
    """
    text = pc.replace_substring_regex(cells, r"\.0*$", "")
    text = pc.if_else(pa.array(integers), text, pa.scalar(None, pa.string()))
    rows = np.flatnonzero(integers)
    own = text.take(pa.array(rows))
    lengths = pc.utf8_length(own).to_numpy(zero_copy_only=False)
    fits = lengths <= 19
    rows, own, lengths = rows[fits], own.filter(pa.array(fits)), lengths[fits]
    try:
        numbers = pc.cast(own, pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # 19 digits above what 64 bits hold
        numbers = np.array([min(int(cell), 2**63 - 1) for cell in own.to_pylist()], dtype=np.int64)
    times, epoch = np.full(len(cells), _NO_TIME), np.zeros(len(cells), dtype=bool)
    width = int(np.bincount(lengths).argmax()) if len(lengths) else 0
    if width in _CALENDARS:
        found = _calendar(np.where(lengths == width, numbers, 0), width)
        known = ~np.isnat(found)
        # A calendar needs all rows where the numbers can be Unix times too.
        if known.all() or (known.sum() * 2 > len(known) and width == 8):
            times[rows] = found
            return times, epoch, "year month day without separators" if width == 8 else _CALENDARS[width]
    unix, units = _unix(numbers)
    times[rows] = unix
    epoch[rows] = ~np.isnat(unix)
    return times, epoch, f"Unix times in {' and '.join(units)}" if units else f"integers of {width} digits"


def _calendar(numbers: np.ndarray, width: int) -> np.ndarray:
    """[rows] datetime64[ns] of yyyymmdd…; NaT for what is no date."""
    missing = 17 - width
    if missing:
        numbers = numbers * 10**missing
    fraction, numbers = numbers % 1000, numbers // 1000
    parts = []
    for _ in range(5):
        parts.append(numbers % 100)
        numbers = numbers // 100
    second, minute, hour, day, month = parts
    year = numbers
    real = (year >= 1800) & (year < 2200) & (month >= 1) & (month <= 12) & (day >= 1)
    real &= (hour < 24) & (minute < 60) & (second < 60)
    months = (np.where(real, year - 1970, 0) * 12 + np.where(real, month, 1) - 1).astype("datetime64[M]")
    date = months.astype("datetime64[D]") + np.where(real, day - 1, 0)
    real &= date.astype("datetime64[M]") == months
    clock = ((hour * 60 + minute) * 60 + second) * 1000 + fraction
    times = date.astype("datetime64[ns]") + clock.astype("timedelta64[ms]").astype("timedelta64[ns]")
    times[~real] = _NO_TIME
    return times


def _unix(numbers: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """([rows] datetime64[ns], the units that occur)."""
    last = int(np.datetime64("now", "s").astype(np.int64)) + 2 * _DAY
    times, units = np.full(len(numbers), _NO_TIME), []
    for unit, factor in _UNITS:
        # All that is plausible in a finer unit is beyond tomorrow in a coarser one.
        own = (numbers >= _FIRST * factor) & (numbers <= last * factor)
        if unit == "ns":
            # Ticks of .NET, tenths of microseconds since the year 1, are nanoseconds of 1989 to 1991 as well.
            own &= (numbers < _TICKS[0]) | (numbers > _TICKS[1])
        if own.any():
            units.append(unit)
            times[own] = (numbers[own] * (10**9 // factor)).astype("datetime64[ns]")
    if units == ["s"] or not units:
        # Daily histories in seconds begin before 1973, and before 1970 below zero.
        early = (numbers < _FIRST) & (numbers >= -5_400_000_000) & (numbers % 60 == 0)
        if (units or not (numbers % _DAY).any()) and early.any():
            units = units or ["s"]
            times[early] = (numbers[early] * 10**9).astype("datetime64[ns]")
    return times, units


def read_fractions(cells: pa.Array) -> tuple[np.ndarray, np.ndarray, str] | None:
    """The same for Unix times in seconds with a fraction, such as 1704153600.5; None for a column of anything else."""
    filled = pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)
    form = r"^(?P<whole>\d{9,10})\.(?P<fraction>\d{1,9})$"
    if not pc.all(pc.match_substring_regex(filled[:100], form)).as_py():
        return None
    parts = pc.extract_regex(filled, form)
    if not pc.all(pc.equal(parts.is_valid(), filled.is_valid())).as_py():
        return None
    whole = pc.cast(pc.struct_field(parts, "whole"), pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    fraction = pc.utf8_rpad(pc.struct_field(parts, "fraction"), 9, "0")
    times, units = _unix(whole)
    times = times + pc.cast(fraction, pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).astype("timedelta64[ns]")
    return times, ~np.isnat(times), "Unix times in s" if units else "numbers with a fraction"
