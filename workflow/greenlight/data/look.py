"""What was understood of price files: one screen each, or with --json one line of JSON each, for machines.

python -m greenlight.data.look FILE… [--json] [--symbol NAME] [--set dates=day-first] [--set repair.gaps=forward-fill]

--set takes the keys that the configuration has under `data`. The exit code is 2 where a file is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from greenlight.data.clock import offset_text
from greenlight.data.options import ReadingOptions
from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules, lines_text
from greenlight.data.series import Series
from greenlight.data.symbols import symbol_of
from greenlight.errors import UserError

_VALUES = ("open", "high", "low", "close", "volume", "amount")


def look(
    path: Path, rules: RepairRules | None = None, options: ReadingOptions | None = None, symbol: str | None = None
) -> dict[str, Any]:
    """What was understood of one file, as plain JSON.

    Returns:
        file, symbol, status (`read` or `refused`), rows, timezone, columns (the file's name by canonical name), ignored
        (names of columns), first and last (time with its offset where that is known, open, high, low, close, volume,
        amount; null where unknown), findings, and the message where the file is refused.
    """
    name = symbol or symbol_of(path)
    seen: dict[str, Any] = {"file": str(path), "symbol": name, "status": "refused", "rows": 0, "timezone": None}
    seen |= {"columns": {}, "ignored": [], "first": None, "last": None, "findings": [], "message": ""}
    try:
        series = read_series(path, rules or RepairRules(), options=options, symbol=name)
    except UserError as error:
        return seen | {"message": str(error)}
    return seen | {
        "status": "read",
        "rows": len(series.frame),
        "timezone": series.timezone,
        "columns": series.columns,
        "ignored": list(series.ignored),
        "first": _row(series, 0),
        "last": _row(series, -1),
        "findings": [asdict(finding) for finding in series.findings],
    }


def _row(series: Series, place: int) -> dict[str, Any]:
    row = series.frame.iloc[place]
    offset = "" if row["offset"] != row["offset"] else offset_text(row["offset"])
    values = {name: None if row[name] != row[name] else float(row[name]) for name in _VALUES}
    return {"time": row["wall"].isoformat() + offset, **values}


def as_text(seen: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{seen['file']}: {seen['status']}"]
    if seen["status"] == "refused":
        return "\n".join([*lines, *(f"  {line.strip()}" for line in seen["message"].splitlines())])
    lines[0] += f", {seen['rows']} rows of {seen['symbol']}, time zone {seen['timezone']}"
    lines += [f"  {name:<10} {_printable(column)}" for name, column in seen["columns"].items() if column is not None]
    ignored = ", ".join(_printable(name) for name in seen["ignored"])
    lines += [f"  ignored    {ignored}"] if ignored else []
    for name in ("first", "last"):
        values = "  ".join(f"{key} {value:g}" for key, value in seen[name].items() if isinstance(value, float))
        lines.append(f"  {name:<10} {seen[name]['time']}  {values}")
    for finding in seen["findings"]:
        if finding["kind"] != "ignored_columns":
            where = f" ({lines_text(finding['lines'], finding['count'])})" if finding["lines"] else ""
            lines.append(f"  {finding['kind']}: {_printable(finding['detail'], False)}: {finding['action']}{where}")
    keys = ", ".join(name for name in ReadingOptions.model_fields if name != "largest_file_mib")
    lines.append(f"  keys that change this, under data in the configuration: {keys}, repair")
    return "\n".join(lines)


def _printable(text: str, quoted: bool = True) -> str:
    """Text of a file without what a terminal would obey."""
    shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
    return f"'{shown}'" if quoted else shown


def parsed_settings(given: Sequence[str]) -> tuple[RepairRules, ReadingOptions]:
    """Rules and options from KEY=VALUE, as under `data` in the configuration; UserError for what they don't know."""
    rules: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for entry in given:
        key, equals, value = entry.partition("=")
        key = key.removeprefix("data.")
        if not equals:
            raise UserError(f"--set {entry}: expected KEY=VALUE, such as dates=day-first")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            parsed = value
        (rules if key.startswith("repair.") else options)[key.removeprefix("repair.")] = parsed
    try:
        return RepairRules(**rules), ReadingOptions(**options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"--set {key}: {first['msg'].removeprefix('Value error, ')}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was understood of each file; 2 where one is refused."""
    what, _, how = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m greenlight.data.look", description=what, epilog=how)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one line of JSON a file")
    parser.add_argument("--symbol", help="whose prices they should be; the file's name where it is not given")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of data")
    given = parser.parse_args(arguments)
    try:
        rules, options = parsed_settings(given.set)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    refused = False
    for file in given.files:
        seen = look(file, rules, options, given.symbol)
        refused |= seen["status"] == "refused"
        print(json.dumps(seen, ensure_ascii=False) if given.json else as_text(seen), flush=True)
    return 2 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
