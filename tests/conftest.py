"""Fast tests first, slow ones last; with pytest-xdist, tests that share costly fixtures stay in one process."""

from __future__ import annotations

import compileall
import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

# The same examples each time, on a slow machine as on a fast one: a failure can be made again.
hypothesis.settings.register_profile("seeded", derandomize=True, deadline=None)
hypothesis.settings.load_profile("seeded")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What tests compile is not written down among what the user compiled.
os.environ.setdefault("GREENLIGHT_STATE", str(Path(tempfile.gettempdir()) / f"greenlight-tests-{os.getuid()}"))


def pytest_configure(config):
    """Projects of tests are copies of the package, whose modules need not be compiled in each of them."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(__file__).parents[1] / "workflow", quiet=1)


def pytest_itemcollected(item):
    """Here, because pytest-xdist reads the groups before pytest_collection_modifyitems comes to this file."""
    item.add_marker(pytest.mark.xdist_group(_group(item)))


def pytest_collection_modifyitems(items):
    """The longest groups begin first, so that no process works alone at the end."""
    items.sort(key=_rank)


# Slow groups of 40 seconds and more, the longest first; all others follow as they are collected.
LONGEST = (
    "test_defects.py",
    "finished",
    "test_slurm.py",
    "test_in_a_process.py",
    "test_whole_gate.py",
    "test_staleness.py",
    "test_alone.py",
    "test_elsewhere.py",
    "test_deploy.py",
    "test_kronos_predictor.py",
)
# Their tests share nothing that is costly, so each may run in another process.
APART = ("test_faults.py", "test_diagnose.py")


def _rank(item):
    """Fast tests first, then the groups of `LONGEST`, then the rest."""
    if not item.get_closest_marker("slow"):
        return -1
    names = _group(item).replace("/", " ").split()
    return next((number for number, name in enumerate(LONGEST) if name in names), len(LONGEST))


def _group(item):
    """The project of the `finished` fixture costs minutes, a module's fixtures seconds: neither is made twice."""
    if "finished" in item.fixturenames:
        return "finished"
    if item.path.name in APART:
        return f"{item.path.parent.name}/{item.path.name} {item.name}"
    slow = "slow" if item.get_closest_marker("slow") else "fast"
    return f"{item.path.parent.name}/{item.path.name} {slow}"
