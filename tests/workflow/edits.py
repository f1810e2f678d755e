"""Edits of a project: what the table of `test_staleness` does to it, one after the other."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy

from greenlight.code import places_of

WORKFLOW = "workflow/"
PACKAGE = f"{WORKFLOW}greenlight/"


def add_code(path):
    """A change that is code, but changes no result."""

    def edit(project):
        file = project.folder / WORKFLOW / path
        file.write_text(file.read_text() + "\n_EDITED = True\n")

    return edit


def edit_text(path, old, new):
    def edit(project):
        file = project.folder / path
        text = file.read_text()
        assert old in text, f"{path} has no {old!r}"
        file.write_text(text.replace(old, new, 1))

    return edit


def configure(*section, **changes):
    def edit(project):
        config = deepcopy(project.config)
        target = config
        for key in section:
            target = target.setdefault(key, {})
        target.update(changes)
        (project.folder / "small.json").write_text(json.dumps(config))

    return edit


def touch_everything(project):
    for file in sorted(project.folder.rglob("*"), reverse=True):
        if file.is_file() and ".snakemake" not in file.parts:
            os.utime(file)


def fresh_clone(project):
    """A checkout elsewhere with the results copied in: no records of Snakemake's, times in any order."""
    shutil.rmtree(project.folder / ".snakemake", ignore_errors=True)
    touch_everything(project)


def fresh_clone_and_metric(project):
    fresh_clone(project)
    add_code("greenlight/measures/accuracy.py")(project)


def unfinished_for_snakemake(project):
    """Snakemake was killed between the end of a job and its own note of it."""
    folder = project.folder / ".snakemake/incomplete"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / base64.b64encode(b"results/verdict.json").decode()).touch()


def results_from_the_future(project):
    for file in (project.folder / "results").rglob("*"):
        if file.is_file():
            os.utime(file, (time.time() + 10_000,) * 2)
    add_code("greenlight/measures/accuracy.py")(project)


def change_last_row(symbol, older=False):
    def edit(project):
        file = project.folder / "prices" / f"{symbol}.csv"
        before = file.stat()
        lines = file.read_text().rstrip("\n").split("\n")
        cells = lines[-1].split(",")
        lines[-1] = ",".join([*cells[:-1], str(int(float(cells[-1])) + 1)])
        file.write_text("\n".join(lines) + "\n")
        if older:
            os.utime(file, (before.st_atime - 10_000, before.st_mtime - 10_000))

    return edit


def change_weights(name, older=False):
    """One bit of the last weight."""

    def edit(project):
        file = project.folder / WORKFLOW / "greenlight_forecasters/checkpoints" / name / "model.safetensors"
        before, content = file.stat(), bytearray(file.read_bytes())
        assert not older or len(content) > 1_000_000, "not over the size up to which Snakemake hashes"
        content[-4] ^= 1
        file.write_bytes(content)
        if older:
            os.utime(file, (before.st_atime - 10_000, before.st_mtime - 10_000))

    return edit


def rewrite_same_bytes(project):
    file = project.folder / "prices/SIM_00000.csv"
    file.write_bytes(file.read_bytes())


def symbol(change):
    """Copy, move or remove a price file."""

    def edit(project):
        prices = project.folder / "prices"
        if change == "added":
            shutil.copy(prices / "SIM_00000.csv", prices / "SIM_00003.csv")
        elif change == "renamed":
            (prices / "SIM_00002.csv").rename(prices / "SIM_00009.csv")
        else:
            (prices / "SIM_00002.csv").unlink()

    return edit


def install(package, version):
    """Another version of a package in front of the installed one, as far as its metadata says."""

    def edit(project):
        folder = project.folder / "workflow" / f"{package.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")

    return edit


def shadow(package, file):
    """A copy of an installed package in front of it on PYTHONPATH, with a comment more in one file."""

    def edit(project):
        (installed,) = places_of(package)
        copy = project.folder / WORKFLOW / package
        shutil.copytree(installed, copy, ignore=shutil.ignore_patterns("__pycache__"))
        with (copy / file).open("a") as opened:
            opened.write("# edited\n")

    return edit


def move_module(project):
    room = project.folder / PACKAGE / "run"
    (room / "judging.py").rename(room / "judged.py")
    for name in ("judge.py", "accept.py"):
        edit_text(f"{PACKAGE}run/stages/{name}", "greenlight.run.judging", "greenlight.run.judged")(project)


def accept_a_baseline(project):
    folder = project.folder / "config/baselines"
    folder.mkdir(parents=True)
    (folder / "accuracy-toto.json").write_text("{}")


def results(pattern, change):
    """Delete or shorten the one file of the results that fits a pattern."""

    def edit(project):
        (file,) = (project.folder / "results").glob(pattern)
        if change == "deleted":
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:-100])

    return edit


def interrupt_a_trial(project):
    """Start a probe as the workflow does, and kill it and its trial: the record of before still lies there."""
    trial = project.folder / "results/trials/probe/model=kronos/variant=upstream-eager/request.json"
    before = trial.stat().st_mtime_ns
    names = ("--results", "results", "--job", "probe/kronos/upstream-eager", "--symbols", "SIM_00000", "SIM_00001")
    command = [sys.executable, "-m", "greenlight.run.stages.probe", *names]
    with subprocess.Popen(command, cwd=project.folder, env=project.environment(), stderr=subprocess.PIPE) as stage:
        while trial.stat().st_mtime_ns == before:
            assert stage.poll() is None, stage.stderr.read()
            time.sleep(0.05)
        stage.send_signal(signal.SIGKILL)
    assert (project.folder / "results/probe/model=kronos/variant=upstream-eager/record.json").is_file()


def unknown_variable(project):
    project.variables["GREENLIGHT_UNKNOWN"] = "1"


def other_compiler(project):
    """Another file than the C++ compiler, that is one."""
    (project.folder / "c++").write_text('#!/bin/sh\nexec g++ "$@"\n')
    (project.folder / "c++").chmod(0o755)
    project.variables["CXX"] = str(project.folder / "c++")
