"""Where people decide, by the commands of users on whole small runs: bisect, compare and sweep with the real gate."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from greenlight.code import places_of
from tests.workflow.project import make_project, make_tiny_project

pytestmark = pytest.mark.long

CENTRE = "return centre + spread * "
# Every later window of a call is forecast as the first one.
PLANTED = "return centre[:1] + (centre - centre)[..., :1] + spread * "


def git(folder, *arguments):
    own = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(project, message):
    git(project.folder, "add", "-A")
    git(project.folder, "commit", "-q", "-m", message)
    return git(project.folder, "rev-parse", "HEAD")


def repository(project):
    (project.folder / ".gitignore").write_text("results\n.snakemake\n__pycache__\n")
    git(project.folder, "init", "-q", "-b", "main")
    return commit(project, "the first")


def test_bisect_finds_the_commit_that_was_planted_and_goes_on_where_it_was(tmp_path):
    project = make_tiny_project(tmp_path / "project")
    hashes = [repository(project)]
    file = project.folder / "drift.py"
    for number in range(1, 6):
        text = file.read_text().replace(CENTRE, PLANTED) if number == 4 else file.read_text()
        file.write_text(f"{text}# edit {number}\n")
        hashes.append(commit(project, f"edit {number}"))
    asked = f"bisect={{good: {hashes[0]}, bad: HEAD, model: drift-1, check: batch-equals-rows}}"
    done = project.snakemake("bisect", "--config", asked)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"does not hold: {hashes[4][:7]}" in done.stdout and "edit 4" in done.stdout
    runs = project.folder / "results" / "bisect"
    answers = json.loads((runs / "answers.json").read_text())
    (known,) = [own for own in answers.values() if isinstance(own, dict)]
    assert known[hashes[3]] == "pass" and known[hashes[4]] == "fail" and len(known) <= 5
    for name in known:
        assert (runs / name[:12] / "report.html").is_file() and list((runs / name[:12] / "archive").iterdir())
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("verdict.json")}
    again = project.snakemake("bisect", "--config", asked)
    assert f"does not hold: {hashes[4][:7]}" in again.stdout, again.stdout[-3000:]
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("verdict.json")}, "no commit is run twice"


def copy_of_toto(folder, line):
    """A copy of the installed package in which each use of the KV cache is another expression."""
    (installed,) = places_of("toto")
    shutil.copytree(installed, folder / "toto", ignore=shutil.ignore_patterns("__pycache__"))
    file, old = folder / "toto" / "model" / "util.py", "int(self._layer_cache_map[layer_idx].item())"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, line.replace("OLD", old)))
    return folder


def compared(project, **asked):
    words = ", ".join(f"{key}: {value}" for key, value in asked.items())
    done = project.snakemake("compare", "--config", f"compare={{{words}}}", timeout=3000)
    assert (project.folder / "results/compare.json").is_file(), done.stdout[-3000:]
    return done, project.read("compare.json")


def test_two_folders_of_code_of_which_one_is_slower(tmp_path):
    project = make_project(tmp_path / "project", symbols=2)
    project.config["models"] = {"toto": {"variants": ["upstream-eager"]}, "kronos": None}
    project.config["trials"] = {"repeats": 1}
    project.config["evaluation"] |= {"windows": 1, "call": {"concurrency": 1}}
    project.configure(project.config)
    repository(project)
    same = copy_of_toto(tmp_path / "a", "OLD")
    slow = copy_of_toto(tmp_path / "b", '(__import__("time").sleep(0.01), OLD)[1]')
    done, found = compared(project, a=same, b=slow, model="toto", rounds=4)
    (row,) = found["variants"]
    assert done.returncode == 1 and "FAIL: b is worse than a." in done.stdout, done.stdout[-3000:]
    assert row["speed"] == "slower" and row["forecasts"] == "forecasts equal to the bit" and len(row["rounds"]) == 4


def test_a_commit_against_itself_is_not_worse(tmp_path):
    """The published Kronos among them, whose calls in threads raise now and then."""
    project = make_project(tmp_path / "project", symbols=2)
    project.config["models"] = {"toto": None, "kronos": {"variants": ["upstream-eager"]}}
    project.config["rules"]["severity"] = {}
    project.config["trials"] = {"repeats": 1}
    project.configure(project.config)
    repository(project)
    done, found = compared(project, a="HEAD", b="HEAD", rounds=4)
    (row,) = found["variants"]
    assert row["errors"] == "errors equal to the bit", done.stdout[-3000:]
    # A reference that stands alone is not timed, so that it is not shown to be as fast.
    assert row["status"] == "inconclusive" and "latency was not measured" in row["reasons"][0] and done.returncode == 1


def test_a_sweep_with_a_compiled_variant(tmp_path):
    project = make_tiny_project(tmp_path / "project", "plain-eager", "plain-default")
    # A variant that is slower still passes: what is swept is what passes, and this machine may be busy.
    project.config["rules"]["severity"] = {"not-slower": "warn", "slow-calls": "warn", "mean-not-slower": "warn"}
    project.configure(project.config)
    sizes = "windows: [1, 4], contexts: [16], horizons: [], samples: [], processes: 1, calls: 10, price_per_hour: 2.5"
    done = project.snakemake("sweep", "--config", f"sweep={{{sizes}}}")
    assert done.returncode == 0, done.stdout[-3000:]
    found = project.read("sweep.json")
    points = {(one["variant"], one["axis"], one["value"]): one for one in found["points"]}
    asked = {("windows", 1), ("windows", 4), ("contexts", 16)}
    assert set(points) == {(variant, *size) for variant in ("plain-eager", "plain-default") for size in asked}
    assert all(one["problem"] == "" and one["seconds"]["estimate"] > 0 for one in points.values())
    eager, compiled = (points[variant, "windows", 4] for variant in ("plain-eager", "plain-default"))
    assert compiled["first_call"] > 3 * eager["first_call"], "it was compiled in its first call"
    page = (project.folder / "results/sweep.html").read_text()
    assert "plain-default" in page and "1,000 forecasts" in page
