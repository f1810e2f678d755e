"""When each row was: the columns of times, the wall clock that the file has, and the instant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.columns import Layout, listed
from greenlight.data.names import ENDS, TIMES, TIMES_OF_DAY, ZONES, is_time, normal_name, without_unit
from greenlight.data.options import ReadingOptions, paste, yaml_word
from greenlight.data.repair import Findings
from greenlight.data.table import Table
from greenlight.data.times import Times, read_times, read_times_of_day
from greenlight.errors import UserError

UNKNOWN = "unknown"
_SAMPLE = 2000
_NO_TIME = np.datetime64("NaT", "ns")
_ORDER = {normal_name(name): place for place, name in reversed(list(enumerate(TIMES)))}
_TIMES_OF_DAY = frozenset(normal_name(name) for name in TIMES_OF_DAY)
_ENDS = frozenset(normal_name(name) for name in ENDS)
_ZONE_NAMES = frozenset(normal_name(name) for name in ZONES)
_NAMELESS = re.compile(r"|index|level 0|unnamed( \d+)*")
_ZONE_WORD = r"\s+\(?(?:[A-Z]{2,5}|[A-Z][A-Za-z]+/[A-Za-z_/]+)\)?$"
_NO_ZONE = ("AM", "PM", "UTC", "GMT")
_UTC_NAME = re.compile(r"(?i)(?:^|[^a-z])(?:utc|gmt)(?:\s*([+-])\s*(\d{1,2})(?::?(\d\d))?)?(?:$|[^a-z])")


@dataclass(frozen=True)
class Clock:
    """The times of a table.

    Attributes:
        wall: [rows] datetime64[ns] as the file writes them; NaT where not understood.
        utc: [rows] the instant; the wall time where the zone is unknown.
        offset: [rows] float64 seconds ahead of UTC; NaN where unknown.
        zone: in words: a name, an offset, several, UTC or `unknown`.
        columns: index of the columns that were used.
        times: the column of times as it was read, for messages.
    """

    wall: np.ndarray
    utc: np.ndarray
    offset: np.ndarray
    zone: str
    columns: tuple[int, ...]
    times: Times


@dataclass(frozen=True)
class _Candidate:
    """A column of times, with a time of day from another where it has none."""

    at: int
    of_day: int | None
    sample: np.ndarray
    times: Times

    @property
    def unique(self) -> float:
        known = self.sample[~np.isnat(self.sample)]
        return len(np.unique(known)) / max(len(known), 1)

    @property
    def fine(self) -> bool:
        known = self.sample[~np.isnat(self.sample)]
        return bool((known != known.astype("datetime64[D]")).any())

    @property
    def whole(self) -> bool:
        """Whether all times are of whole minutes, as those of bars are."""
        known = self.sample[~np.isnat(self.sample)]
        return bool((known == known.astype("datetime64[m]")).all())

    @property
    def epoch(self) -> bool:
        return self.times.form.startswith("Unix")


def find_clock(path: str, table: Table, layout: Layout, options: ReadingOptions, findings: Findings) -> Clock:
    """Find and read the times of the rows.

    Raises:
        UserError: no column holds times.
    """
    used = set(layout.used.values())
    free = {at: name for at, name in enumerate(layout.names) if at not in used}
    chosen, others = _choose(path, table, layout, free, options, findings)
    times = read_times(_cells(table.columns[chosen.at], options), options.dates)
    wall, columns = times.wall, [chosen.at]
    if chosen.of_day is not None:
        since = read_times_of_day(table.columns[chosen.of_day])
        wall = wall + since if since is not None else np.full(len(wall), _NO_TIME)
        columns.append(chosen.of_day)
    offset, zone, more = _offsets(path, table, chosen, times, wall, others, free, options, findings)
    wall = wall.copy()
    wall[np.isnan(offset) & (zone != UNKNOWN)] = _NO_TIME
    shift = np.nan_to_num(offset).astype("timedelta64[s]").astype("timedelta64[ns]")
    if chosen.epoch:
        wall += shift  # Unix times are instants; the wall clock is what the zone makes of them
    columns += [more] if more is not None else []
    of_day = bool((wall[~np.isnat(wall)] != wall[~np.isnat(wall)].astype("datetime64[D]")).any())
    if zone == UNKNOWN and of_day:
        findings.note("time_zone", "times without a zone", "read as local to the exchange, zone unknown", [])
    elif zone != UNKNOWN and not (zone == "UTC" and not of_day and not times.zoned):
        findings.note("time_zone", f"times in {zone}", "kept as written, beside the instant in UTC", [])
    if times.form not in ("ISO 8601", "ISO 8601 with offset") and not times.bad.all():
        findings.note("time_form", f"times are {times.form}", "read", [])
    return Clock(wall, wall - shift, offset, zone, tuple(dict.fromkeys(columns)), times)


def _cells(cells: pa.Array, options: ReadingOptions) -> pa.Array:
    """The cells without words for the zone, where the configuration names it."""
    if options.timezone == "auto" or not pa.types.is_string(cells.type):
        return cells
    return pc.if_else(_with_zone_word(cells), pc.replace_substring_regex(cells, _ZONE_WORD, ""), cells)


def _with_zone_word(cells: pa.Array) -> pa.Array:
    plain = pc.match_substring_regex(cells, rf"\s(?:{'|'.join(_NO_ZONE)})$")
    return pc.and_(pc.match_substring_regex(cells, _ZONE_WORD), pc.invert(plain))


def _choose(
    path: str, table: Table, layout: Layout, free: Mapping[int, str], options: ReadingOptions, findings: Findings
) -> tuple[_Candidate, list[_Candidate]]:
    """(the column of times, the other candidates)."""
    if "timestamp" in layout.chosen:
        return _candidate(table, layout.chosen["timestamp"], layout.chosen.get("time"), options), []
    named = sorted((at for at, name in free.items() if is_time(name)), key=lambda at: _place(free[at]))
    of_day = [at for at in free if normal_name(free[at]) in _TIMES_OF_DAY or without_unit(free[at])[0] in _TIMES_OF_DAY]
    of_day = [at for at in of_day if read_times_of_day(table.columns[at][:_SAMPLE]) is not None]
    if "time" in layout.chosen:
        of_day = [layout.chosen["time"]]
    nameless = [at for at, name in free.items() if _NAMELESS.fullmatch(normal_name(name))]
    ends = [at for at, name in free.items() if normal_name(name) in _ENDS]
    found: list[_Candidate] = []
    for group in ([at for at in named if at not in ends], nameless, [at for at in free if at == 0], ends):
        own = [_candidate(table, at, None, options) for at in group if at not in of_day]
        found = [candidate for candidate in own if _holds_times(candidate)]
        if found:
            break
    if not found:
        if of_day:
            raise UserError(f"{path}: {layout_name(table, of_day[0])!r} holds times of day, and no column holds dates")
        if not (named or nameless):
            raise UserError(_no_times(path, table))
        return _candidate(table, (named or nameless)[0], None, options), []
    found = [_with_of_day(candidate, of_day, table, options) for candidate in found]
    best = _best(found, table, findings)
    return best, [candidate for candidate in found if candidate is not best]


def layout_name(table: Table, at: int) -> str:
    """The file's name of a column."""
    return table.header[at] or f"column {at + 1}"


def _no_times(path: str, table: Table) -> str:
    where = f"line {table.header_line}" if table.header_line else "the file"
    dates = [
        name for name, column in zip(table.header, table.columns, strict=True)
        if name and not read_times(column[:_SAMPLE]).bad.all()
    ]  # fmt: skip
    choice = paste("columns", f"{{timestamp: {yaml_word(dates[0]) if dates else 'NAME'}}}")
    return (
        f"{path}: {where} has no column of dates (such as Date, timestamp or ds); found columns {listed(table.header)}"
        f". Expected a header such as Date,Open,High,Low,Close,Volume, or {choice}"
    )


def _place(name: str) -> int:
    return min(_ORDER.get(form, len(_ORDER)) for form in (normal_name(name), without_unit(name)[0]))


def _candidate(table: Table, at: int, of_day: int | None, options: ReadingOptions) -> _Candidate:
    times = read_times(_cells(table.columns[at][:_SAMPLE], options), options.dates)
    sample = times.wall
    if of_day is not None:
        since = read_times_of_day(table.columns[of_day][:_SAMPLE])
        if since is None:
            raise UserError(f"data.columns: time is {layout_name(table, of_day)!r}, which holds no times of day")
        sample = sample + since
    return _Candidate(at, of_day, sample, times)


def _holds_times(candidate: _Candidate) -> bool:
    bad = candidate.times.bad
    return bool(candidate.times.doubt) or bad.sum() * 2 < len(bad) or (len(bad) == 0)


def _with_of_day(candidate: _Candidate, of_day: Sequence[int], table: Table, options: ReadingOptions) -> _Candidate:
    if not of_day or candidate.times.of_day or candidate.epoch:
        return candidate
    return _candidate(table, candidate.at, of_day[0], options)


def _best(found: Sequence[_Candidate], table: Table, findings: Findings) -> _Candidate:
    """The candidate that can be the time of the bar: the finer one of those that agree, a plausible one of others."""
    best = found[0]
    for other in found[1:]:
        apart = np.abs(best.sample - other.sample)
        apart = apart[~np.isnat(apart)]
        agree = len(apart) == 0 or np.mean(apart <= np.timedelta64(36, "h")) >= 0.9
        if agree:
            last_trade = other.whole and not best.whole and other.fine and other.unique >= best.unique
            if last_trade or (best.epoch and not other.epoch and _local(best, other)):
                best = other
                continue
            finer = (other.fine and not best.fine and not best.times.with_clock) or other.unique > best.unique * 1.1
            if finer and other.unique >= best.unique:
                best = other
            continue
        keep = best
        if other.unique > best.unique * 1.1 or (best.epoch and not other.epoch and other.unique >= best.unique * 0.9):
            best = other
        names = [layout_name(table, each.at) for each in (keep, other)]
        first = [str(each.sample[0].astype("datetime64[s]")) if len(each.sample) else "" for each in (keep, other)]
        text = (
            f"columns {names[0]!r} and {names[1]!r} are of different times ({first[0]} and {first[1]} in the first row)"
        )
        findings.note("columns", text, f"{layout_name(table, best.at)!r} is used", [])
    return best


def _of_utc(name: str) -> bool:
    said = _UTC_NAME.search(name)
    return said is not None and not said[1]


def _local(unix: _Candidate, written: _Candidate) -> bool:
    """Whether dates are the wall clock of Unix times beside them; an hour that occurs twice is told by the latter."""
    ahead = (written.sample - unix.sample) / np.timedelta64(1, "s")
    known = ahead[~np.isnan(ahead)]
    return written.unique >= unix.unique * 0.95 and _is_offset(known) and bool(known.any())


def _is_offset(ahead: np.ndarray) -> bool:
    """Whether seconds between two clocks are those of a zone: quarters of hours, two of them at most."""
    within = bool((ahead % 900 == 0).all()) and bool((np.abs(ahead) <= 14 * 3600).all())
    return len(ahead) > 0 and within and len(np.unique(ahead)) <= 2


def _offsets(
    path: str,
    table: Table,
    chosen: _Candidate,
    times: Times,
    wall: np.ndarray,
    others: Sequence[_Candidate],
    free: Mapping[int, str],
    options: ReadingOptions,
    findings: Findings,
) -> tuple[np.ndarray, str, int | None]:
    """(offset of each row, the zone in words, a further column that it was taken from)."""
    zones = [at for at, name in free.items() if normal_name(name) in _ZONE_NAMES]
    if times.zoned and not chosen.epoch:
        return times.offset, zone_in_words(times.offset), None
    if options.timezone != "auto":
        return local_offsets(wall, options.timezone, chosen.epoch), options.timezone, None
    if zones:
        told = _offsets_of_column(table.columns[zones[0]], wall, chosen.epoch)
        if told is not None:
            names = [str(name) for name in pc.unique(table.columns[zones[0]]).to_pylist()]
            known = len(names) == 1 and names[0] in available_timezones()
            return told, names[0] if known else zone_in_words(told), zones[0]
        text = f"{layout_name(table, zones[0])!r} names zones that are not known"
        findings.note("time_zone", text, "not used", [])
    if chosen.epoch:
        return times.offset, zone_in_words(times.offset), None
    for other in others:
        if other.epoch or _of_utc(table.header[other.at]):
            ahead = (wall - read_times(table.columns[other.at]).wall) / np.timedelta64(1, "s")
            if _is_offset(ahead[~np.isnan(ahead)]):
                return ahead, zone_in_words(ahead), other.at
    said = _UTC_NAME.search(table.header[chosen.at]) or (
        _UTC_NAME.search(table.header[chosen.of_day]) if chosen.of_day is not None else None
    )
    if said:
        seconds = int(said[2] or 0) * 3600 + int(said[3] or 0) * 60
        seconds = -seconds if said[1] == "-" else seconds
        offset = np.where(np.isnat(wall), np.nan, float(seconds))
        return offset, zone_in_words(offset), None
    return np.full(len(wall), np.nan), UNKNOWN, None


def _offsets_of_column(cells: pa.Array, wall: np.ndarray, instants: bool) -> np.ndarray | None:
    """Offset of each row by a column of zones: names, offsets, or seconds; None where one is not known."""
    if not pa.types.is_string(cells.type):
        cells = pc.cast(cells, pa.string()).fill_null("")
    offset = np.full(len(wall), np.nan)
    for zone in pc.unique(cells).to_pylist():
        rows = pc.equal(cells, zone).to_numpy(zero_copy_only=False)
        if re.fullmatch(r"[+-]?\d{1,5}(\.0)?", zone):
            seconds = float(zone)
            offset[rows] = seconds if abs(seconds) > 14 else seconds * 3600
            continue
        try:
            offset[rows] = local_offsets(wall[rows], zone, instants)
        except (KeyError, ValueError, OSError):
            return None
    return offset


def local_offsets(wall: np.ndarray, zone: str, instants: bool = False) -> np.ndarray:
    """Seconds ahead of UTC of wall times in a zone; NaN where the time does not exist there, or is one of two.

    An hour that occurs twice is told by the order of the rows. With `instants`, the times are in UTC.
    """
    fixed = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d\d):?(\d\d)|UTC|GMT|Z", zone)
    if fixed:
        seconds = (int(fixed[2]) * 3600 + int(fixed[3]) * 60) * (-1 if fixed[1] == "-" else 1) if fixed[1] else 0
        return np.where(np.isnat(wall), np.nan, float(seconds))
    known = ZoneInfo(zone)
    times = pd.DatetimeIndex(wall)
    if instants:
        local = times.tz_localize("UTC").tz_convert(known).tz_localize(None)
        return ((local - times) / pd.Timedelta(seconds=1)).to_numpy(dtype=float)
    backwards = len(wall) > 1 and wall[0] > wall[-1]
    ordered = times[::-1] if backwards else times
    try:
        local = ordered.tz_localize(known, ambiguous="infer", nonexistent="NaT")
    except ValueError:
        local = ordered.tz_localize(known, ambiguous="NaT", nonexistent="NaT")
    utc = local.tz_convert("UTC").tz_localize(None)
    ahead = ((ordered - utc) / pd.Timedelta(seconds=1)).to_numpy(dtype=float)
    return ahead[::-1] if backwards else ahead


def zone_in_words(offset: np.ndarray) -> str:
    """UTC, +09:00, or the two or three offsets that occur."""
    found = np.unique(offset[~np.isnan(offset)])
    if not len(found):
        return UNKNOWN
    if len(found) == 1 and found[0] == 0:
        return "UTC"
    shown = [offset_text(seconds) for seconds in found[:3].tolist()]
    return ", ".join(shown) + (" and more" if len(found) > 3 else "")


def offset_text(seconds: float) -> str:
    """+09:00 for 32400 seconds."""
    minutes = int(abs(seconds)) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def zone_word(cells: Sequence[str]) -> str:
    """The word for a zone that cells end with, such as EST or US/Eastern; "" where they have none."""
    for cell in cells:
        found = re.search(_ZONE_WORD, cell)
        if found and found[0].strip() not in _NO_ZONE:
            return found[0].strip(" ()")
    return ""
