"""Times as exports write them, read form by form: 2024-01-31 and 2023-12-05 are one form, and a column has few.

A form is a cell with 9 for each digit. Each is understood once; its cells are then cut by position as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.epochs import read_fractions, read_integers
from greenlight.data.text import characters_in, forms_of, grid_of

_MOST_FORMS = 3000
_FULL = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTHS = {name[:3]: number for number, name in enumerate(_FULL, 1)} | {"sept": 9}
_MONTHS |= {name: number for number, name in enumerate(_FULL, 1)}
_WORD = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATES = {
    "year-month-day": r"(?P<y>9999)(?P<s>[-/.]) ?(?P<m>99?)(?P=s) ?(?P<d>99?)\.?",
    "last": r"(?P<a>99?)(?P<s>[-/.]) ?(?P<b>99?)(?P=s) ?(?P<y>9999|99)",
    "compact": r"(?P<y>9999)(?P<m>99)(?P<d>99)",
    "month in words": rf"(?P<w>(?i:{_WORD}))\.? (?P<d>99?),? (?P<y>9999)",
    "day and month in words": rf"(?P<d>99?)(?P<s>[-/ ]?)(?P<w>(?i:{_WORD}))(?P=s)(?P<y>9999|99)",
    "year and month in words": rf"(?P<y>9999)(?P<s>[-/ ]?)(?P<w>(?i:{_WORD}))(?P=s)(?P<d>99?)",
}
_SEPARATOR = r"(?:[Tt:]|,? ?- ?|,? )"
_CLOCK = r"(?P<H>99?)(?::(?P<M>99)(?::(?P<S>99)(?:[.,](?P<f>9{1,9}))?)?)?(?: ?(?P<p>(?i:[ap]\.?m\.?)))?"
_CLOCK_COMPACT = r"(?P<H>99)(?P<M>99)(?:(?P<S>99)(?:[.,]?(?P<f>9{1,9}))?)?"
_ZONE = r" ?(?:(?P<z>Z|z|UTC|GMT)?(?:(?P<o>[+-])(?P<oh>99)(?::?(?P<om>99))?(?: UTC)?)?)"
_WITH_DATE = [
    (name, re.compile(f"{date}(?:{_SEPARATOR}(?:{clock}){_ZONE})?"))
    for name, date in _DATES.items()
    for clock in ((_CLOCK, _CLOCK_COMPACT) if name == "compact" else (_CLOCK,))
]
_OF_DAY = [re.compile(f"{_CLOCK}{_ZONE}"), re.compile(r"(?P<H>99)(?P<M>99)(?:(?P<S>99)(?:[.,](?P<f>9{1,9}))?)?")]
_NO_TIME = np.datetime64("NaT", "ns")
_FRACTION = frozenset("0123456789.")
_SPACES = frozenset(" \t\xa0é")
_CJK = r"^(\d{4})\s?[年년]\s?(\d{1,2})\s?[月월]\s?(\d{1,2})\s?[日일]$"


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes:
        wall: [rows] datetime64[ns], as written; NaT where it was not understood.
        offset: [rows] float64, seconds that the clock is ahead of UTC; NaN where no zone was written.
        form: how they are written, such as `ISO 8601`, `Unix times in ms`, `month/day/year`.
        doubt: what leaves the order of day and month open, or "".
        of_day: whether any of the times has a time of day.
        with_clock: whether a time of day is written, were it midnight in all rows.
    """

    wall: np.ndarray
    offset: np.ndarray
    form: str
    doubt: str = ""
    of_day: bool = False
    with_clock: bool = False

    @property
    def bad(self) -> np.ndarray:
        """Mask of the cells that were not understood."""
        return np.isnat(self.wall)

    @property
    def zoned(self) -> bool:
        """Whether offsets are written."""
        return bool((~np.isnan(self.offset)).any())


def read_times(cells: pa.Array, dates: str = "auto") -> Times:
    """Read a column of times.

    Understood are ISO 8601, year/month/day, month/day/year or day/month/year where the column as a whole leaves no
    doubt which, compact dates and times (20240131 093000, 202401310930), English dates in words, Unix times from
    seconds to nanoseconds. Where some cells have an offset and others none, the latter are not understood.

    Args:
        cells: text without spaces around it, or times and numbers with a type.
        dates: `data.dates`.
    """
    if not pa.types.is_string(cells.type):
        return _typed(cells)
    found = characters_in(cells)
    if "é" in found:
        cells = pc.replace_substring_regex(cells, _CJK, r"\1-\2-\3")
    if found & _SPACES:
        cells = pc.replace_substring_regex(cells, r"\s+", " ")
    if "%" in dates:
        wall = np.array(pd.to_datetime(cells.to_pandas(), format=dates, errors="coerce"), dtype="datetime64[ns]")
        return Times(_plausible(wall), np.full(len(wall), np.nan), f"dates as {dates}", of_day=_of_day(wall))
    integers = np.zeros(len(cells), dtype=bool)
    if not found >= {"-", ":"}:
        integers = pc.match_substring_regex(cells, r"^-?\d+(\.0*)?$").to_numpy(zero_copy_only=False)
    if len(cells) and integers.sum() * 2 > np.count_nonzero(pc.not_equal(cells, "").to_numpy(zero_copy_only=False)):
        wall, epoch, form = read_integers(cells, integers)
        known = ~np.isnat(wall)
        offset = np.where(known & epoch, 0.0, np.nan)
        return Times(wall, offset, form, of_day=_of_day(wall), with_clock=bool(epoch.any()))
    if found <= _FRACTION and (read := read_fractions(cells)) is not None:
        wall, epoch, form = read
        return Times(wall, np.where(epoch, 0.0, np.nan), form, of_day=_of_day(wall), with_clock=True)
    return _by_form(cells, dates)


def _typed(cells: pa.Array) -> Times:
    if pa.types.is_timestamp(cells.type):
        zone = cells.type.tz
        utc = np.array(pc.cast(cells, pa.timestamp("ns"), safe=False).to_numpy(zero_copy_only=False), "datetime64[ns]")
        if zone is None:
            return Times(utc, np.full(len(utc), np.nan), "timestamps", of_day=_of_day(utc))
        local = pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(zone).tz_localize(None)
        wall = local.to_numpy().astype("datetime64[ns]")
        return Times(wall, (wall - utc) / np.timedelta64(1, "s"), f"timestamps of {zone}", of_day=_of_day(wall))
    if pa.types.is_date(cells.type):
        wall = np.array(pc.cast(cells, pa.timestamp("ns")).to_numpy(zero_copy_only=False), dtype="datetime64[ns]")
        return Times(wall, np.full(len(wall), np.nan), "dates")
    try:
        whole = pc.cast(cells, pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        nothing = np.full(len(cells), _NO_TIME)
        return Times(nothing, np.full(len(cells), np.nan), f"values of type {cells.type}")
    return read_times(pc.cast(whole, pa.string()).fill_null(""))


def _by_form(cells: pa.Array, dates: str) -> Times:
    groups = by_form(cells)
    understood = [(rows, text, *_match(form)) for form, rows, text in groups if form]
    parts = [(rows, text, name, found) for rows, text, name, found in understood if found]
    names = {name for _, _, name, _ in parts}
    order, doubt = _order([(text, found) for _, text, name, found in parts if name == "last"], dates)
    if "last" in names and len(names) > 1 and dates == "auto":
        doubt = "dates such as 02/01/2024 beside dates of another form"
    wall, offset = np.full(len(cells), _NO_TIME), np.full(len(cells), np.nan)
    words = [found["z"] or found["o"] for _, _, _, found in parts]
    for rows, text, name, found in parts:
        if name != "last" or not doubt:
            wall[rows], offset[rows] = _times_of(text, found, order if name == "last" else "")
    if any(words):
        wall[np.isnan(offset)] = _NO_TIME
    form = order if "last" in names and not doubt else ""
    if doubt:
        form = "month/day/year or day/month/year, undecidable"
    elif not form:
        form = _name_of(parts)
    wall = _plausible(wall)
    offset[np.isnat(wall)] = np.nan
    clock = any(found["H"] is not None for _, _, _, found in parts)
    return Times(wall, offset, f"{form} with offset" if any(words) else form, doubt, _of_day(wall), clock)


def by_form(cells: pa.Array) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(form, rows, characters [rows of the form, length] uint8) of each form of ASCII cells."""
    grid = grid_of(cells)
    if grid is not None:
        form = forms_of(cells[:1])[0].as_py()
        digits = np.array([letter == "9" for letter in form])
        regular = ((grid[:, digits] >= 48) & (grid[:, digits] <= 57)).all()
        if regular and (grid[:, ~digits] == grid[0, ~digits]).all():
            return [(form, np.arange(len(cells)), grid)]
    encoded = forms_of(cells).dictionary_encode()
    forms = encoded.dictionary.to_pylist()
    which = encoded.indices.to_numpy(zero_copy_only=False)
    if len(forms) > _MOST_FORMS:
        return []
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(forms) + 1))
    groups = []
    for place, form in enumerate(forms):
        rows = order[bounds[place] : bounds[place + 1]]
        own = grid_of(cells.take(pa.array(rows)))
        if own is not None:
            groups.append((form, rows, own))
    return groups


def _match(form: str) -> tuple[str, re.Match[str] | None]:
    for name, pattern in _WITH_DATE:
        if found := pattern.fullmatch(form):
            return name, found
    return "", None


def _name_of(parts: list[tuple[np.ndarray, np.ndarray, str, re.Match[str]]]) -> str:
    named = {
        "ISO 8601" if name == "year-month-day" and found["s"] == "-" else
        "year month day without separators" if name == "compact" else "other dates"
        for _, _, name, found in parts
    }  # fmt: skip
    return named.pop() if len(named) == 1 else "dates of several forms" if named else "no known form of dates"


def _field(text: np.ndarray, found: re.Match[str], name: str) -> np.ndarray:
    """[cells] int64, the digits of one field; zeros where the form has none."""
    first, last = found.span(name)
    value = np.zeros(len(text), dtype=np.int64)
    for place in range(first, last if first >= 0 else first):
        value = value * 10 + (text[:, place] - 48)
    return value


def _order(parts: Iterable[tuple[np.ndarray, re.Match[str]]], dates: str) -> tuple[str, str]:
    """(order of day and month where the year is last, what leaves it open)."""
    if dates in ("day-first", "month-first"):
        return ("day/month/year" if dates == "day-first" else "month/day/year"), ""
    firsts, seconds, years, short, dotted = [], [], [], False, True
    for text, found in parts:
        firsts.append(_field(text, found, "a"))
        seconds.append(_field(text, found, "b"))
        years.append(_field(text, found, "y"))
        short |= len(found["y"]) == 2
        dotted &= found["s"] == "."
    if not firsts:
        return "", ""
    first, second, last = (np.concatenate(each) for each in (firsts, seconds, years))
    day_first, month_first = (first > 12).any(), (second > 12).any()
    if dotted and not short and not month_first:
        return "day/month/year", ""  # nobody writes months first with points
    if day_first == month_first:
        return "", "day and month may be either"
    if short and day_first and second.max() <= 12 and last.max() <= 31 and len(np.unique(first)) <= 2:
        # 24/01/02 to 24/03/25: the first may be the year.
        return "", "day, month and year may be in more than one order"
    return ("day/month/year" if day_first else "month/day/year"), ""


def _times_of(text: np.ndarray, found: re.Match[str], order: str) -> tuple[np.ndarray, np.ndarray]:
    """(wall times, offsets) of the cells of one form."""
    groups = found.groupdict()
    year = _field(text, found, "y")
    if len(groups["y"]) == 2:
        year = year + np.where(year <= _this_year() % 100 + 1, 2000, 1900)
    if order:
        day, month = (_field(text, found, name) for name in ("ab" if order == "day/month/year" else "ba"))
    else:
        day = _field(text, found, "d")
        word = groups.get("w")
        month = np.full(len(text), _MONTHS[word.lower()]) if word else _field(text, found, "m")
    seconds, good = _clock(text, found)
    date, real = _date(year, month, day)
    wall = date.astype("datetime64[ns]") + seconds
    wall[~(good & real)] = _NO_TIME
    return wall, _offset(text, found)


def _this_year() -> int:
    return int(np.datetime64("now", "Y").astype(int)) + 1970


def _date(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(dates, mask of those that exist)."""
    real = (month >= 1) & (month <= 12) & (day >= 1)
    months = ((year - 1970) * 12 + np.where(real, month, 1) - 1).astype("datetime64[M]")
    date = months.astype("datetime64[D]") + np.maximum(day - 1, 0)
    return date, real & (date.astype("datetime64[M]") == months)


def _clock(text: np.ndarray, found: re.Match[str]) -> tuple[np.ndarray, np.ndarray]:
    """(timedelta64[ns] since midnight, mask of those that exist)."""
    hour, minute, second = (_field(text, found, name) for name in "HMS")
    half = (found["p"] if "p" in found.re.groupindex else "") or ""
    good = (hour < 24) & (minute < 60) & (second < 60)
    if half:
        good &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + (12 if half.lower().startswith("p") else 0)
    width = len(found["f"] or "")
    fraction = _field(text, found, "f") * 10 ** (9 - width)
    total = ((hour * 60 + minute) * 60 + second) * 10**9 + fraction
    return total.astype("timedelta64[ns]"), good


def _offset(text: np.ndarray, found: re.Match[str]) -> np.ndarray:
    if not (found["z"] or found["o"]):
        return np.full(len(text), np.nan)
    seconds = _field(text, found, "oh") * 3600 + _field(text, found, "om") * 60
    return (-seconds if found["o"] == "-" else seconds).astype(float)


def read_times_of_day(cells: pa.Array) -> np.ndarray | None:
    """[rows] timedelta64[ns] since midnight of 09:30, 9:30 AM, 093000, 0930 or 930; None where they are anything else.

    Cells that are empty or no time are NaT; more than a tenth of them, and it is no column of times of day.
    """
    if pa.types.is_time(cells.type):
        return np.array(pc.cast(pc.cast(cells, pa.time64("ns")), pa.int64()), dtype="timedelta64[ns]")
    if pa.types.is_integer(cells.type):
        cells = pc.cast(cells, pa.string()).fill_null("")
    if not pa.types.is_string(cells.type):
        return None
    cells = pc.replace_substring_regex(cells, r"\s+", " ")
    digits = pc.match_substring_regex(cells, r"^\d{1,6}(\.0)?$")
    if pc.all(digits).as_py():
        cells = pc.replace_substring_regex(cells, r"\.0$", "")
        longest = pc.max(pc.utf8_length(cells)).as_py() or 0
        if longest <= 2:
            # 9 and 10 are hours; 0 alone is midnight.
            cells = pc.binary_join_element_wise(cells, "00", "")
            longest = 4
        cells = pc.utf8_lpad(cells, 4 if longest <= 4 else 6, "0")
    result = np.full(len(cells), np.timedelta64("NaT", "ns"))
    for form, rows, text in by_form(cells):
        for pattern in _OF_DAY:
            found = pattern.fullmatch(form)
            if found and (":" in form or len(form) >= 4 or (found.groupdict().get("p"))):
                since, good = _clock(text, found)
                since[~good] = np.timedelta64("NaT")
                result[rows] = since
                break
    return result if np.isnat(result).sum() * 10 <= len(result) else None


def _of_day(wall: np.ndarray) -> bool:
    known = wall[~np.isnat(wall)]
    return bool((known != known.astype("datetime64[D]")).any())


def _plausible(times: np.ndarray) -> np.ndarray:
    """Times outside 1800 to 2200 are taken for not understood."""
    outside = (times < np.datetime64("1800-01-01")) | (times >= np.datetime64("2200-01-01"))
    times[outside] = _NO_TIME
    return times
