"""Which symbols a folder of CSVs holds. Imports nothing slow: it runs whenever the workflow is parsed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from greenlight.errors import UserError

_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=^-]{0,63}")
_ALLOWED = (
    "letters, digits and . _ = ^ -, the first a letter or digit, at most 64 in all, no two points in a row, "
    "no point at the end"
)


def is_symbol(name: str) -> bool:
    """Whether a name is safe as a symbol: in paths, in hive keys and in reports."""
    return _SYMBOL.fullmatch(name) is not None and ".." not in name and not name.endswith(".")


def symbols_in(folder: Path, wanted: str | Sequence[str]) -> dict[str, Path]:
    """The CSV of each wanted symbol, sorted by symbol.

    Args:
        folder: where `<SYMBOL>.csv` files lie (the suffix in any case). Other files, hidden files and folders
            are ignored.
        wanted: `all`, or the symbols' names.

    Raises:
        UserError: the folder is missing or has no CSV; a name is not safe; two files are one symbol but for
            their case; a wanted symbol is named twice or is not there.
    """
    folder = Path(folder)
    if wanted != "all":
        _check_wanted(wanted)
    found = _scan(folder)
    if wanted == "all":
        if not found:
            raise UserError(f"{folder}: no CSV file found; put <SYMBOL>.csv files there or set data_folder")
        return found
    missing = [symbol for symbol in wanted if symbol not in found]
    if missing:
        raise UserError(_missing_message(folder, missing, list(found)))
    return {symbol: found[symbol] for symbol in sorted(wanted)}


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


def _scan(folder: Path) -> dict[str, Path]:
    """Every CSV of a folder by its symbol."""
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        raise UserError(f"{folder}: the data folder does not exist; create it or set data_folder") from None
    except NotADirectoryError:
        raise UserError(f"{folder}: data_folder is a file; expected a folder of <SYMBOL>.csv files") from None
    except PermissionError:
        raise UserError(f"{folder}: the data folder can't be read; check its permissions") from None
    files = [path for path in entries if path.suffix.lower() == ".csv" and not path.name.startswith(".")]
    files = [path for path in files if not path.is_dir()]
    bad = [repr(path.name) for path in files if not is_symbol(path.stem)]
    if bad:
        raise UserError(
            f"{folder}: the name of {', '.join(bad)} can't be a symbol; rename to <SYMBOL>.csv, in SYMBOL {_ALLOWED}"
        )
    by_folded: dict[str, Path] = {}
    for path in files:
        other = by_folded.setdefault(path.stem.casefold(), path)
        if other is not path:
            raise UserError(
                f"{folder}: {other.name} and {path.name} are the same symbol but for upper and lower case; "
                "rename or remove one"
            )
    return {path.stem: path for path in files}


def _missing_message(folder: Path, missing: list[str], there: list[str]) -> str:
    near = {close for symbol in missing for close in difflib.get_close_matches(symbol, there, n=1, cutoff=0.6)}
    near |= {name for name in there if name.casefold() in {symbol.casefold() for symbol in missing}}
    hint = f" (did you mean {', '.join(sorted(near))}?)" if near else ""
    shown = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
    return (
        f"symbols: no CSV for {', '.join(missing)} in {folder}{hint}; "
        f"there: {shown or 'no CSV at all'}. Add the file or mend the list"
    )
