"""Each edit that seeds a defect fits the code as it is: a second in place of the minutes in which the gate runs it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import greenlight

WORKFLOW = Path(greenlight.__file__).parents[1]
CATALOGUE = tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text())


@pytest.mark.parametrize("name", CATALOGUE)
def test_what_the_edit_replaces_stands_in_its_file_once(name):
    defect = CATALOGUE[name]
    assert (WORKFLOW / defect["file"]).read_text().count(defect["old"]) == 1
