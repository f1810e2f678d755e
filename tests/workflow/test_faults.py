"""Variants that crash, hang or return NaN: findings in the report, told by their kind, while the rest goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from greenlight_forecasters import CHECKPOINTS
from tests.workflow.project import SMALL

pytestmark = pytest.mark.slow


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def only(*models):
    config = deepcopy(SMALL)
    config["models"] = {name: config["models"][name] if name in models else None for name in ("toto", "kronos")}
    config["evaluation"] |= {"windows": 1}
    config["trials"] = {"repeats": 1}
    return config | {"symbols_per_job": 3}


def kinds(project, stage, model, variant, name="record.json"):
    return [trial["kind"] for trial in project.read(f"{stage}/model={model}/variant={variant}/{name}")["trials"]]


@pytest.mark.long
def test_a_compiler_that_fails_and_one_that_hangs(fresh):
    """With a broken C++ compiler the compiled variant is a finding; eager variants are measured and decided on."""
    config = only("toto")
    fresh.configure(config)
    broken = script(fresh.folder / "broken-compiler", "echo 'this compiler is broken' >&2; exit 1")
    done = fresh.snakemake(environment={"CXX": broken})
    assert kinds(fresh, "compile", "toto", "static-default")[0] in ("compile-error", "missing-dependency")
    assert kinds(fresh, "probe", "toto", "static-eager") == ["ok"]
    report = (fresh.folder / "results/report.md").read_text()
    assert "static-default" in report.split("\n## ")[1]
    chosen = fresh.read("decision.json")["models"]["toto"]
    assert not (chosen["variant"] or "eager").endswith("default")
    assert "static-default" in chosen["losers"]
    assert done.returncode == (0 if fresh.read("verdict.json")["gate"] == "pass" else 1)

    hanging = script(fresh.folder / "hanging-compiler", "sleep 1000")
    config["trials"] |= {"compile_seconds": 20}
    fresh.configure(config)
    target = "results/compile/model=toto/variant=static-default/record.json"
    done = fresh.snakemake(target, environment={"CXX": hanging})
    assert done.returncode == 0, done.stdout
    record = fresh.read("compile/model=toto/variant=static-default/record.json")
    assert record["trials"][0]["kind"] == "time-out" and record["trials"][0]["advice"]
    assert not _running_below(fresh.folder)


def _running_below(folder):
    """Processes that still run something below a folder."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(folder) in line]


def test_weights_that_give_nan_are_an_invalid_output(fresh):
    broken = fresh.folder / "broken-tokenizer"
    shutil.copytree(CHECKPOINTS / "kronos-tokenizer", broken)
    tensors = load_file(broken / "model.safetensors")
    tensors["head.weight"] = torch.full_like(tensors["head.weight"], torch.nan)
    save_file(tensors, broken / "model.safetensors")
    config = only("kronos")
    config["models"]["kronos"]["tokenizer"] = str(broken)
    config["evaluation"] |= {"extra_seconds": 0, "call": {"concurrency": 1}, "horizon": 4, "samples": 2}
    fresh.configure(config)
    done = fresh.sooner()
    assert done.returncode == 1, done.stdout
    assert kinds(fresh, "predict", "kronos", "upstream-eager", "shard=0000/record.json") == ["invalid-output"]
    report = (fresh.folder / "results/report.md").read_text()
    assert "FAIL" in report.split("\n")[0] and "NaN" in report
    assert fresh.read("decision.json")["models"]["kronos"]["variant"] is None
    assert "KRONOS_COMPILE=0" in (fresh.folder / "results/deploy.env").read_text()


@pytest.mark.long
def test_killed_anywhere_the_next_run_finishes_the_job(fresh):
    """SIGKILL for Snakemake, its jobs and their trials, at several moments; then a run from what is left."""
    fresh.configure(only("kronos"))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "small.json"]
    for seconds in (6, 11, 17):
        process = subprocess.Popen(
            command,
            cwd=fresh.folder,
            env=fresh.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for file in (fresh.folder / "results").rglob("*.json"):
            json.loads(file.read_text())
        unlocked = fresh.snakemake("--unlock")
        assert unlocked.returncode == 0, unlocked.stdout
    done = fresh.snakemake()
    verdict = fresh.read("verdict.json")
    assert verdict["problems"] == []
    assert done.returncode == (0 if verdict["gate"] == "pass" else 1), done.stdout
    assert not _running_below(fresh.folder)
