"""Reading a CSV of prices as exports really look; problems are reported, and repaired only by rule."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from greenlight.data.checks import (
    check_duplicates,
    check_gaps,
    check_order,
    check_prices,
    check_ranges,
    note_large_moves,
)
from greenlight.data.columns import PRICES
from greenlight.data.numbers import Numbers, read_numbers
from greenlight.data.repair import Findings, RepairRules
from greenlight.data.series import Series
from greenlight.data.table import Table, read_table
from greenlight.data.times import Times, read_times
from greenlight.errors import UserError

_SHOWN = 3


def read_series(path: Path, rules: RepairRules, minimum_rows: int = 2) -> Series:
    """Read the prices of one symbol.

    Args:
        path: a CSV; see README.md in trainingdata/ for the forms that are understood.
        rules: what to do about each problem, `data.repair` in the configuration.
        minimum_rows: rows that are needed after repair: a context, the horizons and what else is configured.

    Raises:
        UserError: the file can't be read, lacks columns, has too few rows, or has problems whose rule is
            `refuse`: all of them in one message, with line numbers and the rules to choose from.
    """
    path = Path(path)
    raw = _bytes(path)
    findings = Findings(rules)
    table = read_table(path, raw, findings)
    frame = _frame(table, findings)
    # What is refused is left out of the checks that follow, so that one message can name all problems.
    frame = check_prices(frame, findings)
    frame = check_order(frame, findings)
    frame = check_duplicates(frame, findings)
    frame = check_ranges(frame, findings)
    note_large_moves(frame, findings)
    frame, frequency = check_gaps(frame, findings)
    refusal = findings.refusal()
    if refusal:
        raise UserError(f"{path}: the file has problems and no rule to repair them\n{refusal}")
    needed = max(minimum_rows, 2)
    if len(frame) < needed:
        raise UserError(
            f"{path}: too few rows: {len(frame)} usable of {len(table.rows)} below the header, expected "
            f"{needed} or more; bring more history, or configure a shorter context length or horizon, or fewer "
            "windows"
        )
    canonical = frame[["timestamp", *PRICES, "volume"]].reset_index(drop=True)
    digest = hashlib.sha256(raw).hexdigest()
    names = _names(table, rules)
    return Series(canonical, tuple(findings.found), names, frequency, path.name, digest)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected the CSV of a symbol") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder; expected a CSV file") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); check its permissions") from None


def _frame(table: Table, findings: Findings) -> pd.DataFrame:
    """Columns line, timestamp, wall, open, high, low, close, volume in the order of the file."""
    layout = table.layout
    times = _times(table, findings)
    numbers = _numbers(table, findings)
    values = _with_adjusted(table, numbers, findings)
    lines = np.array(table.lines, dtype=np.int64)
    frame = pd.DataFrame({"line": lines, "timestamp": times.utc, "wall": times.wall})
    for name in (*PRICES, "volume"):
        frame[name] = values.get(name, values["close"] if name in PRICES else np.full(len(frame), np.nan))
    drop = np.isnat(times.utc)
    drop |= _bad_cells(table, numbers, findings)
    if "volume" in layout.used:
        _settle_volume(frame, table, numbers, findings)
    return frame[~drop].reset_index(drop=True)


def _times(table: Table, findings: Findings) -> Times:
    cells = table.cells(table.layout.used["timestamp"])
    if table.layout.time_of_day is not None:
        hours = table.cells(table.layout.time_of_day)
        cells = [f"{day.strip()} {hour.strip().zfill(5)}" for day, hour in zip(cells, hours, strict=True)]
    times = read_times(cells)
    bad = np.isnat(times.utc)
    if bad.any():
        wanted = "with an offset, as the others have" if times.zoned else "such as 2024-01-31"
        text = f"{_examples(cells, bad)} can't be read as a date ({times.form}); expected one {wanted}"
        findings.settle("unparseable_dates", _lines(table, bad), text)
    if times.zoned:
        findings.note("time_zone", "times with an offset", "converted to UTC", [])
    elif times.form != "ISO 8601":
        findings.note("time_form", f"times are {times.form}", "read as UTC", [])
    return times


def _numbers(table: Table, findings: Findings) -> Numbers:
    columns = {name: table.cells(index) for name, index in table.layout.used.items() if name != "timestamp"}
    if findings.rules.adjusted_prices == "use":
        columns |= {f"adjusted {name}": table.cells(index) for name, index in table.layout.adjusted.items()}
    numbers = read_numbers(columns)
    if numbers.notation:
        findings.note("number_form", f"numbers with {numbers.notation}", "read", [])
    return numbers


def _with_adjusted(table: Table, numbers: Numbers, findings: Findings) -> dict[str, np.ndarray]:
    """The values to use by canonical column, plain or adjusted by rule."""
    layout = table.layout
    if not layout.adjusted:
        if findings.rules.adjusted_prices == "use":
            findings.note("adjusted_prices", "no adjusted columns", "the plain columns are used", [])
        return numbers.values
    names = ", ".join(repr(layout.header[index]) for index in layout.adjusted.values())
    if findings.rules.adjusted_prices == "ignore":
        text = f"columns {names} beside the plain ones"
        findings.note("adjusted_prices", text, "ignore: the plain columns are used", [])
        return numbers.values
    values = dict(numbers.values)
    if all(price in layout.adjusted for price in PRICES):
        values |= {name: numbers.values[f"adjusted {name}"] for name in layout.adjusted}
        findings.note("adjusted_prices", f"columns {names}", "use: in place of the plain ones", [])
    elif "close" in layout.adjusted:
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = numbers.values["adjusted close"] / numbers.values["close"]
        values |= {price: values[price] * factor for price in PRICES if price in values}
        findings.note("adjusted_prices", f"column {names}", "use: all prices scaled by it over the close", [])
    else:
        findings.note("adjusted_prices", f"only {names}, no adjusted close", "the plain columns are used", [])
    return values


def _names(table: Table, rules: RepairRules) -> dict[str, str | None]:
    """The file's names of the columns that were used."""
    layout = table.layout
    names = layout.names()
    if rules.adjusted_prices == "use" and all(price in layout.adjusted for price in PRICES):
        names |= {name: layout.header[index] for name, index in layout.adjusted.items()}
    return names


def _bad_cells(table: Table, numbers: Numbers, findings: Findings) -> np.ndarray:
    """Mask of rows with a price that is not a number; they go, or the file is refused."""
    prices = [name for name in numbers.values if name != "volume"]
    bad = np.logical_or.reduce([numbers.bad[name] for name in prices])
    if bad.any():
        first = next(name for name in prices if numbers.bad[name].any())
        index = _column(table, first)
        examples = _examples(table.cells(index), numbers.bad[first])
        text = f"{examples} in column {table.layout.header[index]!r}; expected a plain number, such as 1234.5"
        findings.settle("non_numeric_cells", _lines(table, bad), text)
    return bad


def _column(table: Table, name: str) -> int:
    """Index of the column `open`, or of `adjusted open`."""
    adjusted = name.removeprefix("adjusted ")
    return table.layout.used[name] if adjusted == name else table.layout.adjusted[adjusted]


def _settle_volume(frame: pd.DataFrame, table: Table, numbers: Numbers, findings: Findings) -> None:
    negative = frame["volume"].to_numpy() < 0
    bad = numbers.bad["volume"] | negative
    if bad.any():
        text = f"volume {_examples(table.cells(table.layout.used['volume']), bad)}; expected a number from 0 up"
        findings.settle("invalid_volume", _lines(table, bad), text)
        frame.loc[bad, "volume"] = np.nan
    if numbers.empty["volume"].any():
        findings.note("volume", "empty volumes", "unknown", _lines(table, numbers.empty["volume"]))


def _lines(table: Table, mask: np.ndarray) -> np.ndarray:
    return np.array(table.lines)[mask]


def _examples(cells: list[str], mask: np.ndarray) -> str:
    """The first few different cells under a mask."""
    found = list(dict.fromkeys(cells[row][:40] for row in np.flatnonzero(mask)))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(repr(cell) for cell in found[:_SHOWN]) + more
