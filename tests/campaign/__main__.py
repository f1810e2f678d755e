"""The whole campaign, at most so many minutes: `python -m tests.campaign --minutes 30` (`make campaign`).

Half of the time goes to faults made at random in this process, the rest to whole small runs that are killed at random
moments, started twice at once, short of disk space, moved in time, or in another locale; each is then run to its end
and compared with an undisturbed run. Ends with a table, and with exit code 1 if anything was not so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pyarrow.parquet as pq

from greenlight.judgement.seal import broken_seal
from greenlight.report.history import read_history
from tests.campaign.faults import Faults, Outcome, attempt
from tests.workflow.project import SMALL, Project, make_project

LONGEST = 600


def small_project(folder: Path) -> Project:
    """One variant of one model: the shortest whole run."""
    project = make_project(folder)
    config = deepcopy(SMALL)
    config["models"] = {"kronos": {"variants": ["upstream-eager"]}, "toto": None}
    config["evaluation"]["windows"] = 1
    project.configure(config)
    return project


def figures(project: Project) -> dict[str, object]:
    """What two runs of the same must share: forecasts and the gate's word."""
    found: dict[str, object] = {
        path.parent.name: pq.ParquetFile(path).read().drop_columns([]).to_pylist()
        for path in sorted((project.folder / "results/forecasts").rglob("part-0.parquet"))
    }
    return found | {"gate": project.read("verdict.json")["gate"]}


def broken_baselines(project: Project) -> list[str]:
    """Stored baselines that are not whole."""
    files = sorted((project.folder / "config/baselines").glob("*/*.json"))
    return [path.name for path in files if broken_seal(json.loads(path.read_text() or "{}")) is not None]


class Runs:
    """Disturbed whole runs, held against an undisturbed one."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.good = small_project(folder / "good")
        begin = time.monotonic()
        self.good.snakemake()
        self.seconds = time.monotonic() - begin
        self.figures = figures(self.good)
        begin = time.monotonic()
        self.good.snakemake("-n")
        self.short_seconds = 2 * (time.monotonic() - begin)
        self.number = 0

    def start(self, project: Project, *asked: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a run in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "1", *asked, "--configfile", "small.json"],
            cwd=project.folder, env=project.environment() | more, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def to_the_end(self, project: Project, **more: str) -> str:
        """Run to the end and compare."""
        done = project.snakemake(environment=more, timeout=LONGEST)
        if "Traceback" in done.stdout:
            return f"a traceback: {done.stdout[-300:]}"
        return "fine" if figures(project) == self.figures else "other figures than an undisturbed run"

    def without_a_pass(self, project: Project) -> str:
        """Empty where an unfinished run left no pass."""
        results = project.folder / "results"
        env = results / "deploy.env"
        if (results / "gate.passed").exists() or (env.exists() and "GREENLIGHT_VERDICT=pass" in env.read_text()):
            return "an unfinished run left a pass"
        return ""

    def killed(self) -> Outcome:
        """SIGKILL at a random moment; from an empty folder, or with something stale after a pass."""
        project = small_project(self.folder / f"run{self.number}")
        stale = self.chance.random() < 0.5
        if stale:
            shutil.copytree(self.good.folder / "results", project.folder / "results")
            shutil.rmtree(project.folder / "results" / "prepare")
        moment = self.chance.uniform(3, max(4.0, self.seconds))

        def run() -> str:
            process = self.start(project)
            time.sleep(moment)
            finished = process.poll() is not None
            if not finished:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            left = "" if finished else self.without_a_pass(project)
            return left or self.to_the_end(project)

        return attempt("killed", f"after {moment:.1f} s{', something stale' if stale else ''}", run)

    def twice(self) -> Outcome:
        """Two runs at once: one is refused in words."""
        project = small_project(self.folder / f"run{self.number}")

        def run() -> str:
            first = self.start(project)
            time.sleep(self.chance.uniform(4, 8))
            second = project.snakemake(timeout=LONGEST)
            first.wait(LONGEST)
            if "Traceback" in second.stdout:
                return "a traceback"
            if second.returncode != 0 and "another run is at work" not in second.stdout:
                return f"the second one said {second.stdout[-200:]}"
            return self.to_the_end(project)

        return attempt("two at once", "one folder", run)

    def killed_accept(self) -> Outcome:
        """SIGKILL while a baseline is stored: each file is whole or not there, and the next one stores all."""
        project = small_project(self.folder / f"run{self.number}")
        shutil.copytree(self.good.folder / "results", project.folder / "results")
        shutil.rmtree(project.folder / "config/baselines", ignore_errors=True)
        asked = ("accept", "--config", "accept={who: campaign, reason: campaign, force: true}")
        moment = self.chance.uniform(0.5, 1.5 * self.short_seconds)

        def run() -> str:
            process = self.start(project, *asked)
            time.sleep(moment)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if broken := broken_baselines(project):
                return f"half a baseline: {broken}"
            done = project.snakemake(*asked, timeout=LONGEST)
            if done.returncode or "Traceback" in done.stdout:
                return f"accept after it said {done.stdout[-300:]}"
            stored = sorted(path.parent.name for path in (project.folder / "config/baselines").rglob("*.json"))
            return (
                "fine" if stored == ["accuracy", "baselines"] else f"stored are {stored}, {broken_baselines(project)}"
            )

        return attempt("killed in accept", f"after {moment:.1f} s", run)

    def killed_archive(self) -> Outcome:
        """SIGKILL while a run is archived: no half of one is listed, and the next run archives it."""
        project = small_project(self.folder / f"run{self.number}")
        shutil.copytree(self.good.folder / "results", project.folder / "results")
        shutil.rmtree(project.folder / "results" / "archive")
        (project.folder / "results" / "archived.json").unlink()
        moment = self.chance.uniform(1, 1.5 * self.short_seconds)

        def run() -> str:
            process = self.start(project)
            time.sleep(moment)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            archive = project.folder / "results" / "archive"
            if broken := read_history(archive).broken:
                return f"half an archived run: {broken}"
            ended = self.to_the_end(project)
            found = read_history(archive)
            return ended if found.runs in (1, 2) and not found.broken else f"archived: {found.runs}, {found.broken}"

        return attempt("killed in archive", f"after {moment:.1f} s", run)

    def full(self) -> Outcome:
        """A small disk that fills up, where this user may mount one."""
        project = small_project(self.folder / f"run{self.number}")
        disk, size = project.folder / "results", self.chance.choice([100, 300, 600, 1000])
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(disk)]
        if subprocess.run(command, capture_output=True).returncode:
            return Outcome("full disk", "not tried", "no disk can be mounted here")

        def run() -> str:
            done = project.snakemake(timeout=LONGEST)
            if done.returncode and "Traceback" in done.stdout.split("greenlight: ")[-1]:
                return f"a traceback: {done.stdout[-300:]}"
            said = done.returncode == 0 or "No space left on device" in done.stdout or "not measured" in done.stdout
            left = self.without_a_pass(project) if done.returncode else ""
            subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
            if left or not said:
                return left or f"ended with {done.stdout[-300:]}"
            return self.to_the_end(project)

        try:
            return attempt("full disk", f"{size} KiB", run)
        finally:
            subprocess.run(["umount", "-l", str(disk)], capture_output=True)

    def other_times(self) -> Outcome:
        """Results dated in the future, or all of one second: nothing is stale, or all is done in one run."""
        project = small_project(self.folder / f"run{self.number}")
        shutil.copytree(self.good.folder / "results", project.folder / "results")
        shift = self.chance.choice([-(10**9), 86400.0, 10**8])
        for path in (project.folder / "results").rglob("*"):
            if not path.is_symlink():
                os.utime(path, (time.time() + shift, time.time() + shift))
        stale = self.chance.random() < 0.5
        if stale:
            (project.folder / "results" / "scores").rename(project.folder / "gone")

        def run() -> str:
            if not stale and (left := project.stale()):
                return f"stale by its times: {left}"
            ended = self.to_the_end(project)
            return ended if ended != "fine" or not (left := project.stale()) else f"not done in one run: {left}"

        return attempt("other times", f"moved by {shift:g} s{', something stale' if stale else ''}", run)

    def elsewhere(self) -> Outcome:
        """Another locale and time zone."""
        project = small_project(self.folder / f"run{self.number}")
        zone, language = self.chance.choice(["Asia/Kathmandu", "America/St_Johns"]), self.chance.choice(["C", "POSIX"])
        run = lambda: self.to_the_end(project, TZ=zone, LC_ALL=language)  # noqa: E731
        return attempt("elsewhere", f"{zone}, {language}", run)

    def run(self) -> Iterator[Outcome]:
        """One case after the other, without end."""
        while True:
            cases = (self.killed, self.killed_accept, self.full, self.killed_archive, self.other_times)
            for case in (*cases, self.killed, self.twice, self.elsewhere):
                self.number += 1
                yield case()
                shutil.rmtree(self.folder / f"run{self.number}", ignore_errors=True)


def table(outcomes: list[Outcome]) -> str:
    """Tried, fine, said clearly, not so, by kind, as Markdown."""
    lines = ["| kind | tried | fine | said clearly | not so | not tried |", "|---|---|---|---|---|---|"]
    kinds = list(dict.fromkeys(one.kind for one in outcomes))
    for kind in (*kinds, None):
        own = [one for one in outcomes if kind in (None, one.kind)]
        ended = Counter(one.ended if one.ended in ("fine", "said", "not tried") else "not so" for one in own)
        tried = len(own) - ended["not tried"]
        cells = (kind or "**all**", tried, ended["fine"], ended["said"], ended["not so"], ended["not tried"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> int:
    """Entry point; prints each case that is not so, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--faults", type=int, default=400, help="faults in this process")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    outcomes: list[Outcome] = []
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for outcome in Faults(Path(folder) / "faults", arguments.seed).run(arguments.faults):
            outcomes.append(outcome)
            if time.monotonic() > end - 30 * arguments.minutes:
                break
        runs = None
        while time.monotonic() < end and (runs or arguments.minutes >= 2):
            runs = runs or Runs(Path(folder) / "runs", arguments.seed)
            for outcome in runs.run():
                outcomes.append(outcome)
                if time.monotonic() + 2 * runs.seconds > end:
                    break
            break
    for one in outcomes:
        if one.ended not in ("fine", "said"):
            print(f"{one.kind}: {one.tried}: {one.ended}")
    print(table(outcomes))
    return int(any(one.ended.startswith("not so") for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
