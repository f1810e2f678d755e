"""Whole small runs that are killed, started several times at once, short of disk space, or moved in time or place.

Each is then run to its end, and what it holds is compared with an undisturbed run: forecasts, scores, and every check
that rests on forecasts, to the bit.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq

from greenlight.judgement.registry import NAMES
from greenlight.judgement.seal import broken_seal
from greenlight.report.history import read_history
from tests.campaign.faults import Outcome, attempt
from tests.workflow.project import Project, make_tiny_project

LONGEST = 900
ACCEPT = ("accept", "--config", "accept={who: campaign, reason: campaign, force: true}")
MEASURED = ("compile", "predict", "probe", "time")
JUDGED = {"report", "archive", "gate"}  # what follows the verdict
COMPARED = {"diff", "judge"} | JUDGED  # what follows a baseline: a whole accept leaves it stale too
MOST_KILLS = 8  # on one folder
FINE = "fine"


def tables(project: Project) -> dict[str, object]:
    """Forecasts and scores that are there, by path."""
    results = project.folder / "results"
    return {
        str(path.relative_to(results)): pq.ParquetFile(path).read().to_pylist()
        for folder in ("forecasts", "scores")
        for path in sorted((results / folder).rglob("*.parquet"))
    }


def figures(project: Project) -> dict[str, object]:
    """What two runs of the same must share: tables, the gate's word, and the checks that rest on forecasts."""
    verdict = project.read("verdict.json")
    checks = {
        (check["variant"], check["name"]): (check["status"], check["figure"])
        for check in verdict["checks"]
        if check["name"] in NAMES and not NAMES[check["name"]].own and "time" not in NAMES[check["name"]].stages
    }
    return tables(project) | {"gate": verdict["gate"], "checks": checks}


def measured(project: Project) -> dict[str, bytes]:
    """Entries of the measurements that are done: a later run must not lose them, nor make them again."""
    jobs = project.folder / "results" / "jobs"
    return {str(path): path.read_bytes() for stage in MEASURED for path in (jobs / stage).rglob("*.json")}


def at_work_below(folder: Path) -> list[str]:
    """Processes that run something of a folder."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"{folder}/" in line]


class Case:
    """One project that is disturbed, and an undisturbed one like it."""

    def __init__(self, folder: Path, good: Good, chance: random.Random, *, finished: bool = False) -> None:
        left = [] if finished else ["results", ".snakemake"]
        shutil.copytree(good.project.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(*left))
        self.project, self.good, self.chance, self.folder = Project(folder), good, chance, folder
        self.project.configure(good.project.config)
        self.results, self.starts = folder / "results", 0
        self.began_with = self.baselines()

    def start(self, *asked: str, **more: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a run in a process group of its own; what it says is kept in a file."""
        self.starts += 1
        file = self.folder / f"said{self.starts}"
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *asked, "--configfile", "small.json"]
        with file.open("wb") as said:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.project.environment() | more, start_new_session=True,
                stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return process, file

    def killed(self, moment: float, *asked: str) -> tuple[str, Path]:
        """Start, and end at a moment, mostly by SIGKILL of all: how, empty where it had ended by itself."""
        process, said = self.start(*asked)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            how = self.chance.choice(["all", "all", "all", "its main process", "SIGTERM", "SIGINT"])
            with contextlib.suppress(ProcessLookupError):
                if how == "its main process":
                    os.kill(process.pid, signal.SIGKILL)
                else:
                    os.killpg(process.pid, getattr(signal, how, signal.SIGKILL))
            process.wait(LONGEST)
            return f"{how} ended after {moment:.1f} s", said
        return "", said

    def kills(
        self, kind: str, moment: Callable[[], float], end: Callable[[], str], *asked: str, most: int = MOST_KILLS
    ) -> list[Outcome]:
        """Kill a run again and again, look after each, and run to the end: an outcome a kill."""
        outcomes: list[Outcome] = []
        done: dict[str, bytes] = {}
        for _ in range(most):
            how, said = self.killed(moment(), *asked)
            if not how:
                break
            outcomes.append(attempt(kind, f"{self.folder.name}: {how}", lambda said=said: self.whole(said)))
            done |= measured(self.project)

        def to_the_end() -> str:
            ended = end()
            after = measured(self.project)
            again = [name for name, content in done.items() if after.get(name) != content]
            return f"measured again after a kill: {again}" if ended == FINE and again else ended

        last = attempt(kind, f"{self.folder.name}: to the end after {len(outcomes)} kills", to_the_end)
        if last.ended != FINE:  # the last kill was not survived
            outcomes[-1:] = [last]
        return outcomes

    def whole(self, said: Path) -> str:
        """Whether a killed run left no pass, no half a file, and no other tables than an undisturbed one."""
        for path in self.results.rglob("*.json"):
            json.loads(path.read_text())
        if others := [name for name, rows in tables(self.project).items() if self.good.figures.get(name) != rows]:
            return f"other tables than an undisturbed run: {others}"
        text = said.read_text(errors="replace")
        # Python itself tells an interrupt that comes while a job is still importing.
        if "Traceback" in text and "KeyboardInterrupt" not in text:
            return f"a traceback: {text[-600:]}"
        # A run takes a pass back before its first job starts.
        return self.wrong_pass() if " done, " in text else FINE

    def wrong_pass(self) -> str:
        """Whether a pass is left that is not this run's own: what it was judged from is stale, or the gate is."""
        gate = (self.results / "gate.passed").exists()
        if gate or self.says_pass():
            left = set(self.project.stale())
            if self.baselines() != self.began_with:
                left -= COMPARED
            if left - JUDGED or (gate and left):
                return f"an unfinished run left a pass, with {sorted(left)} to do"
        return FINE

    def baselines(self) -> dict[str, bytes]:
        """Those that are stored."""
        stored = self.folder / "config/baselines"
        return {str(path.relative_to(stored)): path.read_bytes() for path in stored.rglob("*.json")}

    def says_pass(self) -> bool:
        """Whether deploy.env does."""
        env = self.results / "deploy.env"
        return env.exists() and "GREENLIGHT_VERDICT=pass" in env.read_text()

    def to_the_end(self, **more: str) -> str:
        """Run to the end and compare."""
        done = self.project.snakemake(environment=more, timeout=LONGEST)
        if "Traceback" in done.stdout:
            return f"a traceback: {done.stdout[-600:]}"
        found = figures(self.project)
        if others := [str(name) for name, value in found.items() if self.good.figures.get(name) != value]:
            return f"other figures than an undisturbed run: {others}; {done.stdout[-600:]}"
        left = at_work_below(self.folder)
        return f"left at work: {left}" if left else FINE if set(found) == set(self.good.figures) else "figures are gone"


class Good:
    """An undisturbed run, its seconds and its figures."""

    def __init__(self, folder: Path, *variants: str) -> None:
        self.project = make_tiny_project(folder, *variants)
        begin = time.monotonic()
        done = self.project.snakemake(timeout=LONGEST)
        self.seconds, self.figures = time.monotonic() - begin, figures(self.project)
        assert done.returncode == 0, done.stdout[-3000:]


class Runs:
    """Disturbed whole runs; several threads may ask for cases."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.eager = Good(folder / "eager", "plain-eager")
        self.compiled = Good(folder / "compiled", "plain-eager", "plain-default")
        begin = time.monotonic()
        self.eager.project.snakemake("-n")
        self.starting = time.monotonic() - begin
        self.lock, self.numbers = threading.Lock(), count()

    def run(self) -> Iterator[list[Outcome]]:
        """One case after the other, without end; most are kills, several on one folder."""
        kills = (self.killed_from_nothing, self.killed_when_stale, self.killed_accept, self.killed_when_stale)
        others = (self.full, self.other_times, self.at_once, self.elsewhere, self.clock_back)
        while True:
            with self.lock:
                number = next(self.numbers)
            turn, place = divmod(number, 6)
            case = (*kills, self.killed_archive, others[turn % len(others)])[place]
            folder, chance = self.folder / f"run{number}", random.Random(100_003 * self.seed + number)
            try:
                yield case(folder, chance)
            except Exception as error:  # of the campaign itself: never lost
                yield [Outcome(case.__name__, f"not so: {type(error).__name__}: {error}", folder.name)]
            shutil.rmtree(folder, ignore_errors=True)

    def some_good(self, chance: random.Random) -> Good:
        """Mostly the shorter one."""
        return self.compiled if chance.random() < 0.2 else self.eager

    def killed_from_nothing(self, folder: Path, chance: random.Random) -> list[Outcome]:
        """Killed again and again, from an empty folder on."""
        case = Case(folder, self.some_good(chance), chance)

        def moment() -> float:
            return self.starting * chance.uniform(0.4, 1.1) + chance.expovariate(8 / case.good.seconds)

        return case.kills("killed, from nothing", moment, case.to_the_end)

    def killed_when_stale(self, folder: Path, chance: random.Random) -> list[Outcome]:
        """Killed again and again, with something of a run that passed gone."""
        case = Case(folder, self.some_good(chance), chance, finished=True)
        entries = [
            path
            for path in sorted((case.results / "jobs").rglob("*.json"))
            if path.parent.name not in ("jobs", "stale")
        ]
        for path in chance.sample(entries, chance.randint(1, 3)):
            path.unlink()
        if chance.random() < 0.5:
            shutil.rmtree(case.results / chance.choice(["prepare", "predict", "scores", "probe", "weights"]))

        def moment() -> float:
            return self.starting * chance.uniform(0.4, 1.1) + chance.uniform(0, case.good.seconds / 4)

        return case.kills("killed, something stale", moment, case.to_the_end)

    def killed_accept(self, folder: Path, chance: random.Random) -> list[Outcome]:
        """Killed while a baseline is stored: each file is whole or not there, and the next one stores all."""
        case = Case(folder, self.eager, chance, finished=True)
        stored = folder / "config/baselines"

        def end() -> str:
            if broken := [path.name for path in stored.glob("*/*.json") if not whole_baseline(path)]:
                return f"half a baseline: {broken}"
            done = case.project.snakemake(*ACCEPT, timeout=LONGEST)
            if done.returncode or "Traceback" in done.stdout:
                return f"accept after it said {done.stdout[-300:]}"
            json.loads((stored / "accepted.json").read_text())
            found = [path.parent.name for path in stored.glob("*/*.json") if whole_baseline(path)]
            return FINE if found == ["accuracy"] else f"stored are {found}"

        moment = lambda: self.starting * chance.uniform(0.5, 1.6)  # noqa: E731
        return case.kills("killed in accept", moment, end, *ACCEPT, most=4)

    def killed_archive(self, folder: Path, chance: random.Random) -> list[Outcome]:
        """Killed while a run is archived: no half of one is listed, and the next run archives it."""
        case = Case(folder, self.eager, chance, finished=True)
        archive = case.results / "archive"
        shutil.rmtree(archive)
        (case.results / "archived.json").unlink()

        def end() -> str:
            if broken := read_history(archive).broken if archive.is_dir() else ():
                return f"half an archived run: {broken}"
            ended = case.to_the_end()
            found = read_history(archive)
            return ended if found.runs and not found.broken else f"archived: {found.runs}, {found.broken}"

        return case.kills("killed in archive", lambda: self.starting * chance.uniform(0.7, 2), end, most=4)

    def at_once(self, folder: Path, chance: random.Random) -> list[Outcome]:
        """Two to four runs on one folder: one is at work, the others are refused in words."""
        case = Case(folder, self.eager, chance)
        number = chance.randint(2, 4)

        def run() -> str:
            started = []
            for _ in range(number):
                started.append(case.start())
                time.sleep(chance.choice([0, self.starting / 2, self.starting]))
            for process, file in started:
                code, said = process.wait(LONGEST), file.read_text()
                if "Traceback" in said:
                    return f"a traceback: {said[-600:]}"
                if code and "another run is at work" not in said:
                    return f"one said {said[-300:]}"
            return case.to_the_end()

        return [attempt(f"{number} at once", folder.name, run)]

    def full(self, folder: Path, chance: random.Random) -> list[Outcome]:
        """A small disk that fills up, where this user may mount one; it grows, and the next run goes on."""
        case = Case(folder, self.eager, chance)
        size = chance.randint(20, 1400)
        case.results.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(case.results)]
        if subprocess.run(mount, capture_output=True).returncode:
            return [Outcome("full disk", "not tried", "no disk can be mounted here")]

        def run() -> str:
            done = case.project.snakemake(timeout=LONGEST)
            said = done.stdout
            if done.returncode and (
                "Traceback" in said or ("No space left" not in said and "not measured" not in said)
            ):
                return f"it said {said[-600:]}"
            before = measured(case.project)
            subprocess.run(["mount", "-o", "remount,size=1g", str(case.results)], check=True)
            ended = case.wrong_pass()
            ended = case.to_the_end() if ended == FINE else ended
            lost = [name for name, content in before.items() if not Path(name).is_file()] if before else []
            return f"lost: {lost}" if lost else ended

        try:
            return [attempt("full disk", f"{folder.name}: {size} KiB", run)]
        finally:
            subprocess.run(["umount", "-l", str(case.results)], capture_output=True)

    def other_times(self, folder: Path, chance: random.Random) -> list[Outcome]:
        """Results dated in the future, or all of one second: nothing is stale, or all is done in one run."""
        case = Case(folder, self.eager, chance, finished=True)
        shift = chance.choice([-(10**9), 86400.0, 10**8])
        for path in case.results.rglob("*"):
            if not path.is_symlink():
                os.utime(path, (time.time() + shift, time.time() + shift))
        if stale := chance.random() < 0.5:
            (case.results / "scores").rename(folder / "gone")

        def run() -> str:
            if not stale and (left := case.project.stale()):
                return f"stale by its times: {left}"
            return _in_one_run(case, case.to_the_end())

        what = f"{folder.name}: moved by {shift:g} s{', something stale' if stale else ''}"
        return [attempt("other times", what, run)]

    def clock_back(self, folder: Path, chance: random.Random) -> list[Outcome]:
        """The clock is set back while a run is at work, and is right again in the next one."""
        library = self.folder / "clock.so"
        with self.lock:
            if not library.exists():
                source = str(Path(__file__).with_name("clock.c"))
                command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"]
                if subprocess.run(command, capture_output=True).returncode:
                    return [Outcome("clock goes back", "not tried", "no C compiler here")]
        case, back = Case(folder, self.some_good(chance), chance), chance.choice([3600, 86400, 10**8])
        moment = int(time.time() + chance.uniform(0, case.good.seconds))
        clock = {"LD_PRELOAD": str(library), "CLOCK_BACK_AT": str(moment), "CLOCK_BACK_BY": str(back)}
        return [
            attempt("clock goes back", f"{folder.name}: {back} s", lambda: _in_one_run(case, case.to_the_end(**clock)))
        ]

    def elsewhere(self, folder: Path, chance: random.Random) -> list[Outcome]:
        """Another locale and time zone."""
        case = Case(folder, self.eager, chance)
        zone, language = chance.choice(["Asia/Kathmandu", "America/St_Johns"]), chance.choice(["C", "POSIX"])
        run = lambda: case.to_the_end(TZ=zone, LC_ALL=language)  # noqa: E731
        return [attempt("elsewhere", f"{folder.name}: {zone}, {language}", run)]


def whole_baseline(path: Path) -> bool:
    """Whether a stored baseline is as it was written."""
    return broken_seal(json.loads(path.read_text())) is None


def _in_one_run(case: Case, ended: str) -> str:
    left = case.project.stale() if ended == FINE else {}
    return f"not done in one run: {left}" if left else ended
