"""Whose prices a file holds: the symbol of its name, held against what stands in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.columns import Layout
from greenlight.data.header import is_symbol_name
from greenlight.data.names import CURRENCIES, NOT_NAMES, normal_name
from greenlight.data.options import ReadingOptions, paste
from greenlight.data.repair import Findings
from greenlight.data.table import Table
from greenlight.data.unnamed import is_row_number
from greenlight.errors import UserError

# Exchanges and share lines as suffixes, such as AAPL.US, 600519.SH, RELIANCE-EQ.
_SUFFIXES = frozenset((
    "us", "u", "n", "o", "oq", "l", "ln", "f", "de", "t", "tyo", "jp", "hk", "h", "sh", "ss", "sz", "szse", "xshg",
    "xshe", "sse", "bj", "ks", "kq", "kr", "krx", "to", "tsx", "v", "pa", "fp", "as", "na", "mi", "im", "sw", "vx",
    "ch", "st", "co", "ol", "he", "hel", "ax", "asx", "nz", "sa", "sao", "ns", "nse", "bo", "bse", "eq", "si", "tw",
    "two", "mx", "bmv", "jo", "is", "me", "mcx", "x", "xetra", "xnas", "xnys", "sr", "mc", "bme", "br", "vi", "wa",
    "wse", "pr", "at", "ath", "li", "ba", "cn", "in", "nasdaq", "nyse", "arca", "amex", "lse", "ice", "cme", "cbot",
    "nymex", "comex", "c", "fut",
))  # fmt: skip
_PREFIXES = frozenset((
    "sh", "sz", "bj", "hk", "us", "shse", "szse", "sse", "nse", "bse", "nasdaq", "nyse", "amex", "lse", "tse", "krx",
    "fx", "binance", "kraken",
))  # fmt: skip
_ONE = "expected one symbol a file: export each to its own"


def check_tickers(path: str, table: Table) -> None:
    """Refuse a file whose header names several symbols; its columns can't be told apart without them."""
    if len(table.tickers) > 1:
        shown = ", ".join(table.tickers[:5])
        raise UserError(f"{path}: its header names several tickers ({shown}); {_ONE}")


def check_symbol(
    path: str,
    table: Table,
    layout: Layout,
    symbol: str,
    options: ReadingOptions,
    used: Iterable[int],
    findings: Findings,
) -> None:
    """Refuse a file of several symbols, and one that names another symbol than its own name.

    Args:
        symbol: of the file's name; used: columns that hold times and prices.

    Raises:
        UserError: it names both, and the key.
    """
    taken = set(used)
    declared = [(ticker, "its header") for ticker in table.tickers]
    declared += [(name, "the names of its columns") for name in layout.symbols]
    for at, name in enumerate(layout.names):
        if at in taken:
            continue
        unnamed = not any(table.header) and (
            (at == 0 and not is_row_number(table.columns[at]))
            or (at == len(layout.names) - 1 and _holds_ticker(table.columns[at]))
        )
        if not is_symbol_name(name) and not unnamed:
            _note_change(table, at, findings)
            continue
        found = [cell for cell in _unique(table.columns[at]) if cell and cell.lower() not in ("nan", "none", "null")]
        where = f"column {table.header[at]!r}" if table.header[at] else "its first column"
        if len(found) > 1:
            shown = ", ".join(sorted(found)[:5])
            raise UserError(f"{path}: {where} names {len(found)} symbols ({shown}); {_ONE}")
        telling = normal_name(name) not in NOT_NAMES or (
            normal_name(name) in ("name", "instrument", "instid") and _looks_like_ticker(found[0] if found else "")
        )
        if len(found) == 1 and telling:
            declared.append((found[0], where))
    if options.symbol_check == "off":
        return
    for other, where in declared:
        if not same_symbol(symbol, other):
            raise UserError(
                f"{path}: by {where} these are prices of {other!r}, and by the file's name of {symbol}; rename the "
                f"file, or, where both are the same, {paste('symbol_check', 'off')}"
            )


def _note_change(table: Table, at: int, findings: Findings) -> None:
    """Say where a column that is not used changes from one text like a symbol to another, once for all that follow."""
    cells = table.columns[at]
    if not pa.types.is_string(cells.type) or not table.header[at]:
        return
    runs = pc.run_end_encode(cells)
    found = [str(cell) for cell in runs.values[:20].to_pylist()]
    if 1 < len(runs.values) < 20 and len(set(found)) == len(found) and all(map(_looks_like_ticker, found)):
        text = f"the column {table.header[at]!r} changes from {found[0]} to {found[1]} within the file"
        findings.note("symbols", text, "not used; read as one series", [int(table.lines[runs.run_ends[0].as_py()])])


def _unique(cells: pa.Array) -> list[str]:
    return [str(value).strip() for value in pc.unique(cells).to_pylist() if value is not None]


def _holds_ticker(cells: pa.Array) -> bool:
    """Whether a column without a name holds symbols, not numbers or a currency."""
    found = _unique(cells[:1000])
    return all(map(_looks_like_ticker, found)) and not {cell.lower() for cell in found} <= set(CURRENCIES)


def _looks_like_ticker(text: str) -> bool:
    return re.fullmatch(r"(?=.*[A-Z])[A-Z0-9][A-Z0-9.^=:/-]{0,11}", text) is not None


def same_symbol(own: str, other: str) -> bool:
    """Whether two names are of one symbol: case, marks, leading zeros, exchanges before and behind aside."""
    return bool(_forms(own) & _forms(other))


def _forms(name: str) -> set[str]:
    text = name.strip().lower()
    text = re.sub(r"\s+(?:[a-z]{2}\s+)?(?:equity|index|curncy|comdty)$", "", text)
    text = re.sub(r"^[a-z_]+:", "", text) if not text.endswith(":") else text
    text = re.sub(r":[a-z]+$|=[xf]$", "", text)
    texts = {text}
    parts = re.split(r"[._\s-]", text)
    if len(parts) > 1 and parts[-1] in _SUFFIXES:
        texts.add(text[: -len(parts[-1]) - 1])
    if len(parts) > 1 and parts[0] in _PREFIXES:
        texts.add(text[len(parts[0]) + 1 :])
    found = re.fullmatch(r"(sh|sz|bj|hk)(\d{4,6})", text)
    if found:
        texts.add(found[2])
    bare = {re.sub(r"[\W_]", "", each).replace("xbt", "btc") for each in texts}
    # Codes of Tokyo have five digits since 2024, the last a 0.
    bare |= {each[:-1] for each in bare if re.fullmatch(r"\d{4}0", each)}
    return {each.lstrip("0") or each for each in bare if each}
