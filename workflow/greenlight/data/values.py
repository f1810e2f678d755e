"""The prices and volumes of a table as numbers: their notation, their unit, adjusted or not, what is wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.clock import Clock
from greenlight.data.columns import PRICES, Layout, listed
from greenlight.data.header import is_symbol_name
from greenlight.data.names import normal_name
from greenlight.data.numbers import Numbers, read_numbers
from greenlight.data.options import ReadingOptions, paste
from greenlight.data.repair import Findings
from greenlight.data.table import Table

_SHOWN = 3


def read_cells(table: Table, layout: Layout, clock: Clock, options: ReadingOptions, findings: Findings) -> Numbers:
    """All columns of prices and volumes as numbers, in the notation that the whole file tells."""
    columns = {name: table.columns[at] for name, at in layout.used.items()}
    if layout.added is not None:
        columns["added volume"] = table.columns[layout.added]
    if findings.rules.adjusted_prices == "use":
        columns |= {f"adjusted {name}": table.columns[at] for name, at in layout.adjusted.items()}
    groups = {name: "volume" if name.split(" ")[-1] in ("volume", "amount") else "price" for name in columns}
    taken = {*layout.used.values(), *clock.columns}

    def witnesses() -> list[pa.Array]:
        return [
            column for at, column in enumerate(table.columns)
            if at not in taken and not is_symbol_name(layout.names[at]) and "date" not in normal_name(layout.names[at])
        ]  # fmt: skip

    european = table.delimiter == ";" and clock.times.form.startswith("day/month/year")
    numbers = read_numbers(
        columns, groups, witnesses, options.numbers, _contradictions, table.delimiter, point_in_doubt=european
    )
    if numbers.notation:
        findings.note("number_form", f"numbers with {numbers.notation}", "read", [])
    return numbers


def _contradictions(prices: dict[str, np.ndarray]) -> int:
    """Rows whose prices do not fit each other, or the row before: high below low, a close fifty times as high."""
    close = prices["close"]
    low, high = prices.get("low", close), prices.get("high", close)
    open_ = prices.get("open", close)
    with np.errstate(invalid="ignore", divide="ignore"):
        wrong = (high < low * 0.9) | (np.maximum(open_, close) > high * 1.1) | (np.minimum(open_, close) < low * 0.9)
        jumps = np.abs(np.diff(np.log(close))) > np.log(50)
    return int(wrong.sum() + jumps.sum())


def with_adjusted(
    table: Table, layout: Layout, numbers: Numbers, findings: Findings
) -> tuple[dict[str, np.ndarray], list[str], Layout]:
    """(values by canonical column, plain or adjusted by rule; what is empty somewhere; the columns that were used)."""
    values = dict(numbers.values)
    blank = [name for name in PRICES if name in numbers.empty and numbers.empty[name].any()]
    if not layout.adjusted:
        if findings.rules.adjusted_prices == "use":
            findings.note("adjusted_prices", "no adjusted columns", "the plain columns are used", [])
        return values, blank, layout
    names = listed([table.header[index] for index in layout.adjusted.values()])
    if findings.rules.adjusted_prices == "ignore":
        text = f"columns {names} beside the plain ones"
        findings.note("adjusted_prices", text, "ignore: the plain columns are used", [])
        return values, blank, layout
    empty = [table.header[at] for name, at in layout.adjusted.items() if numbers.empty[f"adjusted {name}"].any()]
    if all(price in layout.adjusted for price in PRICES):
        values |= {name: numbers.values[f"adjusted {name}"] for name in layout.adjusted}
        findings.note("adjusted_prices", f"columns {names}", "use: in place of the plain ones", [])
        whole = Layout(layout.names, layout.used | layout.adjusted, {}, layout.added)
        return values, [repr(name) for name in empty], whole
    if "close" in layout.adjusted:
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = numbers.values["adjusted close"] / numbers.values["close"]
        values |= {price: values[price] * factor for price in PRICES if price in values}
        findings.note("adjusted_prices", f"column {names}", "use: all prices scaled by it over the close", [])
        return values, [*blank, *(repr(name) for name in empty)], layout
    findings.note("adjusted_prices", f"only {names}, no adjusted close", "the plain columns are used", [])
    return values, blank, layout


def settle_prices(
    table: Table, layout: Layout, numbers: Numbers, findings: Findings, dropped: np.ndarray
) -> np.ndarray:
    """Mask of rows with a price that is not a number; they go, or the file is refused."""
    if numbers.doubt:
        cell, name = numbers.doubt
        bad = numbers.bad[name] & ~dropped
        column = table.header[_column(layout, name)]
        comma = "," in cell
        one, other = (cell.replace(",", "."), cell.replace(",", "")) if comma else (cell, cell.replace(".", ""))
        text = f"{cell!r} in column {column!r} may be {one} or {other}, and nothing in the file tells which"
        keys = ("decimal-comma", "decimal-point") if comma else ("decimal-point", "decimal-comma")
        findings.refuse(
            "non_numeric_cells", table.lines[bad], text, f"For {one} {paste('numbers', keys[0])}, else {keys[1]}"
        )
    prices = [name for name in numbers.values if name.split(" ")[-1] in PRICES]
    bad = np.logical_or.reduce([numbers.bad[name] for name in prices]) & ~dropped
    if bad.any() and not (numbers.doubt and numbers.doubt[1] in prices):
        first = next(name for name in prices if (numbers.bad[name] & bad).any())
        index = _column(layout, first)
        shown = examples(table.columns[index], numbers.bad[first] & bad)
        text = f"{shown} in column {table.header[index]!r}; expected a plain number, such as 1234.5"
        findings.settle("non_numeric_cells", table.lines[bad], text)
    return bad


def _column(layout: Layout, name: str) -> int:
    """Index of the column `open`, of `adjusted open`, of `added volume`."""
    if name == "added volume":
        return layout.added or 0
    adjusted = name.removeprefix("adjusted ")
    return layout.used[name] if adjusted == name else layout.adjusted[adjusted]


def settle_volume(
    frame: pd.DataFrame, table: Table, layout: Layout, numbers: Numbers, findings: Findings, dropped: np.ndarray
) -> None:
    doubted = numbers.doubt[1] if numbers.doubt else ""
    if "volume" in layout.used:
        if layout.added is not None:
            frame["volume"] += numbers.values["added volume"]
        bad = numbers.bad["volume"] | (frame["volume"].to_numpy() < 0) | np.isinf(frame["volume"].to_numpy())
        bad &= ~dropped
        if bad.any():
            cells = table.columns[layout.used["volume"]]
            text = f"volume {examples(cells, bad)}; expected a number from 0 up"
            if doubted != "volume":
                findings.settle("invalid_volume", table.lines[bad], text)
            frame.loc[bad, "volume"] = np.nan
        empty = numbers.empty["volume"] & ~dropped
        if empty.any():
            findings.note("volume", "empty volumes", "unknown", table.lines[empty])
    amount = frame["amount"].to_numpy()
    if "amount" in layout.used:
        bad = (numbers.bad["amount"] | (amount < 0)) & ~dropped
        if bad.any() and doubted != "amount":
            text = f"amount {examples(table.columns[layout.used['amount']], bad)}; expected a number from 0 up"
            findings.settle("invalid_volume", table.lines[bad], text)
        frame.loc[bad, "amount"] = np.nan
        missing = np.isnan(frame["amount"].to_numpy()) & ~dropped
        if missing.any() and "volume" in layout.used:
            findings.note("amount", "amounts that are missing", "volume times the mean price", table.lines[missing])
    elif "volume" in layout.used:
        findings.note("amount", "no column of amounts", "volume times the mean price, where a model asks for it", [])


def examples(cells: pa.Array, mask: np.ndarray) -> str:
    """The first few different cells under a mask."""
    found = pc.unique(cells.take(pa.array(np.flatnonzero(mask)[:100_000]))).to_pylist()
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(repr(str(cell)[:40]) for cell in found[:_SHOWN]) + more
