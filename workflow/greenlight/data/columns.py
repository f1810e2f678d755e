"""Which column of a CSV is what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from greenlight.data.repair import Findings
from greenlight.data.times import read_times
from greenlight.errors import UserError

PRICES = ("open", "high", "low", "close")
_TIME_NAMES = (
    "timestamp", "timestamps", "datetime", "date time", "datetime utc", "date", "ds", "open time", "time",
    "trade date", "trading day", "day", "period", "unix", "t",
)  # fmt: skip
_ALIASES = {
    "open": ("open", "o", "price open", "open price"),
    "high": ("high", "h", "max", "price high", "high price"),
    "low": ("low", "l", "min", "price low", "low price"),
    "close": ("close", "c", "close last", "price close", "close price", "price", "last"),
    "volume": ("volume", "vol", "v"),
}
_ADJUSTED = ("adj {}", "adjusted {}", "{} adj", "{} adjusted")
_RECOGNISED = {name for aliases in _ALIASES.values() for name in aliases} | {
    form.format(name) for form in _ADJUSTED for name in _ALIASES
}
_SYMBOL_NAMES = ("symbol", "ticker", "tic", "instrument")
_TIME_OF_DAY = re.compile(r"\s*\d{1,2}:\d{2}(:\d{2})?\s*")


@dataclass(frozen=True)
class Layout:
    """Which column holds what.

    Attributes:
        header: the names in the file; "" for a nameless one.
        used: index of the column by canonical name (timestamp, open, high, low, close, volume); volume may be
            missing and, by rule, open, high and low.
        adjusted: index of the adjusted column by price, those that there are.
        time_of_day: index of a column that holds the time of day beside the date, or None.
    """

    header: list[str]
    used: dict[str, int]
    adjusted: dict[str, int]
    time_of_day: int | None = None

    def names(self) -> dict[str, str | None]:
        """The file's name of each canonical column; None where there is none."""
        return {
            name: (self.header[self.used[name]] or "(nameless)") if name in self.used else None
            for name in ("timestamp", *PRICES, "volume")
        }


def normal_name(name: str) -> str:
    """A column's name in lower case with single spaces for whatever is neither letter nor digit."""
    name = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    return re.sub(r"^\d+ ", "", name)


def find_layout(path: Path, header: list[str], rows: list[list[str]], findings: Findings, first_line: int) -> Layout:
    """Find the columns by their names; plain columns win over adjusted ones.

    Raises:
        UserError: no column of dates or of closing prices, two columns for one, or open, high or low missing
            without the rule `missing_prices: use-close`. It names the columns that there are.
    """
    names = [_without_symbol(normal_name(cell), normal_name(path.stem)) for cell in header]
    used: dict[str, int] = {}
    adjusted: dict[str, int] = {}
    for canonical, aliases in _ALIASES.items():
        plain = _first(path, header, names, aliases, canonical)
        also = _first(path, header, names, _adjusted_names(canonical), f"adjusted {canonical}")
        if plain is not None:
            used[canonical] = plain
        if also is not None:
            adjusted[canonical] = also
    if "volume" not in used:
        longer = [index for index, name in enumerate(names) if name.startswith("volume ")]
        if longer:
            used["volume"] = longer[0]
    if "close" not in used and "close" in adjusted:
        names_used = _listed([header[index] for index in adjusted.values()])
        findings.note("columns", f"no plain close; {names_used} beside what is plain", "used", [])
        used |= adjusted
        adjusted = {}
    elif "volume" not in used and "volume" in adjusted:
        used["volume"] = adjusted.pop("volume")
    time, time_of_day = _time_column(names, rows)
    problems = []
    if time is None:
        problems.append("no column of dates (such as Date, timestamp or ds)")
    else:
        used["timestamp"] = time
    if "close" not in used:
        problems.append("no column of closing prices (Close)")
    if problems:
        raise UserError(
            f"{path}: line {first_line} has {' and '.join(problems)}; found columns {_listed(header)}. "
            "Expected a header such as Date,Open,High,Low,Close,Volume"
        )
    _check_one_symbol(path, names, rows)
    _note_missing(used, header, findings)
    return Layout(header, used, adjusted, time_of_day)


def _check_one_symbol(path: Path, names: list[str], rows: list[list[str]]) -> None:
    for name in _SYMBOL_NAMES:
        if name in names:
            column = names.index(name)
            symbols = sorted({row[column].strip() for row in rows if column < len(row)})
            if len(symbols) > 1:
                raise UserError(
                    f"{path}: column {name!r} names {len(symbols)} symbols ({', '.join(symbols[:5])}); "
                    "expected one symbol a file: export each to its own"
                )


def _note_missing(used: dict[str, int], header: list[str], findings: Findings) -> None:
    missing = [price for price in PRICES if price not in used]
    if missing:
        text = f"no column for {', '.join(missing)} among {_listed(header)}; expected open, high, low, close"
        findings.settle("missing_prices", [], text)
    if "volume" not in used:
        findings.note("volume", "no column of volumes", "unknown", [])


def _adjusted_names(canonical: str) -> tuple[str, ...]:
    names = tuple(form.format(canonical) for form in _ADJUSTED)
    return (*names, "adjusted", "adj") if canonical == "close" else names


def _without_symbol(name: str, symbol: str) -> str:
    """A column's name without the symbol before or after it, such as in `AAPL.Close` or `Close AAPL`."""
    if name in _RECOGNISED:
        return name
    return name.removeprefix(f"{symbol} ").removesuffix(f" {symbol}")


def _first(path: Path, header: list[str], names: list[str], aliases: tuple[str, ...], what: str) -> int | None:
    for alias in aliases:
        found = [index for index, name in enumerate(names) if name == alias]
        if len(found) > 1:
            raise UserError(
                f"{path}: columns {_listed([header[index] for index in found])} are all {what}; "
                "expected one: remove or rename the others"
            )
        if found:
            return found[0]
    return None


def _time_column(names: list[str], rows: list[list[str]]) -> tuple[int | None, int | None]:
    """(column of the dates, column of the time of day beside it)."""
    named = [names.index(name) for name in _TIME_NAMES if name in names]
    if "date" in names and "time" in names:
        date, time = names.index("date"), names.index("time")
        if all(_TIME_OF_DAY.fullmatch(row[time]) for row in rows[:5] if time < len(row)):
            return date, time
    if named:
        return named[0], None
    nameless = [index for index, name in enumerate(names) if name in ("", "index") or name.startswith("unnamed")]
    for index in nameless:
        sample = [row[index] for row in rows[:20] if index < len(row)]
        if sample and "NaT" not in {str(time) for time in read_times(sample).utc[:1]}:
            return index, None
    return None, None


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
