"""Whatever --cores says, nothing of a run is at work beside what is timed: from start and end times in the records."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from copy import deepcopy
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from greenlight.files import read_json
from greenlight.layout import Layout
from greenlight.run.ledger import read_entry
from greenlight.run.resources import limits_of, resources_of
from greenlight.run.spreading import placed
from greenlight.settings import load_settings
from tests.workflow.project import ROOT, SMALL, make_project

# The plug-in of docs/plugins.md under two names, with a second implementation: its trials are the shortest.
DRIFT = ROOT / "tests" / "plugins" / "drift.py"
MODELS = ("drift-1", "drift-2")
REFERENCE, OTHER = "plain-eager", "other-eager"
TIMED = {f"time/{model}/{OTHER}" for model in MODELS}
VARIANTS = ["upstream-eager", "static-eager"]
pytestmark = pytest.mark.slow


def intervals(project):
    """(start, end) of each job by its name, from the ledger."""
    layout, found = Layout(project.folder / "results"), {}
    for name in read_json(layout.plan)["jobs"]:
        if (entry := read_entry(layout, name)) is not None:
            found[name] = tuple(datetime.fromisoformat(entry[key]) for key in ("started", "ended"))
    return found


def overlap(one, other):
    return one[0] < other[1] and other[0] < one[1]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A project with two models whose series, weights and forecasts are made; nothing is timed yet."""
    project = make_project(tmp_path_factory.mktemp("alone") / "project", symbols=2)
    config = deepcopy(SMALL)
    config["evaluation"] |= {"windows": 1, "probe_windows": 1, "samples": 2, "horizon": 4}
    config["timing"] |= {"extra_seconds": 0}
    config["trials"] = {"repeats": 1}
    config["models"] = {"toto": None, "kronos": None}
    for model in MODELS:
        text = DRIFT.read_text().replace('"drift-1"', f'"{model}"')
        second = 'implementations={"other": Implementation("Drift"), '
        assert text.count(f'"{model}"') == text.count("implementations={") == 1
        (project.folder / f"{model}.py").write_text(text.replace("implementations={", second))
        config["models"][model] = {"plugin": f"{model}.py:MODEL", "variants": [REFERENCE, OTHER]}
    project.configure(config)
    return project


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_no_other_job_runs_beside_a_timed_one(measured, cores):
    """With 2 and 8 cores the others do run side by side, so that the test could fail; forecasts are the same."""
    shutil.rmtree(measured.folder / "results", ignore_errors=True)
    layout = Layout(Path("results"))
    targets = [layout.record("time", model, OTHER) for model in MODELS]
    targets += [layout.predict_record(MODELS[0], variant, 0) for variant in (REFERENCE, OTHER)]
    limits = ["--resources", "mem_mb=100000"]  # a small machine would keep them apart, and nothing be seen
    done = measured.sooner(*map(str, targets), "--cores", str(cores), *limits)
    assert done.returncode == 0, done.stdout
    found = intervals(measured)
    assert found.keys() >= TIMED
    beside = [pair for pair in itertools.combinations(found, 2) if overlap(*(found[name] for name in pair))]
    assert [pair for pair in beside if TIMED.intersection(pair)] == []
    assert bool(beside) is (cores > 1), found
    files = [measured.folder / layout.forecast(MODELS[0], variant, "SIM_00000") for variant in (REFERENCE, OTHER)]
    tables = [pq.ParquetFile(file).read().to_pydict() for file in files]
    assert tables == measured.__dict__.setdefault("tables", tables)


def test_a_limit_on_threads_lets_nothing_in(fresh):
    """`--max-threads` bounds the threads of a job, and must not bound what a timed one claims."""
    listed = fresh.folder / "jobs.jsonl"
    plugins = str(Path(__file__).parent / "plugins")
    environment = {"JOB_LIST": str(listed), "PYTHONPATH": f"{fresh.environment()['PYTHONPATH']}{os.pathsep}{plugins}"}
    done = fresh.look("--cores", "8", "--max-threads", "1", "--logger", "joblist", environment=environment)
    assert done.returncode == 0, done.stdout
    jobs = [json.loads(line) for line in listed.read_text().splitlines()]
    slots = {(job["rule"] == "time", job["resources"]["slots"]) for job in jobs if job["rule"] != "all"}
    assert slots == {(True, 8), (False, 1)}


def test_starts_run_alone_where_their_seconds_are_judged():
    models = {"toto": {"variants": VARIANTS}, "kronos": None}
    plain = load_settings({"models": models}, [])
    limits = {"speed": {"cold_start_seconds": 60, "warm_start_seconds": 9}}
    judged = load_settings({"models": models, "rules": limits}, [])
    for stage in ("compile", "predict"):
        assert resources_of(stage, plain, "cpu", 4)["slots"] == 1
        assert resources_of(stage, judged, "cpu", 4)["slots"] == 4
        assert resources_of(stage, judged, "cpu")["slurm_extra"] == "--exclusive"


def two_devices(free=80 * 2**30, third="Another GPU"):
    """What NVML would say of two devices alike, and one that is not."""
    names = ("NVIDIA H200", "NVIDIA H200", third)
    devices = [
        {"index": number, "uuid": f"GPU-{number}", "name": name, "memory_free_bytes": free, "compute_mode": "default"}
        for number, name in enumerate(names)
    ]
    return {"available": True, "reason": "", "driver": "", "devices": devices}


def test_trials_share_a_gpu_only_as_far_as_its_memory_goes(monkeypatch):
    """What NVML says is made up here: there is no GPU on most machines that test."""
    settings = load_settings({"models": {"toto": {"variants": VARIANTS}, "kronos": None}}, [])
    alone = settings.model_copy(update={"device": settings.device.model_copy(update={"exclusive": True})})
    spread = settings.model_copy(update={"device": settings.device.model_copy(update={"spread": True})})
    for free, expected in ((80 * 2**30, 5), (10 * 2**30, 1), (None, 1)):
        monkeypatch.setattr("greenlight.run.resources.device_state", lambda free=free: two_devices(free))
        assert limits_of(settings, "cuda:0", 8)["gpu"] == expected
        assert limits_of(alone, "cuda:0", 8)["gpu"] == 1
        assert limits_of(spread, "cuda:0", 8)["gpu"] == 2 * expected
    assert "gpu" not in limits_of(settings, "cpu", 8)


def test_trials_that_are_not_timed_go_where_fewest_are(monkeypatch, tmp_path):
    monkeypatch.setattr("greenlight.run.spreading.device_state", two_devices)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    layout, job, rules = Layout(tmp_path), {"device": "cuda:0", "stage": "predict"}, {"spread": True}

    def place(stage="predict", rules=rules):
        return placed(layout, job | {"stage": stage}, rules)

    first, second = {"CUDA_VISIBLE_DEVICES": "GPU-0"}, {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    with place() as one, place() as two, place() as three:
        assert [one, two, three] == [first, second, first]
        with place("time") as timed, place(rules={}) as together:
            assert (timed, together) == (first, {})
    with place() as again:
        assert again == first
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")  # of these two only one is of its kind
    with place() as only:
        assert only == {}
