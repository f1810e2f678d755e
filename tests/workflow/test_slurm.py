"""On SLURM: what jobs ask for."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from pathlib import Path

import pytest

from tests.workflow.project import SMALL

pytestmark = pytest.mark.slow
VARIANTS = ("upstream-eager", "static-eager")
# Jobs of rules with a number or a model in their name count as one rule.
RULES = {
    "weights", "prepare", "clear", "compile", "predict", "probe", "time", "score", "expect", "diff", "judge",
    "report", "archive", "gate",
}  # fmt: skip
TRIALS = {"compile", "predict", "probe", "time"}


def tiny(**changes):
    config = deepcopy(SMALL)
    config["evaluation"] |= {"windows": 1, "probe_windows": 1}
    config["symbols_per_job"] = 100
    config["models"] = {"toto": {"variants": list(VARIANTS)}, "kronos": None}
    return config | changes


def jobs(project, *arguments):
    """(rule, threads, resources) of each job that a run would have, by a logger plugin."""
    listed = project.folder / "jobs.jsonl"
    listed.unlink(missing_ok=True)
    plugins = str(Path(__file__).parent / "plugins")
    environment = {"JOB_LIST": str(listed), "PYTHONPATH": f"{project.environment()['PYTHONPATH']}{os.pathsep}{plugins}"}
    done = project.snakemake(*arguments, "-n", "--logger", "joblist", environment=environment)
    assert done.returncode == 0, done.stdout
    for line in listed.read_text().splitlines():
        job = json.loads(line)
        name = job["rule"].split("_")[0]
        if name != "all":
            yield name, job["threads"], job["resources"]


def test_every_job_says_what_it_needs_and_only_timing_asks_for_the_node(fresh):
    config = tiny(threads=3)
    config["models"]["toto"]["variants"].append("static-default")
    config["timing"] |= {"processes": 2}
    config["trials"] = {"time_seconds": 600, "memory_gib": 2.5}
    fresh.configure(config)
    here = list(jobs(fresh, "--cores", "3"))
    there = list(jobs(fresh, "--cores", "3", "--profile", "profiles/slurm"))
    assert {name for name, *_ in here} == {name for name, *_ in there} == RULES
    for name, threads, resources in there:
        assert threads == (3 if name in TRIALS else 1), name
        assert resources["mem_mb"] > 0 and resources["runtime"] > 0, name
        assert "gpu" not in resources, name
        assert resources.get("slurm_extra") == ("--exclusive" if name == "time" else None), name
    assert not any("slurm_extra" in resources for _, _, resources in here)
    (asked,) = {(r["runtime"], r["mem_mb"]) for name, _, r in there if name == "time"}
    assert asked[0] >= 2 * 600 / 60 and asked[1] > 2.5 * 1024


def test_trials_ask_for_a_gpu_where_the_device_is_one_and_nothing_else_does(fresh):
    fresh.configure(tiny(device={"device": "cuda", "name": "NVIDIA H200"}))
    for name, _, resources in jobs(fresh, "--profile", "profiles/slurm"):
        assert resources.get("gpu") == (1 if name in TRIALS else None), name


def test_the_targets_beside_the_run_say_what_they_need(fresh):
    fresh.configure(tiny(device={"device": "cuda", "name": "NVIDIA H200"}))
    for target in ("why", "history", "diagnose"):
        (asked,) = [resources for name, _, resources in jobs(fresh, target) if name == target]
        assert asked["mem_mb"] > 0 and asked["runtime"] > 0
        assert asked.get("gpu") == (1 if target == "diagnose" else None)


def test_a_gpu_that_only_the_nodes_have_must_be_named(fresh):
    fresh.configure(tiny(device={"device": "cuda"}))
    refused = fresh.snakemake("-n", environment={"CUDA_VISIBLE_DEVICES": ""})
    assert refused.returncode == 2 and "device.name" in refused.stdout, refused.stdout
