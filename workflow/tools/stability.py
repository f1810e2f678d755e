"""Is the choice the same each time? `python -m tools.stability --runs 10`.

Times and judges the variants of a finished run again and again, in its own results folder: with `--cores 1`, with
`--cores 2`, and beside a foreign load that keeps one core busy. All other evidence stays as it is. Prints a row a run;
exit code 1 where two runs that pass choose differently, or none passes on an empty machine.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from greenlight.files import read_json
from greenlight.layout import Layout
from greenlight.provenance import processor_name

# Name: (cores, whether a foreign load runs beside).
CONDITIONS = {"cores-1": (1, False), "cores-2": (2, False), "loaded": (1, True)}


@dataclass(frozen=True)
class Judged:
    """One time that everything was timed and judged.

    Attributes:
        verdict: of the gate; reasons: why it does not pass, and which variants fail by what.
        chosen: model and variant that is deployed, None where none is.
        minutes: of timing and judging.
    """

    condition: str
    verdict: str
    reasons: tuple[str, ...]
    chosen: tuple[tuple[str, str | None], ...]
    minutes: float


def judge_again(layout: Layout, condition: str, arguments: Sequence[str] = ()) -> Judged:
    """Time and judge once more under a condition.

    Args:
        arguments: for Snakemake, such as `--configfile` of the run.

    Raises:
        RuntimeError: the run ended without a verdict of its own; with its last words.
    """
    cores, loaded = CONDITIONS[condition]
    layout.verdict.unlink(missing_ok=True)
    # The rule after --cores, for --forcerun takes all words up to the next option.
    command = [sys.executable, "-m", "snakemake", str(layout.verdict), "--forcerun", "time", "--cores", str(cores)]
    with _load() if loaded else contextlib.nullcontext():
        begin = time.perf_counter()
        done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        minutes = (time.perf_counter() - begin) / 60
    if done.returncode or not layout.verdict.is_file():
        raise RuntimeError(done.stdout[-4000:])
    verdict, models = read_json(layout.verdict), read_json(layout.decision)["models"]
    chosen = tuple((name, models[name]["chosen"]) for name in sorted(models))
    failing = [
        f"{model} {variant}: {reason}"
        for model, decision in models.items()
        for variant, reason in decision["losers"].items()
        if not reason.startswith(("passes", "the same as", "trials: the same as"))
    ]
    return Judged(condition, verdict["gate"], (*verdict["reasons"], *failing), chosen, minutes)


@contextlib.contextmanager
def _load() -> Iterator[None]:
    """A process of nobody's run that keeps one core busy."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def problem_with(runs: Sequence[Judged]) -> str:
    """What is wrong with runs that should choose the same, in words; empty where nothing is."""
    passing = [run for run in runs if run.verdict == "pass"]
    empty = [run for run in runs if not CONDITIONS[run.condition][1]]
    if empty and not any(run.verdict == "pass" for run in empty):
        return "no run passes, though nothing else was started beside"
    different = sorted({", ".join(f"{model} {variant}" for model, variant in run.chosen) for run in passing})
    return f"runs that pass choose differently: {'; or '.join(different)}" if len(different) > 1 else ""


def row(number: int, run: Judged) -> str:
    """A row of the table."""
    chosen = ", ".join(f"{model}: {variant or 'none'}" for model, variant in run.chosen)
    why = "; ".join(run.reasons).replace("|", "\\|")[:300]
    return f"| {number} | {run.condition} | {run.verdict} | {chosen} | {run.minutes:.1f} | {why} |"


def main() -> None:
    """Print the runs as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tools.stability", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="under each condition")
    parser.add_argument("--of", type=Path, default=Path("results"), help="results folder of a finished run")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS), help="by default all")
    parser.add_argument("--configfile", help="of that run, where it is not the default one")
    options = parser.parse_args()
    if not Layout(options.of).decision.is_file():
        sys.exit(f"greenlight: {options.of}: no run was judged in it; expected the results of a finished run")
    arguments = ["--configfile", options.configfile] if options.configfile else []
    print(f"{datetime.date.today()}, {processor_name()}, {os.cpu_count()} CPU, {platform.machine()}\n")
    print("| run | condition | verdict | chosen | minutes | what fails |\n|---:|---|---|---|---:|---|", flush=True)
    runs: list[Judged] = []
    for condition in options.conditions:
        for number in range(1, options.runs + 1):
            runs.append(judge_again(Layout(options.of), condition, arguments))
            print(row(number, runs[-1]), flush=True)
    passing = sum(run.verdict == "pass" for run in runs)
    if problem := problem_with(runs):
        sys.exit(f"\n{problem}")
    print(f"\n{passing} of {len(runs)} runs pass, and choose the same.")


if __name__ == "__main__":
    main()
