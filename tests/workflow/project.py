"""A project of its own for workflow tests: a copy of the workflow, three simulated symbols, a small evaluation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from tests.workflow.looks import look
from tools.simulate import write_universe

ROOT = Path(__file__).parents[2]
COPIED = ("Snakefile", "workflow", "config", "profiles", "pyproject.toml")
SMALL = {
    "data_folder": "prices",
    "seed": 7,
    "threads": 1,
    "symbols_per_job": 2,
    "evaluation": {
        "context_length": 32,
        "horizon": 12,
        "windows": 2,
        "samples": 8,
        "windows_per_call": 2,
        "probe_windows": 2,
        "extra_seconds": 1,
    },
    "timing": {
        "processes": 1,
        "pairs": 16,
        "control_pairs": 10,
        "warm_up_calls": 1,
        "steady_calls": 0,
        "extra_seconds": 1,
    },
    "trials": {"repeats": 4},
    # Tests run beside each other; and the published Kronos raises in threads now and then (docs/kronos.md).
    "rules": {"speed": {"foreign_load": 1.0}, "severity": {"concurrent-calls": "warn"}},
    "models": {
        "toto": {"variants": ["upstream-eager", "static-eager", "static-default"]},
        "kronos": {"variants": ["upstream-eager"]},
    },
}


@dataclass
class Project:
    """A checkout in a temporary folder, run by the command that users run."""

    folder: Path
    config: dict = field(default_factory=dict)

    def snakemake(self, *arguments, environment=None, timeout=900):
        """Run snakemake --cores 1; returns the completed process with both streams in `stdout`."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "1", *arguments, "--configfile", "small.json"],
            cwd=self.folder,
            env=self.environment() | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def sooner(self, *arguments, environment=None):
        """What `snakemake` gives, in a fork of a process that has imported it (see looks.py); for short runs."""
        given = ["--cores", "1", *arguments, "--configfile", "small.json"]
        return look("snakemake", *given, folder=self.folder, environment=self.environment() | (environment or {}))

    def look(self, *arguments, environment=None):
        """What `snakemake -n` gives, or what a module of greenlight that only looks gives, sooner."""
        if arguments and arguments[0].startswith("greenlight."):
            return look(*arguments, folder=self.folder, environment=self.environment() | (environment or {}))
        return self.sooner("-n", *arguments, environment=environment)

    def environment(self):
        return os.environ | {"PYTHONPATH": str(self.folder / "workflow"), "OMP_NUM_THREADS": "1"}

    def configure(self, config):
        self.config = config
        (self.folder / "small.json").write_text(json.dumps(config))

    def read(self, path):
        return json.loads((self.folder / "results" / path).read_text())

    def stale(self, *arguments):
        """Names of the rules that `snakemake -n` would run, with how many jobs each."""
        done = self.look(*arguments)
        assert done.returncode == 0, done.stdout
        counts, lines = {}, iter(done.stdout.splitlines())
        for line in lines:
            if line.split() == ["job", "count"]:
                next(lines)  # the rule under the header
                for row in lines:
                    name, count = row.split()
                    if name == "total":
                        return counts
                    if name != "all":
                        counts[name] = int(count)
        return counts


def copy_of(project: Project, folder: Path) -> Project:
    """A copy with results and Snakemake's records; precompiled headers, 150 MB a cache, stay behind."""
    shutil.copytree(project.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("*.gch", "*.pch"))
    copy = Project(folder)
    copy.configure(project.config)
    return copy


def make_project(folder: Path, symbols: int = 3, rows: int = 120) -> Project:
    """A copy of the workflow with `symbols` simulated price files."""
    folder.mkdir(parents=True, exist_ok=True)
    # With what Python has compiled, which it takes for as good as the files that keep their times. A name with more
    # behind .pyc is a file that another process is still writing.
    ignore = shutil.ignore_patterns("*.pyc.*", "*.egg-info", "docs")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)
    shutil.rmtree(folder / "config" / "baselines", ignore_errors=True)
    write_universe(folder / "prices", symbols, rows=rows, seed=3)
    project = Project(folder)
    project.configure(SMALL)
    return project


def make_tiny_project(folder: Path, *variants: str) -> Project:
    """The shortest whole run: two symbols, the plug-in of docs/plugins.md, eager where no variants are named."""
    project = make_project(folder, symbols=2, rows=80)
    shutil.copy(ROOT / "tests" / "plugins" / "drift.py", folder / "drift.py")
    config = deepcopy(SMALL)
    drift = {"plugin": "drift.py:MODEL", "variants": list(variants or ("plain-eager",))}
    config["models"] = {"toto": None, "kronos": None, "drift-1": drift}
    config["trials"] = {"repeats": 1}
    config["evaluation"] |= {"extra_seconds": 0, "call": {"concurrency": 1}}
    config["timing"] |= {"extra_seconds": 0}
    project.configure(config)
    return project
