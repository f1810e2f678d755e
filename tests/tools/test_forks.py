"""Children of stages in forks: how each ends is told, and what was compiled is kept for later runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from greenlight.layout import Layout
from greenlight.trials.kinds import InvalidOutput
from greenlight.watch.caches import cache_contents
from tools.forks import CHILDREN, Forks

JOB = {"stage": "probe", "model": "toto", "variant": "static-default", "mode": "eager", "threads": 1, "seconds": 60}
REQUEST = {"targets": {}, "seed": 1, "provenance": {}, "windows_per_call": 2}


def compiles(request):
    file = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], "kernel.py")
    found = sorted(path.name for path in file.parent.iterdir())
    file.write_text(f"# {request['windows_per_call']}")
    return {"found": found, "process": os.getpid()}


def killed(request):
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(request):
    time.sleep(60)


def raises(request):
    raise InvalidOutput("a forecast is NaN") if request["seed"] else RuntimeError("no")


@pytest.fixture
def forks(tmp_path, monkeypatch):
    for child in (compiles, killed, hangs, raises):
        monkeypatch.setitem(CHILDREN, child.__name__, SimpleNamespace(run=child))
    return Forks(tmp_path / "forks")


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "results")


def test_a_child_that_is_killed_is_a_finding_and_no_wait_for_ever(forks, layout):
    record = forks(layout, JOB, "killed", REQUEST)
    assert (record["kind"], record["result"]) == ("signal", None) and "-9" in record["message"]
    assert forks(layout, JOB, "compiles", REQUEST)["kind"] == "ok"


def test_a_child_that_hangs_is_ended_and_shows_where(forks, layout, capfd):
    record = forks(layout, JOB | {"seconds": 0.5}, "hangs", REQUEST)
    assert record["kind"] == "time-out" and "in hangs" in capfd.readouterr().err


def test_a_child_that_raises_says_what(forks, layout):
    record = forks(layout, JOB, "raises", REQUEST)
    assert (record["kind"], record["message"]) == ("invalid-output", "a forecast is NaN")
    record = forks(layout, JOB, "raises", REQUEST | {"seed": 0})
    assert (record["kind"], record["message"]) == ("other", "RuntimeError: no")


def test_each_child_runs_in_a_process_of_its_own(forks, layout):
    processes = {forks(layout, JOB, "compiles", REQUEST)["result"]["process"] for _ in range(3)}
    assert len(processes) == 3 and os.getpid() not in processes


def test_what_was_compiled_is_kept_for_later_runs_and_their_trials_load_it(forks, tmp_path):
    caches, records = [], []
    for seed in (1, 2):
        layout = Layout(tmp_path / f"results-{seed}")
        caches.append(layout.cache("toto", "static-default"))
        records.append(forks(layout, JOB, "compiles", REQUEST | {"seed": seed}, cache=caches[-1]))
        assert forks(layout, JOB, "compiles", REQUEST)["result"]["found"] == ["kernel.py"]
    assert records[0] == records[1] and records[0]["result"]["found"] == []
    assert cache_contents(caches[0]) == cache_contents(caches[1]) != {}
    assert forks.cold == ["toto static-default"]


def test_another_request_is_compiled_from_an_empty_cache(forks, layout):
    for size in (2, 3):
        cache = layout.root / f"cache-{size}"
        record = forks(layout, JOB, "compiles", REQUEST | {"windows_per_call": size}, cache=cache)
        assert record["result"]["found"] == []
        assert (cache / "inductor" / "kernel.py").read_text() == f"# {size}"
    assert len(forks.cold) == 2


def test_a_compile_that_failed_is_not_kept(forks, layout):
    for _ in range(2):
        assert forks(layout, JOB, "raises", REQUEST, cache=layout.root / "cache")["kind"] == "invalid-output"
    assert len(forks.cold) == 2
