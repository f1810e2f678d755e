"""Exports as the tools and sites of the field write them, each held to what a person who knows the format reads in it.

`exports/outcomes.csv` has a row for each file and each set of keys: whether it is read or refused, words that must be
said, and the values of the first and the last row.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from greenlight.data.look import look, parsed_settings

EXPORTS = Path(__file__).parent / "exports"
with (EXPORTS / "outcomes.csv").open(encoding="utf-8", newline="") as table:
    OUTCOMES = list(csv.DictReader(table))


def seen(tmp_path: Path, case: str, file: str, keys: str = "") -> dict[str, object]:
    """What `look` says of an export under the name that its user gave it."""
    shutil.copy(EXPORTS / case, tmp_path / file)
    return look(tmp_path / file, *parsed_settings(re.split(r" (?=[a-z_.]+=)", keys) if keys else []))


@pytest.mark.parametrize("row", OUTCOMES, ids=[f"{row['case'][:40]} {row['set'][:30]}" for row in OUTCOMES])
def test_an_export_is_read_as_a_person_reads_it_or_refused_with_what_helps(tmp_path: Path, row: dict[str, str]) -> None:
    found = seen(tmp_path, row["case"], row["file"], row["set"])
    assert found["status"] == row["status"], found["message"]
    assert row["said"] in (found["message"] if row["status"] == "refused" else json.dumps(found, ensure_ascii=False))
    if row["status"] == "refused":
        assert row["file"] in str(found["message"])
        return
    assert str(found["rows"]) == row["rows"] and found["timezone"] == row["timezone"]
    for place in ("first", "last"):
        expected = {name.removeprefix(f"{place}_"): value for name, value in row.items() if name.startswith(place)}
        values = {name: "" if value is None else str(value) for name, value in found[place].items()}  # type: ignore
        assert values == expected


def test_every_export_has_an_outcome() -> None:
    assert {row["case"] for row in OUTCOMES} == {path.name for path in EXPORTS.glob("*.csv")} - {"outcomes.csv"}
    assert sum(row["status"] == "read" for row in OUTCOMES) > 80


def test_what_would_lose_more_than_a_tenth_of_the_rows_is_never_offered(tmp_path: Path) -> None:
    for row in OUTCOMES:
        if row["status"] == "refused" and not row["set"]:
            message = str(seen(tmp_path, row["case"], row["file"])["message"])
            for line in message.splitlines():
                if re.search("to (drop-row|keep-first)", line):
                    assert not re.search(r"and \d\d+ more", line), line
