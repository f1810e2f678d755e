"""Each simulated defect stops its variant by the check that is to say so, and stands on the page."""

from __future__ import annotations

import pytest

from tests.defects.page import KINDS, PAGE, entries
from tests.defects.simulated import DRAWN, REFERENCE, SIMULATED, VARIANT, Simulated, judged


@pytest.mark.parametrize("name", SIMULATED)
def test_a_simulated_defect_is_caught_by_its_check(tmp_path, name):
    defect = SIMULATED[name]
    stopping = judged(defect, tmp_path)
    assert defect.check in stopping, {check: found.reason for check, found in stopping.items()}
    assert stopping[defect.check].status == "fail"


@pytest.mark.parametrize("variant", [VARIANT, REFERENCE, DRAWN])
def test_without_a_defect_nothing_stops_them(tmp_path, variant):
    assert judged(Simulated("", "", defective=variant, judged=variant), tmp_path) == {}


def test_every_entry_of_the_catalogue_stands_on_the_page_with_its_check():
    """`python -m tests.defects.page` writes it."""
    page = PAGE.read_text(encoding="utf-8").splitlines()
    found = entries()
    assert len(found) >= 100 and {entry.kind for entry in found} == set(KINDS)
    for entry in found:
        assert sum(line.startswith(f"| {entry.name} | `{entry.check}` |") for line in page) == 1, entry.name
    assert sum(line.startswith("| ") and "| `" in line for line in page) == len(found)
