"""What the ledger takes for untouched, and what it reads again."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from greenlight.layout import Layout
from greenlight.run import ledger
from greenlight.run.ledger import damaged, enter, read_entry


@pytest.fixture
def layout(tmp_path):
    """A job that left one file."""
    found = Layout(tmp_path / "results")
    found.root.mkdir()
    found.verdict.write_text("what was decided")
    enter(found, "judge", {"stage": "judge"}, [found.verdict], [])
    time.sleep(0.05)  # some file systems tell times by the tick of a clock
    return found


def times_of(path):
    found = path.stat()
    return found.st_atime_ns, found.st_mtime_ns


def overwritten(path):
    kept = times_of(path)
    path.write_text("what was DECIDED")
    os.utime(path, ns=kept)


def replaced(path):
    kept, other = times_of(path), path.with_name("other")
    other.write_text("what was DECIDED")
    os.utime(other, ns=kept)
    other.replace(path)


@pytest.mark.parametrize("change", [overwritten, replaced])
def test_other_content_of_the_same_size_and_time_is_noticed(layout, change):
    change(layout.verdict)
    assert list(damaged(layout, read_entry(layout, "judge"))) == ["verdict.json is not what the job wrote"]


def test_the_same_content_is_no_damage_whatever_its_times_and_inode(layout, tmp_path):
    copy = Layout(tmp_path / "copy")
    shutil.copytree(layout.root, copy.root)
    os.utime(copy.verdict, (1, 1))
    for found in (layout, copy):
        assert list(damaged(found, read_entry(found, "judge"))) == []


def test_what_nobody_touched_is_not_read(layout, monkeypatch):
    monkeypatch.setattr(ledger, "_hash", lambda path: pytest.fail(f"{path} was read"))
    assert list(damaged(layout, read_entry(layout, "judge"))) == []
