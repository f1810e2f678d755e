"""Where the header of a table is, what it says, and whether there is one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from greenlight.data.names import SYMBOLS, known, normal_name

WITHIN = 6
_DELIMITERS = ("\t", ";", "|", ",")
_NUMBER = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*(?:[KMBTkmbt]|[eE][+-]?\d+)?[^A-Za-z]*")
_TICKER = re.compile(r"[\w^][\w.=^:/-]{0,24}")
# Symbol: AAPL; AAPL US Equity; 600519 in front of a Chinese name.
_ABOVE = re.compile(
    r"(?i:symbol|ticker|ric)\s*[:=]\s*([\w^][\w.=^/-]{0,24})(?:$|[\s:])|([A-Z0-9./]{1,12} [A-Z]{2} Equity)\b"
    r"|(\d{6})\s+[\u4e00-\u9fff]"
)
_TICKER_LINE = {"ticker", "tickers", "symbol", "symbols", ""}

Records = Sequence[tuple[int, Sequence[str]]]


@dataclass(frozen=True)
class Header:
    """The header of a table.

    Attributes:
        names: names of the columns; "" for one without.
        skipped: how many records there are up to and with the header.
        preamble: line numbers of what stands above it.
        line: line number of the names; 0 where there is no header.
        lines: how many lines the header has.
        tickers: symbols that a line of the header names.
    """

    names: list[str]
    skipped: int
    preamble: list[int] = field(default_factory=list)
    line: int = 0
    lines: int = 1
    tickers: tuple[str, ...] = ()


def is_number(cell: str) -> bool:
    """Whether a cell is a number, a date in digits or the like: what a header has none of."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def delimiter_of(lines: Sequence[str], split: object) -> str:
    """The delimiter under which the first lines look most like prices.

    Args:
        lines: the first lines of the file.
        split: a function of a line and a delimiter that gives its cells.
    """
    first = lines[0].strip()
    if first.lower().startswith("sep=") and first[4:] in _DELIMITERS:
        return first[4:]

    def score(delimiter: str) -> tuple[int, int, float]:
        rows = [split(line, delimiter) for line in lines]  # type: ignore[operator]
        names = max(_names_in(row) for row in rows[: WITHIN + 2])
        widths = [len(row) for row in rows if len(row) > 1]
        usual = max(set(widths), key=widths.count) if widths else 0
        cells = [cell for row in rows if len(row) == usual for cell in row]
        # Cells that still hold another delimiter were not cut where they should be.
        clean = sum(not set(cell) & (set("\t;|") - {delimiter}) for cell in cells) / len(cells) if cells else 0
        regular = widths.count(usual) / len(rows) if widths else 0
        return names if names >= 3 else 0, int(usual >= 4), clean * regular

    return max(_DELIMITERS, key=score)


def _names_in(row: Sequence[str]) -> int:
    """How many different columns of prices and times the cells of a row name."""
    return len({known(cell) for cell in row} - {None})


def find_header(records: Records, symbol: str, chosen: Sequence[str | int] = ()) -> Header | None:
    """The header within the first records; one without names where the first record holds data; None: neither.

    Args:
        records: (line number, cells) of the first records that are not blank.
        symbol: the file's own; it may stand before or behind the names.
        chosen: names of columns that the configuration gives, or their numbers.
    """
    rows = [[_without_symbol(cell.strip(), symbol) for cell in cells] for _, cells in records[: WITHIN + 4]]
    # Names are words: a line with numbers in it is none, whatever its words are.
    scores = [_names_in(row) if _is_words(row) else 0 for row in rows[:WITHIN]]
    at = scores.index(max(scores))
    wanted = {normal_name(name) for name in chosen if isinstance(name, str)}
    places = [place for place, row in enumerate(rows[:WITHIN]) if wanted and wanted <= set(map(normal_name, row))]
    if places:
        at = places[0]
    elif scores[at] == 0:
        if chosen and not wanted and _is_words(rows[0]):
            return Header([cell.strip() for cell in records[0][1]], 1, line=records[0][0])
        return headerless(records)
    names = [cell.strip() for cell in records[at][1]]
    end, tickers, index_name, extra = at + 1, set(), "", 0
    while end < len(rows) and end - at <= 2 and not any(map(is_number, rows[end])):
        rest = {cell for cell in rows[end][1:] if cell}
        if not rest and rows[end][0]:
            index_name = rows[end][0]
        elif rest and _names_tickers(rows[end], names, rest):
            tickers |= rest
        else:
            break
        end, extra = end + 1, extra + 1
    start = at
    above = rows[at - 1] if at else []
    named = [cell for cell in above[1:] if cell]
    whole = len(above) == len(names) and len(named) >= 4 and all(map(_TICKER.fullmatch, named))
    if whole and above[0].lower() in _TICKER_LINE:
        tickers |= set(named)
        start, extra = at - 1, extra + 1
    if index_name:
        names[0] = index_name
    elif tickers and names[0].lower() in ("price", "attributes", "prices"):
        names[0] = ""
    preamble = [line for line, _ in records[:start]]
    tickers |= {name for _, cells in records[:start] if not tickers and (name := _named_above(cells))}
    return Header(names, end, preamble, records[at][0], 1 + extra, tuple(sorted(tickers)))


def _named_above(cells: Sequence[str]) -> str:
    """The symbol that a line above the header names as such; "" for none."""
    line = ": ".join(cell.strip() for cell in cells if cell.strip())
    found = _ABOVE.match(line)
    return next((part for part in found.groups() if part), "") if found else ""


def _is_words(row: Sequence[str]) -> bool:
    return len(row) > 1 and sum(map(is_number, row)) * 2 <= len(row)


def _names_tickers(row: Sequence[str], names: Sequence[str], rest: set[str]) -> bool:
    """Whether a line below the names says whose prices the columns are."""
    if len(row) != len(names) or row[0].lower() not in _TICKER_LINE:
        return False
    return all(_TICKER.fullmatch(cell) for cell in rest) and not any(known(cell) for cell in rest)


def headerless(records: Records) -> Header | None:
    """A header without names, where the first record holds data of the width that the others have."""
    if not records:
        return None
    first = [cell.strip() for cell in records[0][1]]
    places = [str(place) for place in range(len(first))]
    if len(first) > 3 and (first == places or first == ["", *places[:-1]]):
        return Header([""] * len(first), 1, [records[0][0]])  # pandas numbers columns that have no names
    numbers = sum(is_number(cell) for cell in first)
    return Header([""] * len(first), 0, line=0) if numbers >= 4 else None


def _without_symbol(name: str, symbol: str) -> str:
    """A column's name without the file's symbol before or after it, as in `AAPL.Close` or `Close AAPL`."""
    if known(name) is not None or not symbol:
        return name
    return stripped(name, symbol) or name


def stripped(name: str, symbol: str) -> str:
    """What is left of a name without a symbol before or after it; "" where it has none."""
    plain, own = normal_name(name), normal_name(symbol)
    if own and plain.startswith(f"{own} "):
        return plain[len(own) + 1 :]
    return plain[: -len(own) - 1] if own and plain.endswith(f" {own}") else ""


def is_symbol_name(name: str) -> bool:
    """Whether a name is that of a column of symbols."""
    return normal_name(name) in _SYMBOL_NAMES


_SYMBOL_NAMES = frozenset(normal_name(name) for name in SYMBOLS)
