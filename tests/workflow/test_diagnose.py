"""snakemake diagnose on a healthy set-up and with a seeded fault: always a page, always exit code 0."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy

import pytest

from greenlight.judgement.seal import broken_seal
from greenlight.trials.gpu import device_state
from tests.workflow.project import SMALL

TINY = {"context_length": 32, "horizon": 4, "windows": 1, "samples": 2, "windows_per_call": 1, "probe_windows": 1}


def diagnose(project, *variants, model="toto", environment=None, **more):
    config = deepcopy(SMALL) | more
    config["evaluation"] = TINY
    config["models"] = {"toto": None, "kronos": None, model: {"variants": list(variants)}}
    project.configure(config)
    done = project.snakemake("diagnose", environment=environment)
    assert done.returncode == 0, done.stdout
    record = project.read("diagnosis.json")
    assert broken_seal(record) is None
    return record, (project.folder / "results/diagnosis.md").read_text(), done.stdout


@pytest.mark.slow
def test_a_healthy_set_up(fresh):
    record, page, _ = diagnose(fresh, "upstream-eager", "static-eager", model="kronos")
    kinds = {step["name"]: step["kind"] for step in record["steps"]}
    assert kinds == {
        "a tiny tensor operation on cpu": "ok",
        "kronos upstream-eager alone": "ok",
        "kronos static-eager alone": "ok",
        "one after the other, with unloading between": "ok",
    }, record
    assert "Nothing failed: all 4 cases passed." in page
    in_turn = record["steps"][-1]
    assert [outcome["released"] for outcome in in_turn["outcomes"]] == [True, True]
    steps = [reading["what"] for reading in in_turn["readings"] if reading["done"]]
    assert steps[0] == "kronos upstream-eager: load" and steps[-1] == "kronos static-eager: unload"
    assert all(reading["host_bytes"] > 2**20 for step in record["steps"] for reading in step["readings"])
    assert record["not_run"] == [["one variant of each model together", "there is one model to load"]]
    assert not list((fresh.folder / "results/trials/diagnose").rglob("cache"))


@pytest.mark.slow
@pytest.mark.long
def test_a_broken_compiler(fresh):
    """Eager passes, compiled fails, and so does a function of one line: the compiler, not the model."""
    broken = fresh.folder / "broken-compiler"
    broken.write_text("#!/bin/sh\necho 'this compiler is broken' >&2; exit 1\n")
    broken.chmod(0o755)
    record, page, said = diagnose(
        fresh, "upstream-eager", "static-eager", "static-default", environment={"CXX": str(broken)}
    )
    kinds = {step["name"]: step["kind"] for step in record["steps"]}
    assert kinds["toto upstream-eager alone"] == kinds["toto static-eager alone"] == "ok"
    failed = kinds["toto static-default alone"]
    assert failed in ("compile-error", "missing-dependency")
    assert kinds["toto static-default alone, again"] == failed
    assert kinds["compiling a function of one line"] == failed
    conclusion = record["conclusion"]
    assert conclusion["first"]["name"] == "toto static-default alone"
    assert conclusion["first"]["failed_in"] == "toto static-default: compile and first call"
    assert [finding["cause"] for finding in conclusion["findings"]] == ["compiler"]
    assert "static-eager passes" in said and "static-eager passes" in page
    assert f"`CXX` is `{broken}`" in page and conclusion["findings"][0]["advice"][0] in page


@pytest.mark.slow
@pytest.mark.skipif(device_state()["available"], reason="about a machine without a driver")
def test_a_device_that_is_not_there_ends_with_a_page(fresh):
    record, page, said = diagnose(fresh, "upstream-eager", device={"device": "cuda"})
    assert [(step["name"], step["kind"]) for step in record["steps"]] == [("asking for cuda", "missing-dependency")]
    assert [name for name, _ in record["not_run"]] == ["toto upstream-eager alone"]
    for text in (page, said):
        assert "There is no NVIDIA driver on this machine" in text
    assert "set device.device to cpu and diagnose again" in page and "## Memory" not in page
    assert fresh.look().returncode == 2


def test_a_mistake_in_the_configuration_is_one_message(tmp_path):
    config = {"models": {"toto": {}}, "data_folder": "nowhere", "results_folder": str(tmp_path / "results")}
    done = subprocess.run(
        [sys.executable, "-m", "greenlight.run.stages.diagnose", "--config", json.dumps(config)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "nowhere" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "results/diagnosis.md").exists()
