"""The rooms of the house: imports run one way, and files stay readable."""

from __future__ import annotations

import pytest

from tools.rooms import FLOORS, WORKFLOW, arrows

FILES = sorted(WORKFLOW.rglob("*.py"))
MOST_LINES = 400


def test_imports_run_one_way():
    floor_of = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    found = [(own, other) for own, others in map(arrows, FILES) if own is not None for other in others]
    assert len(found) > 100
    assert not {(own, other) for own, other in found if floor_of[other] >= floor_of[own]}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(WORKFLOW)))
def test_a_file_can_be_read_in_one_go(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
