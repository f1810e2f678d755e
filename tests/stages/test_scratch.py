"""Compile caches on a node's own disk: worked in there, kept in the results, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenlight.errors import UserError
from greenlight.files import write_json
from greenlight.layout import Layout
from greenlight.provenance import processor_name
from greenlight.run.seals import remember
from greenlight.run.trial import SCRATCH, run_with_cache
from greenlight.watch.caches import cache_digest


def job(**changes):
    return {
        "stage": "compile", "model": "toto", "variant": "static-default", "device": "cpu", "seconds": 60,
        "device_name": processor_name(), "memory_gib": None, "threads": 1, **changes,
    }  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "children"), prepend=":")
    layout = Layout(tmp_path / "results")

    def start(write, *, cache=None, **changes):
        trial = run_with_cache(layout, job(**changes), "fills_cache", {"write": write}, cache=cache)
        assert trial["kind"] == "ok", trial
        return trial["result"]

    start.layout = layout
    return start


@pytest.mark.parametrize("scratch", [False, True])
def test_a_filled_cache_is_kept_and_copies_of_it_are_not(run, tmp_path, monkeypatch, scratch):
    disk = tmp_path / "disk of the node"
    disk.mkdir()
    monkeypatch.setenv("NODE_DISK", str(disk))
    monkeypatch.setenv(SCRATCH, "$NODE_DISK" if scratch else "")
    kept = run.layout.cache("toto", "static-default")
    filled = run("one", cache=kept)
    remember(cache_digest(kept))
    made = {"trials": [{"kind": "ok", "sizes": {}}], "cache": {"sha256": cache_digest(kept)}}
    write_json(run.layout.record("compile", "toto", "static-default"), made)
    used = run("two", stage="predict")
    assert (filled["found"], used["found"]) == ([], ["one"])
    place = disk if scratch else run.layout.root
    assert all(Path(result["cache"]).is_relative_to(place) for result in (filled, used))
    assert [file.name for file in (kept / "inductor").iterdir()] == ["one"]
    assert list(disk.iterdir()) == []
    assert not Path(used["cache"]).exists()


def test_a_scratch_folder_that_this_machine_lacks_is_named(run, monkeypatch):
    monkeypatch.setenv(SCRATCH, "$NO_SUCH_VARIABLE/scratch")
    with pytest.raises(UserError, match=r"trials.scratch_folder: \S+ has no folder \$NO_SUCH_VARIABLE/scratch;"):
        run("one")


def test_what_changed_since_the_run_was_planned_is_no_finding_about_the_variant(run):
    """The stage ends with the message and without a record, so that its job stays stale."""
    with pytest.raises(UserError, match=r"^weights changed$"):
        run_with_cache(run.layout, job(), "refuses", {})


def test_a_node_with_another_device_runs_no_trial(run, monkeypatch):
    monkeypatch.setenv(SCRATCH, "")
    with pytest.raises(UserError, match=r"device.name: the run was planned for 'Another Processor'"):
        run("one", device_name="Another Processor")
    assert not (run.layout.trial("compile", "toto", "static-default") / "request.json").exists()
