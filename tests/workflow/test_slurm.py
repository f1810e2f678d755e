"""On SLURM: what jobs ask for, and a run on a real one-node cluster against the same run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from greenlight.files import read_json
from greenlight.layout import Layout
from greenlight.run.ledger import read_entry
from tests.workflow.project import ROOT, SMALL, copy_of, make_tiny_project
from tests.workflow.slurm_node import CannotStart, slurm_node

pytestmark = pytest.mark.slow
VARIANTS = ("upstream-eager", "static-eager")
DRIFT = ROOT / "tests" / "plugins" / "drift.py"
REFERENCE, OTHER = "plain-eager", "other-eager"
# Sample paths in place of quantiles, from random numbers; and a second implementation.
DRAWING = {
    "centre + spread * np.array([[NormalDist().inv_cdf(level)] for level in DECILES])": (
        "centre + spread * np.stack([np.random.default_rng([seed, *window.context.tobytes()])"
        ".standard_normal((samples, 1)) for window in windows])"
    ),
    "Forecast(levels=DECILES, random=False)": "Forecast()",
    "implementations={": 'implementations={"other": Implementation("Drift"), ',
}
# Jobs of rules with a number or a model in their name count as one rule.
RULES = {
    "weights", "prepare", "clear", "compile", "predict", "probe", "call", "repeat", "time", "score", "replicate",
    "expect", "diff", "judge", "report", "archive", "gate",
}  # fmt: skip
TRIALS = {"compile", "predict", "probe", "call", "repeat", "time", "replicate"}


def tiny(**changes):
    config = deepcopy(SMALL)
    config["evaluation"] |= {"windows": 1, "probe_windows": 1}
    config["symbols_per_job"] = 100
    config["trials"] = {"repeats": 1}
    # Not Toto, whose published code takes seconds to import in each trial.
    config["models"] = {"kronos": {"variants": list(VARIANTS)}, "toto": None}
    return config | changes


def shortest(folder):
    """A project of the shortest run whose jobs are all kinds of trials but calls and compiles.

    Its plug-in is the one of docs/plugins.md, whose trials are the shortest, made to draw random numbers.
    """
    project = make_tiny_project(folder, REFERENCE, OTHER)
    text = DRIFT.read_text()
    for old, new in DRAWING.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "drift.py").write_text(text)
    config = project.config
    config["evaluation"] |= {"windows": 1, "probe_windows": 1, "horizon": 4}
    config["symbols_per_job"] = 100
    project.configure(config)
    return project


def jobs(project, *arguments):
    """(rule, threads, resources) of each job that a run would have, by a logger plugin."""
    listed = project.folder / "jobs.jsonl"
    listed.unlink(missing_ok=True)
    plugins = str(Path(__file__).parent / "plugins")
    environment = {"JOB_LIST": str(listed), "PYTHONPATH": f"{project.environment()['PYTHONPATH']}{os.pathsep}{plugins}"}
    done = project.look(*arguments, "--logger", "joblist", environment=environment)
    assert done.returncode == 0, done.stdout
    for line in listed.read_text().splitlines():
        job = json.loads(line)
        name = job["rule"].split("_")[0]
        if name != "all":
            yield name, job["threads"], job["resources"]


def test_every_job_says_what_it_needs_and_only_timing_asks_for_the_node(fresh):
    config = tiny(threads=2)
    config["models"]["kronos"]["variants"].append("static-default")
    config["evaluation"] |= {"call": {"calls": 30}}
    config["timing"] |= {"processes": 2}
    config["trials"] = {"time_seconds": 600, "memory_gib": 2.5}
    fresh.configure(config)
    here = list(jobs(fresh, "--cores", "3"))
    there = list(jobs(fresh, "--cores", "3", "--profile", "profiles/slurm"))
    assert {name for name, *_ in here} == {name for name, *_ in there} == RULES
    for name, threads, resources in there:
        assert threads == (2 if name in TRIALS else 1), name
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
    refused = fresh.look(environment={"CUDA_VISIBLE_DEVICES": ""})
    assert refused.returncode == 2 and "device.name" in refused.stdout, refused.stdout


@pytest.fixture(scope="module")
def cluster():
    """The variables of a SLURM that runs on this machine."""
    try:
        with slurm_node() as environment:
            yield environment
    except CannotStart as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A project after a run on this machine alone."""
    project = shortest(tmp_path_factory.mktemp("here") / "project")
    project.first_run = project.snakemake()
    return project


# Snakemake as `python -m snakemake` runs it, but SLURM is asked every second: its executor waits ten seconds longer
# whenever no job has ended since it last asked.
ASKING = """
import sys
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
assert isinstance(RemoteExecutor.next_seconds_between_status_checks, property)
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, value: None)
sys.exit(main(sys.argv[1:]))
"""


def on_slurm(project, environment, *arguments):
    """The command for users, but asking SLURM more often."""
    return subprocess.run(
        [sys.executable, "-c", ASKING, *arguments, "--profile", "profiles/slurm", "--configfile", "small.json"],
        cwd=project.folder, env=project.environment() | environment, text=True, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def content(project):
    """Everything of a run that does not tell the time: forecasts, scores, prices, job descriptions."""
    results, found = project.folder / "results", {}
    for file in sorted(results.rglob("*.parquet")):
        if "archive" not in file.parts and file.name != "pairs.parquet":
            table = pq.ParquetFile(file).read()
            provenance = json.loads((table.schema.metadata or {}).get(b"greenlight", b"{}"))
            rows = [column.to_pylist() for column in table.columns]
            found[str(file.relative_to(results))] = (provenance.get("key"), table.schema.names, repr(rows))
    layout = Layout(results)
    for name in read_json(layout.plan)["jobs"]:
        entry = read_entry(layout, name)
        found[name] = entry and entry["job"]
    return found


def test_a_run_on_slurm_has_the_results_of_a_run_here(cluster, here, tmp_path):
    there = shortest(tmp_path / "there")
    away = on_slurm(there, cluster)
    assert away.stdout.count("has been submitted with SLURM jobid") == 8, away.stdout
    verdicts = [project.read("verdict.json")["gate"] for project in (here, there)]
    exits = [here.first_run.returncode, away.returncode]
    assert exits == [0 if gate == "pass" else 1 for gate in verdicts], away.stdout
    expected, found = content(here), content(there)
    assert found.keys() == expected.keys()
    assert [name for name, value in found.items() if value is None] == ([] if verdicts[1] == "pass" else ["gate"])
    assert sum(name.startswith("forecasts/") for name in found) == 2 * 2
    assert sum(name.startswith("scores/") for name in found) == 2
    for name in expected:
        assert found[name] == expected[name], name
    # A run here goes on from what the cluster has made: only a gate that failed is asked again.
    assert there.stale() == ({} if verdicts[1] == "pass" else {"gate": 1})


def test_a_node_of_another_kind_ends_the_run_with_one_message(cluster, here, tmp_path):
    """Planned for a processor that the node does not have: said clearly, and no evidence is left."""
    project = copy_of(here, tmp_path / "copy")
    project.configure(project.config | {"device": {"device": "cpu", "name": "Another Processor 9000"}})
    record = f"results/predict/model=drift-1/variant={OTHER}/shard=0000/record.json"
    done = on_slurm(project, cluster, record)
    assert done.returncode == 1 and done.stdout.count("has been submitted with SLURM jobid") == 1, done.stdout
    last = done.stdout[done.stdout.rindex("greenlight: device.name") :]
    assert "planned for 'Another Processor 9000'" in last and "Traceback" not in done.stdout, done.stdout
    assert not (project.folder / record).exists()
