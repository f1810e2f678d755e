"""Reading a file of prices as exports really look; problems are reported, and repaired only by rule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.checks import (
    check_duplicates,
    check_order,
    check_prices,
    check_ranges,
    note_future,
    note_large_moves,
    note_last_row,
)
from greenlight.data.clock import Clock, find_clock, layout_name, zone_word
from greenlight.data.columns import PRICES, Layout, find_layout, listed
from greenlight.data.fill import check_gaps
from greenlight.data.header import is_symbol_name
from greenlight.data.identity import check_symbol, check_tickers
from greenlight.data.names import normal_name
from greenlight.data.options import ReadingOptions, paste
from greenlight.data.repair import Findings, RepairRules
from greenlight.data.series import Series
from greenlight.data.source import Source
from greenlight.data.symbols import symbol_of
from greenlight.data.table import Table, read_table
from greenlight.data.units import scale, settle_units
from greenlight.data.values import examples, read_cells, settle_prices, settle_volume, with_adjusted
from greenlight.errors import UserError
from greenlight.files import sha256_of

_SHOWN = 3
# Forms of dates that are read only where the configuration says so.
_PATTERNS = (
    "%y%m%d", "%a %b %d, %Y", "%A, %B %d, %Y", "%a %d %b %Y", "%d. %b. %Y", "%d. %B %Y", "%Y-%m-%d %I-%p", "%Y-%j",
    "%Y%j", "%b %Y", "%B %Y", "%Y-%m", "%a, %d %b %Y %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%d%b%Y", "%d %b %y",
    "%b-%d-%Y", "%a, %d %b %Y", "%A, %d %B %Y", "%A %d %B %Y", "%Y %m %d", "%d. %b %Y", "%Y-%m-%d %H.%M",
    "%d.%m.%Y %H.%M", "%Y-%m-%d_%H:%M:%S", "%Y-%m-%d_%H-%M-%S", "%d.%m.%Y %H:%M Uhr", "%H:%M:%S %Y-%m-%d",
    "%Y-%m-%d %Hh%M", "%a, %d %b %Y %H:%M:%S GMT",
)  # fmt: skip


def read_series(
    path: Path,
    rules: RepairRules,
    minimum_rows: int = 2,
    options: ReadingOptions | None = None,
    symbol: str | None = None,
) -> Series:
    """Read the prices of one symbol.

    Args:
        path: a CSV, packed or not, or parquet; see workflow/docs/data.md for the forms that are understood.
        rules: what to do about each problem, `data.repair` in the configuration.
        minimum_rows: rows that are needed after repair: a context, the horizons and what else is configured.
        options: what the configuration says about the file, `data.…`.
        symbol: whose prices they should be; the file's name where it is not given.

    Raises:
        UserError: the file can't be read, lacks columns, has too few rows, or has problems whose rule is
            `refuse`: all of them in one message, with line numbers and the rules to choose from.
    """
    path, options = Path(path), options or ReadingOptions()
    symbol = symbol or symbol_of(path)
    findings = Findings(rules)
    source = Source(path, options.largest_file_mib)
    table = read_table(source, symbol, options, findings)
    findings.rows = max(findings.rows, len(table.lines))
    check_tickers(str(path), table)
    layout = find_layout(str(path), table, symbol, options, findings)
    clock = find_clock(str(path), table, layout, options, findings)
    used = {*layout.used.values(), *clock.columns, *([layout.added] if layout.added is not None else [])}
    check_symbol(str(path), table, layout, symbol, options, used, findings)
    ignored = [at for at, name in enumerate(table.header) if name and at not in used]
    if ignored:
        names = [table.header[at] for at in ignored]
        findings.note("ignored_columns", f"columns {listed(names)}", "not used", [])
    frame, blank, prices = _frame(path, table, layout, clock, options, findings)
    # What is refused is left out of the checks that follow, so that one message can name all problems.
    frame = check_prices(frame, findings, blank)
    frame = check_order(frame, findings)
    frame = check_duplicates(frame, findings, lambda lines: _telling_apart(table, lines, used))
    frame = check_ranges(frame, findings)
    note_large_moves(frame, findings)
    note_future(frame, findings)
    frame, frequency = check_gaps(frame, findings, clock.zone)
    note_last_row(frame, frequency, findings)
    if findings.refused:
        raise UserError(f"{path}: the file has problems and no rule to repair them\n{findings.refusal()}")
    needed = max(minimum_rows, 2)
    if len(frame) < needed:
        raise UserError(
            f"{path}: too few rows: {len(frame)} usable of {len(table.lines)} below the header, expected "
            f"{needed} or more; bring more history, or configure a shorter context length or horizon, or fewer "
            "windows"
        )
    named = _names(table, prices, clock)
    return Series(
        frame.drop(columns="line").reset_index(drop=True),
        tuple(findings.found),
        named,
        frequency,
        path.name,
        sha256_of(path),
        clock.zone,
        tuple(table.header[at] for at in ignored),
    )


def _frame(
    path: Path, table: Table, layout: Layout, clock: Clock, options: ReadingOptions, findings: Findings
) -> tuple[pd.DataFrame, list[str], Layout]:
    """(all columns of the series and line, in the order of the file; names of empty columns; what was used)."""
    drop = _settle_times(table, clock, findings)
    numbers = read_cells(table, layout, clock, options, findings)
    values, blank, prices = with_adjusted(table, layout, numbers, findings)
    scale(path, table, values, options, findings)
    drop |= settle_prices(table, layout, numbers, findings, drop)
    frame = pd.DataFrame({"line": table.lines, "timestamp": clock.utc})
    unknown = np.full(len(frame), np.nan)
    for name in (*PRICES, "volume", "amount"):
        frame[name] = values.get(name, values["close"] if name in PRICES else unknown)
    frame["wall"], frame["offset"] = clock.wall, clock.offset
    settle_volume(frame, table, layout, numbers, findings, drop)
    settle_units(frame, table, layout, findings)
    return (frame[~drop].reset_index(drop=True) if drop.any() else frame), blank, prices


def _settle_times(table: Table, clock: Clock, findings: Findings) -> np.ndarray:
    """Mask of rows whose time was not understood."""
    bad, cells = np.isnat(clock.wall), table.columns[clock.columns[0]]
    if not bad.any():
        return bad
    times = clock.times
    shown = examples(cells, bad & times.bad if (bad & times.bad).any() else bad)
    lines = table.lines[bad]
    if times.doubt:
        text = f"{shown} can't be read as a date ({times.form}: {times.doubt})"
        findings.refuse("unparseable_dates", lines, text, f"P{paste('dates', 'day-first')[1:]}, or month-first")
        return bad
    word = zone_word(_first_cells(cells, bad))
    if word:
        zone = word if "/" in word else "America/New_York"
        text = f"{shown} can't be read as a date (the zone {word!r} is not known for sure)"
        remedy = f"Name the zone: {paste('timezone', zone)}"
        findings.settle("unparseable_dates", lines, text, remedy)
        return bad
    wanted = "with an offset, as the others have" if times.zoned else "such as 2024-01-31"
    text = f"{shown} can't be read as a date ({times.form}); expected one {wanted}"
    if bad.sum() * 10 > len(bad):
        text += _pattern_for(_first_cells(cells, bad))
    repeated = np.isin(cells.take(pa.array(np.flatnonzero(bad))).to_pylist(), [table.header[clock.columns[0]]])
    if repeated.any():
        text += " (the header is repeated there)"
    if len(clock.columns) > 1 and not times.bad[bad].any():
        text = f"times of day in {layout_name(table, clock.columns[1])!r} can't be read, or do not exist on that day"
    elif clock.zone not in ("unknown", "UTC") and not times.bad[bad].any():
        text = f"{shown}: a time that does not exist in {clock.zone}, or that occurs twice there"
    findings.settle("unparseable_dates", lines, text)
    return bad


def _pattern_for(cells: Sequence[str]) -> str:
    """The pattern that would read some cells, as a key; "" where none of the usual ones does."""
    if all(re.fullmatch(r"[\d.]+[eE]\+?\d+", cell) for cell in cells):
        return "; Unix times in scientific notation may have lost digits: export them as whole numbers"
    if all(re.fullmatch(r"[2-6]\d{4}(\.\d+)?", cell) for cell in cells):
        return "; these look like the day numbers of a spreadsheet: format the column as dates and export it again"
    for pattern in _PATTERNS:
        if pd.to_datetime(pd.Series(cells), format=pattern, errors="coerce").notna().all():
            return f"; to read them as {pattern}, {paste('dates', repr(pattern))}"
    return ""


def _telling_apart(table: Table, lines: np.ndarray, used: set[int]) -> str:
    """The column that tells rows of one time apart, as a sentence; "" where there is none."""
    rows = pa.array(np.flatnonzero(np.isin(table.lines, lines)))
    best: tuple[int, int] | None = None
    for at, name in enumerate(table.header):
        if at in used:
            continue
        cells = table.columns[at].take(rows)
        count = len(pc.unique(cells))
        text = pa.types.is_string(cells.type) and not pc.all(pc.match_substring_regex(cells, r"^[\d.,%+-]*$")).as_py()
        rank = (
            3
            if is_symbol_name(name)
            else 2
            if "time" in normal_name(name) or "hour" in normal_name(name)
            else int(text)
        )
        if count > 1 and rank and (best is None or rank > best[0]):
            best = (rank, at)
    if best is None:
        return ""
    shown = examples(table.columns[best[1]].take(rows), np.ones(len(rows), dtype=bool))
    return f"; the column {layout_name(table, best[1])!r} tells them apart ({shown})"


def _names(table: Table, layout: Layout, clock: Clock) -> dict[str, str | None]:
    """The file's names of the columns that were used; None where there is none."""
    names: dict[str, str | None] = {
        "timestamp": " + ".join(layout_name(table, at) for at in clock.columns) if any(table.header) else None
    }
    if not any(table.header[at] for at in clock.columns):
        names["timestamp"] = "(nameless)" if any(table.header) else layout_name(table, clock.columns[0])
    for name in (*PRICES, "volume", "amount"):
        names[name] = layout_name(table, layout.used[name]) if name in layout.used else None
    if layout.added is not None:
        names["volume"] = f"{names['volume']} + {layout_name(table, layout.added)}"
    return names


def _first_cells(cells: pa.Array, mask: np.ndarray) -> Sequence[str]:
    return [str(cell) for cell in cells.take(pa.array(np.flatnonzero(mask)[:_SHOWN])).to_pylist()]
