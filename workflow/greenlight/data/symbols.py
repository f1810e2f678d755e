"""Which symbols a folder of CSVs holds. Imports nothing slow: it runs whenever the workflow is parsed."""

from __future__ import annotations

import difflib
import gzip
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from greenlight.errors import UserError

_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=^-]{0,63}")
_ALLOWED = (
    "letters, digits and . _ = ^ -, the first a letter or digit, at most 64 in all, no two points in a row, "
    "no point at the end"
)


_SUFFIXES = (".csv", ".txt", ".tsv", ".parquet", ".gz")


def symbol_of(path: Path) -> str:
    """The symbol that a price file's name says: all before .csv, .txt, .tsv, .parquet, packed or not."""
    name = Path(path).name
    for _ in range(2):
        suffix = Path(name).suffix
        if suffix.lower() in _SUFFIXES and len(name) > len(suffix):
            name = name[: -len(suffix)]
    return name


def is_symbol(name: str) -> bool:
    """Whether a name is safe as a symbol: in paths, in hive keys and in reports."""
    return _SYMBOL.fullmatch(name) is not None and ".." not in name and not name.endswith(".")


def symbols_in(
    folder: Path,
    wanted: str | Sequence[str],
    names: str | Mapping[str, str] = "leave-out",
    largest_mib: float = 2048,
    left_out: list[str] | None = None,
) -> dict[str, Path]:
    """The price file of each wanted symbol, sorted by symbol.

    Args:
        folder: where `<SYMBOL>.csv` files lie (also .txt, .tsv and .parquet, each also packed as .gz, in any case).
            Other files, hidden files and folders are ignored.
        wanted: `all`, or the symbols' names.
        names: what is done about a file whose name is no symbol, `data.names`.
        largest_mib: larger files are refused, `data.largest_file_mib`.
        left_out: receives the names of price files that were left out.

    Raises:
        UserError: the folder is missing or has no price file; a name is not safe; two files are one symbol but for
            their case; a wanted symbol is named twice or is not there; its file is no regular file, or too large.
    """
    folder = Path(folder)
    if wanted != "all":
        _check_wanted(wanted)
    left_out = [] if left_out is None else left_out
    found = _scan(folder, names, left_out)
    if wanted == "all":
        if not found:
            others = (
                f" (left out, since their names are no symbols: {', '.join(map(repr, left_out))})" if left_out else ""
            )
            raise UserError(
                f"{folder}: no CSV file found{others}; put <SYMBOL>.csv files there, or set data_folder or data.names"
            )
        chosen = found
    else:
        missing = [symbol for symbol in wanted if symbol not in found]
        if missing:
            raise UserError(_missing_message(folder, missing, list(found)))
        chosen = {symbol: found[symbol] for symbol in sorted(wanted)}
    for path in chosen.values():
        _check_file(path, largest_mib)
    return chosen


def _check_file(path: Path, largest_mib: float) -> None:
    """UserError for what planning would hang on, or can't read."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); mend or remove it") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: no regular file but a pipe or a device; expected a price file, or remove it")
    if status.st_size > largest_mib * 2**20:
        raise UserError(
            f"{path}: {status.st_size / 2**20:.0f} MiB, more than the {largest_mib:g} MiB allowed; bring a shorter "
            "history, or raise data.largest_file_mib"
        )
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: can't be read; check its permissions")


def _check_wanted(wanted: str | Sequence[str]) -> None:
    if isinstance(wanted, str):
        raise UserError(f"symbols: found {wanted!r}, expected `all` or a list of symbols")
    if not wanted:
        raise UserError("symbols: the list is empty; name at least one symbol, or write all")
    bad = [repr(symbol) for symbol in wanted if not isinstance(symbol, str) or not is_symbol(symbol)]
    if bad:
        raise UserError(f"symbols: {', '.join(bad)} can't be a symbol; allowed are {_ALLOWED}")
    twice = sorted({symbol for symbol in wanted if list(wanted).count(symbol) > 1})
    if twice:
        raise UserError(f"symbols: {', '.join(twice)} named more than once; name each symbol once")


def _scan(folder: Path, names: str | Mapping[str, str], left_out: list[str]) -> dict[str, Path]:
    """Every price file of a folder by its symbol."""
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        raise UserError(f"{folder}: the data folder does not exist; create it or set data_folder") from None
    except NotADirectoryError:
        raise UserError(f"{folder}: data_folder is a file; expected a folder of <SYMBOL>.csv files") from None
    except PermissionError:
        raise UserError(f"{folder}: the data folder can't be read; check its permissions") from None
    by_folded: dict[str, Path] = {}
    found: dict[str, Path] = {}
    for path in entries:
        if path.name.startswith(".") or not _is_price_file(path):
            continue
        symbol = _symbol_by_rule(path, names)
        if symbol is None:
            left_out.append(path.name)
            continue
        other = by_folded.setdefault(symbol.casefold(), path)
        if other is not path:
            raise UserError(
                f"{folder}: {other.name} and {path.name} are the same symbol but for upper and lower case or their "
                "format; rename or remove one"
            )
        found[symbol] = path
    return dict(sorted(found.items()))


def _is_price_file(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        suffixes = suffixes[:-1]
    if not suffixes or path.is_dir():
        return False
    if suffixes[-1] in (".csv", ".tsv", ".parquet"):
        return True
    return suffixes[-1] == ".txt" and path.is_file() and _is_table(path)


def _is_table(path: Path) -> bool:
    """Whether a text file has rows of cells: a note beside the prices has none."""
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            lines = file.read(4096).split(b"\n")[:10]
    except (OSError, EOFError):
        return True  # reading it will say what is wrong
    return any(sum(line.count(mark) >= 4 for line in lines) >= 2 for mark in (b",", b";", b"\t", b"|"))


def _symbol_by_rule(path: Path, names: str | Mapping[str, str]) -> str | None:
    """The symbol of a file; None where its name is none and no rule makes one of it."""
    stem = symbol_of(path)
    if isinstance(names, Mapping):
        for key in (path.name, stem):
            if key in names:
                return _usable(path, names[key])
    if is_symbol(stem):
        return stem
    if names == "first-word":
        word = re.match(r"[^A-Za-z0-9]*([A-Za-z0-9][A-Za-z0-9._=-]*)", stem)
        return _usable(path, word[1].rstrip(".")) if word else None
    return None


def _usable(path: Path, symbol: str) -> str:
    """The symbol, where it and the file's path can be used in a workflow."""
    if not is_symbol(symbol):
        raise UserError(f"data.names: {symbol!r} for {path.name!r} can't be a symbol; allowed are {_ALLOWED}")
    if not path.name.isprintable() or set(path.name) & set("{}*"):
        raise UserError(f"{path.name!r}: a file of this name can't be used; rename to <SYMBOL>.csv")
    return symbol


def _missing_message(folder: Path, missing: list[str], there: list[str]) -> str:
    near = {close for symbol in missing for close in difflib.get_close_matches(symbol, there, n=1, cutoff=0.6)}
    near |= {name for name in there if name.casefold() in {symbol.casefold() for symbol in missing}}
    hint = f" (did you mean {', '.join(sorted(near))}?)" if near else ""
    shown = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
    return (
        f"symbols: no CSV for {', '.join(missing)} in {folder}{hint}; "
        f"there: {shown or 'no CSV at all'}. Add the file or mend the list"
    )
