"""Which column of a price file is what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.header import stripped
from greenlight.data.names import COINS, CURRENCIES, adjusted_of, canonical_of, known, normal_name, rank, without_unit
from greenlight.data.numbers import read_numbers
from greenlight.data.options import ReadingOptions, paste, yaml_word
from greenlight.data.repair import Findings
from greenlight.data.table import Table
from greenlight.data.times import read_times
from greenlight.data.unnamed import infer_columns
from greenlight.errors import UserError

_SAMPLE = 2000
PRICES = ("open", "high", "low", "close")
# What may stand in brackets behind a volume: pieces of what is counted.
_PIECES = re.compile(
    r"(?i)(in )?('?000'?s?|k|mm?|mn|mln|mio\.?|bn?|lacs?|lakhs?|cr\.?|(crore|thousand|million|billion)s?|千|百?万|亿)?"
    r"\s*(shares?|stk\.?|st(ü|ue|u)ck|lots?|contracts?|units?|coins?|tokens?|titres|szt\.?|股|手|주|株)?"
)
_MONEY = re.compile(r"(?i)(in )?(currency|quote|rs\.?|₹|\$|€|£|¥)( ?(mn|mln|cr|lacs?))?")
_PIECES_NAMES = ("stuck", "stucke", "stuecke", "shares")
# CoinGecko has one price a row, which is then all four.
_ONE_PRICE = {"snapped at", "price", "market cap", "total volume"}


@dataclass(frozen=True)
class Layout:
    """Which column holds what, by index.

    Attributes:
        names: the names in the file without the symbol in them; "" for one without.
        used: column of open, high, low, close, volume, amount, those that there are.
        adjusted: adjusted column by price or volume, those that there are.
        added: a column whose values are added to the volume's, or None.
        symbols: symbols that the names of the used columns hold.
        chosen: what the configuration says, times included.
    """

    names: list[str]
    used: dict[str, int]
    adjusted: dict[str, int]
    added: int | None = None
    symbols: tuple[str, ...] = ()
    chosen: dict[str, int] = field(default_factory=dict)


def find_layout(path: str, table: Table, symbol: str, options: ReadingOptions, findings: Findings) -> Layout:
    """Find the columns of prices and volumes: by the configuration, by their names, without names by their content.

    Raises:
        UserError: no column of closing prices, two columns for one, or a choice that a person must make.
    """
    chosen = _chosen(path, table, options)
    if not any(table.header):
        if {"timestamp", "close"} <= set(chosen):
            own = {name: place for name, place in chosen.items() if name not in ("timestamp", "time")}
            _note_missing(own, table.header, findings)
            return Layout(table.header, own, {}, chosen=chosen)
        used, times = infer_columns(path, table.columns)
        findings.note("header", "no header; the columns are told by what they hold", "read", [])
        _note_missing(used, table.header, findings)
        return Layout(table.header, used, {}, chosen=times | chosen)
    names = [_plain(name, symbol) for name in table.header]
    symbols: tuple[str, ...] = ()
    if "close" not in {canonical_of(name) or adjusted_of(name) for name in names} and "close" not in chosen:
        found = _hidden_symbol(names)
        if found:
            names, symbols = [_plain(name, found) for name in names], (found,)
    taken = set(chosen.values())
    free = {at: name for at, name in enumerate(names) if at not in taken}
    used = {}
    for price in PRICES:
        if price not in chosen:
            found_at = _best(path, table.header, free, price, findings)
            if found_at is not None:
                used[price] = found_at
    adjusted = _adjusted(path, table.header, free)
    volumes, added = _volumes(path, table, free, symbol, findings)
    used |= volumes | {name: at for name, at in chosen.items() if name not in ("timestamp", "time")}
    _settle_adjusted(path, used, adjusted, table.header, findings)
    if "close" not in used:
        raise UserError(_no_close(path, table, used | adjusted | chosen))
    _note_missing(used, table.header, findings, {normal_name(name) for name in table.header})
    return Layout(names, used, adjusted, added if "volume" not in chosen else None, symbols, chosen)


def _plain(name: str, symbol: str) -> str:
    """A name without the symbol in it, where it says nothing with it."""
    return name if known(name) is not None else (stripped(name, symbol) or name)


def _hidden_symbol(names: Sequence[str]) -> str:
    """The one word that all price columns have before or behind their names, as in Close_AAPL; "" where none is."""
    found: dict[str, set[str]] = {}
    for name in names:
        words = normal_name(name).split(" ")
        for price in PRICES:
            if len(words) > 1 and price in (words[0], words[-1]):
                rest = " ".join(words[1:] if words[0] == price else words[:-1])
                found.setdefault(rest, set()).add(price)
    whole = [word for word, prices in found.items() if len(prices) == 4 and word not in ("bid", "ask", "mid")]
    return whole[0] if len(whole) == 1 else ""


def _chosen(path: str, table: Table, options: ReadingOptions) -> dict[str, int]:
    """Column by canonical name as the configuration says."""
    found: dict[str, int] = {}
    for canonical, wanted in options.chosen().items():
        if isinstance(wanted, int):
            places = [wanted - 1] if 1 <= wanted <= len(table.header) else []
        else:
            exact = [at for at, name in enumerate(table.header) if name == wanted.strip()]
            places = exact or [at for at, name in enumerate(table.header) if normal_name(name) == normal_name(wanted)]
        if len(places) != 1:
            raise UserError(
                f"{path}: data.columns: {canonical} is to be {wanted!r}, and {len(places) or 'no'} columns are that; "
                f"found columns {listed(table.header)}"
            )
        found[canonical] = places[0]
    if isinstance(options.columns, tuple) and len(options.columns) != len(table.header):
        raise UserError(
            f"{path}: data.columns lists {len(options.columns)} columns, and the file has {len(table.header)}; name "
            "each in its order, - for one that is not used"
        )
    return found


def _best(path: str, header: Sequence[str], free: dict[int, str], price: str, findings: Findings) -> int | None:
    """The column that is best called a price; others of the kind are ignored, and said to be."""
    own = sorted((rank(price, name), at) for at, name in free.items() if canonical_of(name) == price)
    if not own:
        return None
    same = [at for place, at in own if place == own[0][0]]
    if len(same) > 1:
        lower = paste("columns", f"{{{price}: {yaml_word(header[same[0]])}}}")
        raise UserError(
            f"{path}: columns {listed([header[at] for at in same])} are all {price}; "
            f"expected one: remove or rename the others, or choose: {lower}"
        )
    if len(own) > 1 and price == "close":
        others = listed([header[at] for _, at in own[1:]])
        findings.note("columns", f"{header[own[0][1]]!r} and also {others}", f"{header[own[0][1]]!r} is the close", [])
    return own[0][1]


def _adjusted(path: str, header: Sequence[str], free: dict[int, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for at, name in free.items():
        price = adjusted_of(name)
        if price is None:
            continue
        if price in found and normal_name(free[found[price]]) == normal_name(name):
            raise UserError(
                f"{path}: columns {listed([header[found[price]], header[at]])} are all adjusted {price}; "
                "expected one: remove or rename the others"
            )
        found.setdefault(price, at)
    return found


def _settle_adjusted(
    path: str, used: dict[str, int], adjusted: dict[str, int], header: Sequence[str], findings: Findings
) -> None:
    """Adjusted columns in place of plain ones that the file lacks, unless prices of both kinds would be mixed."""
    if "close" not in used and "close" in adjusted:
        plain = [price for price in PRICES if price in used]
        if plain and not all(price in adjusted for price in PRICES):
            name = header[adjusted["close"]]
            raise UserError(
                f"{path}: the close is adjusted ({name!r}), and {', '.join(plain)} are not; candles of both kinds are "
                f"none. Bring a plain close or all prices adjusted, or say that they are the same: "
                f"{paste('columns', f'{{close: {yaml_word(name)}}}')}"
            )
        names = listed([header[at] for at in adjusted.values()])
        findings.note("columns", f"no plain close; {names} beside what is plain", "used", [])
        used |= adjusted
        adjusted.clear()
    elif "volume" not in used and "volume" in adjusted:
        used["volume"] = adjusted.pop("volume")


def _volumes(
    path: str, table: Table, free: dict[int, str], symbol: str, findings: Findings
) -> tuple[dict[str, int], int | None]:
    """({volume: column, amount: column}, a column that is added to the volume)."""
    kinds = {at: _kind_of_volume(name, table.header[at], symbol) for at, name in free.items()}
    pieces = sorted((at for at, kind in kinds.items() if kind == "volume"), key=lambda at: _rank("volume", free[at]))
    money = sorted((at for at, kind in kinds.items() if kind == "amount"), key=lambda at: _rank("amount", free[at]))
    in_pieces = [at for at in pieces if normal_name(free[at]) in _PIECES_NAMES]
    if in_pieces and len(pieces) > 1 and not money:
        # ARIVA: Stuecke;Volumen. Where pieces are counted, the volume is money.
        money = [at for at in pieces if normal_name(free[at]) in ("volumen", "volume")]
        pieces = in_pieces
    found: dict[str, int] = {}
    if pieces:
        same = [at for at in pieces if normal_name(free[at]) == normal_name(free[pieces[0]])]
        if len(same) > 1:
            raise UserError(
                f"{path}: columns {listed([table.header[at] for at in same])} are all volume; "
                "expected one: remove or rename the others"
            )
        filled = [at for at in pieces if not _only_zeros(table.columns[at])] if len(pieces) > 1 else pieces
        found["volume"] = (filled or pieces)[0]
        if len(pieces) > 1:
            others = listed([table.header[at] for at in pieces if at != found["volume"]])
            why = "the others are zero throughout" if found["volume"] != pieces[0] else "the first by its name"
            text = f"{table.header[found['volume']]!r} and also {others}"
            findings.note("columns", text, f"{table.header[found['volume']]!r} is the volume: {why}", [])
    if money:
        found["amount"] = money[0]
        if not pieces:
            name = table.header[money[0]]
            findings.note("volume", f"{name!r} is in money, and no column counts pieces", "read as the amount", [])
    ups = {normal_name(name): at for at, name in free.items()}
    for up, down in (("up", "down"), ("up volume", "down volume"), ("buy volume", "sell volume")):
        if "volume" not in found and up in ups and down in ups:
            text = f"{table.header[ups[up]]!r} and {table.header[ups[down]]!r}"
            findings.note("columns", text, "their sum is the volume", [])
            return found | {"volume": ups[up]}, ups[down]
    return found, None


def _kind_of_volume(name: str, written: str, symbol: str) -> str | None:
    """`volume` for a count of pieces, `amount` for money, None for anything else (averages and changes of volumes)."""
    base, unit = without_unit(name)
    if not unit:
        base, unit = without_unit(written) if without_unit(written)[1] else (base, "")
    canonical = canonical_of(name)
    if "%" in name:
        return None
    if canonical == "volume" and unit:
        if _PIECES.fullmatch(unit):
            return "volume"
        return "amount" if _MONEY.fullmatch(unit) else _by_currency(unit.lower(), symbol)
    if canonical in ("volume", "amount"):
        return canonical
    words = normal_name(name).split(" ")
    if len(words) == 2 and "volume" in words:
        return _by_currency(words[1 - words.index("volume")], symbol)
    return None


def _by_currency(word: str, symbol: str) -> str | None:
    """What a volume in a currency is: of the pair's first one pieces, of its second one money."""
    own = re.sub(r"[^a-z0-9]", "", symbol.lower())
    if own.startswith(word) and len(own) > len(word):
        return "volume"
    if word in CURRENCIES or (own.endswith(word) and len(word) >= 3 and len(own) > len(word)):
        return "amount"
    return "volume" if word in COINS else None


def _rank(canonical: str, name: str) -> int:
    return rank(canonical, name) if canonical_of(name) == canonical else 10_000


def _only_zeros(cells: pa.Array) -> bool:
    if not pa.types.is_string(cells.type):
        return not pc.any(pc.not_equal(pc.cast(cells, pa.float64(), safe=False), 0.0)).as_py()
    return pc.all(pc.match_substring_regex(cells, r"^0*[.,]?0*$|^-$")).as_py() is not False


def _no_close(path: str, table: Table, used: Mapping[str, int]) -> str:
    names = [normal_name(name) for name in table.header]
    sides = [name for name in table.header if re.match(r"(?i)(bid|ask|mid)", normal_name(name))]
    where = f"line {table.header_line}" if table.header_line else "the file"
    if len(sides) >= 4:
        prices = ", ".join(f"{price}: {yaml_word(_side(table.header, price))}" for price in PRICES)
        choice = paste("columns", f"{{{prices}}}")
        return f"{path}: {where} has prices of bid and ask ({listed(sides)}); choose one side: {choice}"
    missing = [] if any(known(name) == "timestamp" for name in names) else ["no column of dates (such as Date)"]
    missing.append("no column of closing prices (Close)")
    chosen = {} if len(missing) == 1 else {"timestamp": "NAME"}
    if len(missing) == 2:
        times = [name for name, cells in _named(table) if not read_times(cells[:_SAMPLE]).bad.any()]
        chosen["timestamp"] = yaml_word(times[0]) if times else "NAME"
    closes = _like_closes(table, used)
    chosen["close"] = yaml_word(closes[-1]) if closes else "NAME"
    rule = "" if {"open", "high", "low"} & set(used) else ", repair: {missing_prices: use-close}"
    choice = paste("columns", "{" + ", ".join(f"{key}: {name}" for key, name in chosen.items()) + "}" + rule)
    return (
        f"{path}: {where} has {' and '.join(missing)}; found columns {listed(table.header)}. "
        f"Expected a header such as Date,Open,High,Low,Close,Volume, or {choice}"
    )


def _named(table: Table) -> list[tuple[str, pa.Array]]:
    return [(name, cells) for name, cells in zip(table.header, table.columns, strict=True) if name]


def _like_closes(table: Table, used: Mapping[str, int]) -> list[str]:
    """Names of unknown columns that can be closing prices: within low and high, or the only one with numbers."""
    bounds = {name: _numbers(table.columns[used[name]]) for name in ("low", "high") if name in used}
    found = []
    for name, cells in _named(table):
        if known(name) is not None or "%" in name or table.header.index(name) in used.values():
            continue
        values = _numbers(cells)
        if values is None or not read_times(cells[:_SAMPLE]).bad.any():
            continue
        low, high = bounds.get("low"), bounds.get("high")
        if low is None or high is None or ((values >= low) & (values <= high)).mean() > 0.9:
            found.append(name)
    return found if len(bounds) == 2 or len(found) == 1 else []


def _numbers(cells: pa.Array) -> np.ndarray | None:
    """The first values of a column of numbers; None where it holds others."""
    cells = cells[:_SAMPLE]
    read = read_numbers({"x": cells}, {"x": "price"})
    unread = np.count_nonzero(read.bad["x"]) * 10 > len(cells) or np.count_nonzero(read.empty["x"]) * 2 > len(cells)
    return None if read.doubt or unread or not len(cells) else read.values["x"]


def _side(header: Sequence[str], price: str) -> str:
    return next((name for name in header if re.match(rf"(?i)bid\W*{price}", name)), f"<{price}>")


def _note_missing(
    used: dict[str, int], header: Sequence[str], findings: Findings, names: set[str] | None = None
) -> None:
    missing = [price for price in PRICES if price not in used]
    if missing and names is not None and names >= _ONE_PRICE:
        findings.note("missing_prices", "one price a row, as CoinGecko gives it", "use-close", [])
    elif missing:
        text = f"no column for {', '.join(missing)} among {listed(header)}; expected open, high, low, close"
        findings.settle("missing_prices", [], text)
    if "volume" not in used and "amount" not in used:
        findings.note("volume", "no column of volumes", "unknown", [])


def listed(names: Sequence[str]) -> str:
    """Names in quotes, shortened where there are many."""
    shown = ", ".join(repr(name[:40]) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
