"""Each simulated defect stops its variant by the check that is to say so, and stands on the page."""

from __future__ import annotations

import pytest

from tests.defects.page import CATALOGUE, KINDS, PAGE, entries
from tests.defects.record import hash_of, hash_of_sizes, recorded
from tests.defects.simulated import DRAWN, REFERENCE, SIMULATED, VARIANT, Simulated, judged
from tests.defects.sizes import FAMILIES


@pytest.mark.parametrize("name", SIMULATED)
def test_a_simulated_defect_is_caught_by_its_check(tmp_path, name):
    defect = SIMULATED[name]
    stopping = judged(defect, tmp_path)
    assert defect.check in stopping, {check: found.reason for check, found in stopping.items()}
    assert stopping[defect.check].status == "fail"


@pytest.mark.parametrize("variant", [VARIANT, REFERENCE, DRAWN])
def test_without_a_defect_nothing_stops_them(tmp_path, variant):
    assert judged(Simulated("", "", defective=variant, judged=variant), tmp_path) == {}


@pytest.mark.parametrize("row", [one.rows[0] for one in FAMILIES])
def test_a_defect_well_above_the_size_that_is_stated_is_found(tmp_path, row):
    one = next(one for one in FAMILIES if one.rows[0] == row)
    size = recorded()["sizes"]["found"][row]
    assert one.found(size if one.whole else min(1.5 * size, max(size, one.high)), 7, tmp_path)


def test_what_is_recorded_is_of_the_catalogue_as_it_is_and_says_what_it_must():
    """`python -m tests.defects.record` writes it."""
    known = recorded()
    for name, row in known["reasons"].items():
        assert row["of"] == hash_of(CATALOGUE[name]), name
        assert CATALOGUE[name]["words"] in row["reason"], name
    assert known["sizes"]["of"] == hash_of_sizes()
    assert set(known["sizes"]["found"]) == {one.rows[0] for one in FAMILIES}


def test_every_entry_of_the_catalogue_stands_on_the_page_with_its_check():
    """`python -m tests.defects.page` writes it."""
    page = PAGE.read_text(encoding="utf-8").splitlines()
    found = entries()
    assert len(found) >= 100 and {entry.kind for entry in found} == set(KINDS)
    for entry in found:
        assert sum(line.startswith(f"| {entry.name} | `{entry.check}` |") for line in page) == 1, entry.name
    assert sum(line.startswith("| ") and "| `" in line for line in page) == len(found)
