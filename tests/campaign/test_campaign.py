"""A short part of the campaign: faults made at random from a fixed seed. `make campaign` tries many more."""

from __future__ import annotations

import re
from collections import Counter

from tests.campaign.faults import Faults
from tests.workflow.project import ROOT

CASES = 160


def test_the_page_names_tests_that_there_are():
    page = (ROOT / "workflow" / "docs" / "promises.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    there = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert len(named) > 15 and named <= there, named - there
    assert all((ROOT / path).exists() for path in re.findall(r"`(tests/[\w/.]+)`", page))


def test_no_fault_passes_wrongly_or_ends_in_a_traceback(tmp_path):
    outcomes = list(Faults(tmp_path, seed=20261128).run(CASES))
    wrong = [outcome for outcome in outcomes if outcome.ended.startswith("not so")]
    assert not wrong, "\n".join(f"{one.kind}: {one.tried}: {one.ended}" for one in wrong)
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert len(kinds) == 8 and min(kinds.values()) == CASES // 8
    assert sum(outcome.ended == "said" for outcome in outcomes) > CASES / 3, "the faults are faults"
