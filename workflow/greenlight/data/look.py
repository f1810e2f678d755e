"""What was understood of a price file, in one screen or in one line of JSON for machines.

python -m greenlight.data.look FILE… [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules, lines_text
from greenlight.data.series import Series
from greenlight.errors import UserError


def look(path: Path, rules: RepairRules | None = None) -> dict[str, Any]:
    """What was understood of one file, as plain JSON: read or refused, columns, first and last row, findings."""
    seen: dict[str, Any] = {"file": str(path), "symbol": path.stem, "status": "refused", "rows": 0, "timezone": None}
    seen |= {"columns": {}, "ignored": [], "first": None, "last": None, "findings": [], "message": ""}
    try:
        series = read_series(path, rules or RepairRules())
    except UserError as error:
        return seen | {"message": str(error)}
    findings = [finding.as_dict() for finding in series.findings]
    first, last = (_row(series, place) for place in (0, -1))
    read = {"status": "read", "rows": len(series.frame), "columns": series.columns, "findings": findings}
    return seen | read | {"first": first, "last": last}


def _row(series: Series, place: int) -> dict[str, Any]:
    row = series.frame.iloc[place]
    values = {name: _plain(row[name]) for name in ("open", "high", "low", "close", "volume")}
    return {"time": row["timestamp"].isoformat(), **values, "amount": None}


def _plain(value: float) -> float | None:
    return None if value != value else float(value)


def as_text(seen: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{seen['file']}: {seen['status']}"]
    if seen["status"] == "refused":
        return "\n".join([*lines, f"  {seen['message']}"])
    lines += [f"  {name:9} {column!r}" for name, column in seen["columns"].items() if column is not None]
    for name in ("first", "last"):
        lines.append(f"  {name:9} " + "  ".join(f"{key} {value}" for key, value in seen[name].items()))
    for finding in seen["findings"]:
        where = f" ({lines_text(finding['lines'], finding['count'])})" if finding["lines"] else ""
        lines.append(f"  {finding['kind']}: {finding['detail']}: {finding['action']}{where}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was understood of each file; 2 where one is refused."""
    parser = argparse.ArgumentParser(prog="python -m greenlight.data.look", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one line of JSON a file")
    options = parser.parse_args(arguments)
    refused = False
    for file in options.files:
        seen = look(file)
        refused |= seen["status"] == "refused"
        print(json.dumps(seen, ensure_ascii=False) if options.json else as_text(seen))
    return 2 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
