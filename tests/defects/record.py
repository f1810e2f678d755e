"""What the page of defects says that takes minutes to find out, kept in recorded.json beside this file.

    python -m tests.defects.record           runs the edits that changed; seeks the sizes if their simulation did
    python -m tests.defects.record --all     all of them

Reasons of real edits are the gate's own words in that run; sizes are those of `sizes.py`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenlight.files import json_text, write_text
from tests.defects import sizes
from tests.defects.gate import Server

FILE = Path(__file__).with_name("recorded.json")


def recorded() -> dict[str, Any]:
    """{"reasons": {name: {"of": hash of the entry, "reason"}}, "sizes": {"of": hash, "found": {row: size}}}."""
    return json.loads(FILE.read_text()) if FILE.exists() else {"reasons": {}, "sizes": {"of": "", "found": {}}}


def hash_of(value: Any) -> str:
    """A hash of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def hash_of_sizes() -> str:
    """A hash of the simulation that finds sizes. Tests hold that they are found still, whatever else changed."""
    return hash_of(Path(sizes.__file__).read_text())


def _reasons(catalogue: Mapping[str, dict[str, Any]], found: dict[str, Any]) -> None:
    from tests.defects.test_defects import stopping, untouched

    known = found["reasons"]
    changed = [name for name, entry in catalogue.items() if known.get(name, {}).get("of") != hash_of(entry)]
    if not changed:
        return
    server = Server()
    try:
        with tempfile.TemporaryDirectory() as folder:
            good = untouched(Path(folder), server)
            for number, name in enumerate(changed):
                entry = catalogue[name]
                reason = stopping(good, Path(folder) / f"defect{number}", entry)[entry["check"]]
                known[name] = {"of": hash_of(entry), "reason": reason}
                write_text(FILE, json_text(found))
                print(f"{name}: {reason}", flush=True)
    finally:
        server.close()


def _sizes(found: dict[str, Any]) -> None:
    if found["sizes"]["of"] != hash_of_sizes():
        found["sizes"] = {"of": hash_of_sizes(), "found": {}}
    known = found["sizes"]["found"]
    for one in sizes.FAMILIES:
        if one.rows[0] not in known:
            known[one.rows[0]] = float(f"{one.size():.3g}")
            write_text(FILE, json_text(found))
            print(f"{one.rows[0]}: {one.describe(known[one.rows[0]])}", flush=True)


def main() -> None:
    """Entry point. What was stopped goes on where it was."""
    from tests.defects.test_defects import CATALOGUE

    if "--all" in sys.argv:
        FILE.unlink(missing_ok=True)
    found = recorded()
    found["reasons"] = {name: row for name, row in found["reasons"].items() if name in CATALOGUE}
    _sizes(found)
    _reasons(CATALOGUE, found)
    write_text(FILE, json_text(found))


if __name__ == "__main__":
    main()
