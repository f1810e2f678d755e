"""Fast tests first, slow ones last; with pytest-xdist, tests that share costly fixtures stay in one process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# What tests compile is not written down among what the user compiled.
os.environ.setdefault("GREENLIGHT_STATE", str(Path(tempfile.gettempdir()) / f"greenlight-tests-{os.getuid()}"))


def pytest_itemcollected(item):
    """Here, because pytest-xdist reads the groups before pytest_collection_modifyitems comes to this file."""
    item.add_marker(pytest.mark.xdist_group(_group(item)))


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def _group(item):
    """The project of the `finished` fixture costs minutes, a module's fixtures seconds: neither is made twice."""
    if "finished" in item.fixturenames:
        return "finished"
    slow = "slow" if item.get_closest_marker("slow") else "fast"
    return f"{item.path.parent.name}/{item.path.name} {slow}"
