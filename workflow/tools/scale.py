"""What one symbol more costs: `python -m tools.scale`.

Real runs of the workflow over 5, 50 and 500 simulated symbols, from nothing to the gate, then once more with
nothing to do. Overhead is what a run takes outside trials: planning, Python's starts, price files, parquet,
judging, report. `--model NAME` runs two variants of that model alone, upstream and our engine, both in eager mode.
`--of results` prints the same of a finished run instead, and its time by stage.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenlight.errors import UserError
from greenlight.files import read_json, write_json
from greenlight.layout import Layout
from greenlight.provenance import processor_name
from greenlight.run.table import TRIAL_STAGES
from tools.simulate import write_universe

ROOT = Path(__file__).parents[2]
ROWS = 400
# The default configuration without Kronos and without Toto's compiled published code, so that a run takes minutes.
CONFIG: dict[str, Any] = {
    "data_folder": "prices",
    "models": {"toto": {"variants": ["upstream-eager", "static-eager", "static-default"]}, "kronos": None},
}


@dataclass(frozen=True)
class Run:
    """One run, in seconds.

    Attributes:
        wall: the whole run.
        trials: spent in trials, their start included.
        stages: by stage, its jobs' whole time, trials included.
        jobs: by stage, the number of its jobs.
        nothing: (wall, CPU) of the next run, with nothing to do; None where none was made.
        peak_memory_bytes: the largest of all predict trials.
        shards: number of jobs that a variant's forecasts are spread over.
    """

    symbols: int
    wall: float
    trials: float
    stages: Mapping[str, float]
    jobs: Mapping[str, int]
    nothing: tuple[float, float] | None
    peak_memory_bytes: int
    shards: int

    @property
    def overhead(self) -> float:
        """Share of the run that was spent outside trials."""
        return 1 - self.trials / self.wall


def configuration(model: str | None) -> dict[str, Any]:
    """Of the runs: the default one, or two variants of one model in eager mode."""
    if model is None:
        return CONFIG
    variants = {"variants": ["upstream-eager", "static-eager"]}
    return CONFIG | {"models": {"toto": None, "kronos": None} | {model: variants}}


def run_universe(symbols: int, folder: Path, config: Mapping[str, Any]) -> Run:
    """Examine `symbols` simulated price files in a folder of their own, then look at them once more."""
    shutil.copytree(ROOT / "config", folder / "config", ignore=shutil.ignore_patterns("baselines"))
    write_universe(folder / "prices", symbols, rows=ROWS, seed=3)
    write_json(folder / "scale.json", config)
    wall, _ = _snakemake(folder)
    layout = Layout(folder / "results")
    # A gate that fails is asked again by every run; what is measured here is a run that finds nothing to do.
    nothing = _snakemake(folder, str(layout.archived.relative_to(folder)))
    return read_run(layout, wall, nothing)


def read_run(layout: Layout, wall: float | None = None, nothing: tuple[float, float] | None = None) -> Run:
    """The figures of a finished run from its ledger and records.

    Args:
        wall: seconds of the run; None to take them from its first to its last job.

    Raises:
        UserError: the folder holds no results of a whole run.
    """
    if not layout.plan.is_file():
        raise UserError(f"{layout.root}: there is no run in it; expected a results folder")
    plan = read_json(layout.plan)
    entries = {name: read_json(layout.entry(name)) for name in plan["jobs"] if layout.entry(name).is_file()}
    stages: dict[str, float] = {}
    for name, entry in entries.items():
        stage = name.split("/")[0]
        stages[stage] = stages.get(stage, 0.0) + (_time(entry["ended"]) - _time(entry["started"])).total_seconds()
    begin = _time(plan["started"])
    records = {path: read_json(path) for path in _records(layout)}
    predicted = [record for path, record in records.items() if path.is_relative_to(layout.root / "predict")]
    trials = [trial for record in records.values() for trial in record["trials"]]
    if not any(record["trials"] for record in predicted):
        raise UserError(f"{layout.root}: nothing was forecast in its last run; expected the results of a whole run")
    if any(_time(entry["started"]) < begin for entry in entries.values()):
        raise UserError(f"{layout.root}: its last run made a part of it only; expected the results of one whole run")
    if wall is None:
        wall = (max(_time(entry["ended"]) for entry in entries.values()) - begin).total_seconds()
    return Run(
        symbols=sum(len(entry["job"]["symbols"]) for name, entry in entries.items() if name.startswith("prepare/")),
        wall=wall,
        trials=sum(trial["seconds"] for trial in trials),
        stages=stages,
        jobs=Counter(name.split("/")[0] for name in entries),
        nothing=nothing,
        peak_memory_bytes=max(trial["peak_memory_bytes"] for record in predicted for trial in record["trials"]),
        shards=sum(name.startswith("prepare/") for name in entries),
    )


def _time(moment: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(moment)


def _records(layout: Layout) -> Iterator[Path]:
    for stage in TRIAL_STAGES:
        yield from sorted((layout.root / stage).rglob("record.json"))


def _snakemake(folder: Path, *targets: str) -> tuple[float, float]:
    """(wall, CPU) seconds of a run; RuntimeError with its last words unless it ended with the gate's verdict."""
    profile = str(ROOT / "profiles" / "default")
    own = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--workflow-profile", profile]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *own, *targets, "--configfile", "scale.json"]
    before, used = time.perf_counter(), _cpu_seconds()
    done = subprocess.run(
        command, cwd=folder, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seconds = time.perf_counter() - before, _cpu_seconds() - used
    if done.returncode not in (0, 1) or not (folder / "results" / "archived.json").is_file():
        raise RuntimeError(done.stdout[-4000:])
    return seconds


def _cpu_seconds() -> float:
    """CPU seconds of all children that have ended: what a busy machine does not lengthen much."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(runs: list[Run]) -> str:
    """Markdown: a row a run, and whether the cost of a symbol stays the same."""
    stages = ("prepare", "score", "expect", "diff", "judge", "report")
    lines = [
        "| symbols | jobs a variant | run | outside trials | nothing to do | peak memory of predict | "
        + " | ".join(stages)
        + " |",
        "|" + "---:|" * (6 + len(stages)),
    ]
    for run in runs:
        nothing = f"{run.nothing[0]:.1f} s ({run.nothing[1]:.1f} s CPU)" if run.nothing is not None else ""
        cells = [
            f"{run.symbols}", f"{run.shards}", f"{run.wall:.0f} s", f"{run.overhead:.0%}", nothing,
            f"{run.peak_memory_bytes / 2**20:.0f} MiB", *(f"{run.stages.get(stage, 0):.1f} s" for stage in stages),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    for less, more in itertools.pairwise(runs):
        each = (more.wall - less.wall) / (more.symbols - less.symbols)
        lines += ["", f"A symbol more, between {less.symbols} and {more.symbols}: {each:.2f} s"]
    return "\n".join(lines)


def stage_table(run: Run) -> str:
    """Markdown: where the time of one run went, a row a stage, the longest first; the rest is planning and waiting."""
    lines = ["| stage | jobs | time | share of the run |", "|---|---:|---:|---:|"]
    for stage, seconds in sorted(run.stages.items(), key=lambda entry: -entry[1]):
        lines.append(f"| {stage} | {run.jobs[stage]} | {seconds:.1f} s | {seconds / run.wall:.0%} |")
    return "\n".join(lines)


def main() -> None:
    """Print the figures as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tools.scale", description=__doc__)
    parser.add_argument("--symbols", type=int, nargs="+", default=[5, 50, 500], help="sizes of the universe")
    parser.add_argument("--model", choices=("toto", "kronos", "chronos-2"), help="two variants of this model alone")
    parser.add_argument("--keep", type=Path, help="folder to keep the runs in; by default they are removed")
    parser.add_argument("--of", type=Path, help="print the figures of this results folder instead")
    options = parser.parse_args()
    if options.of is not None:
        try:
            run = read_run(Layout(options.of))
            print(table([run]), stage_table(run), sep="\n\n")
        except UserError as error:
            sys.exit(f"greenlight: {error}")
        return
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "snakemake"))
    print(f"{datetime.date.today()}, {processor_name()}, {os.cpu_count()} CPU, {platform.machine()}, {versions}")
    config = configuration(options.model)
    print(f"{ROWS} rows a symbol, {json.dumps(config)}\n", flush=True)
    runs = []
    with tempfile.TemporaryDirectory(prefix="greenlight-scale-") as scratch:
        for symbols in options.symbols:
            folder = (options.keep or Path(scratch)) / f"symbols={symbols}"
            folder.mkdir(parents=True)
            runs.append(run_universe(symbols, folder, config))
            print(f"{symbols} symbols: {runs[-1].wall:.0f} s", file=sys.stderr, flush=True)
    print(table(runs))


if __name__ == "__main__":
    main()
