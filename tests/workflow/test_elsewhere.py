"""Runs of other commits: clones that leave the user's checkout as it is, and the search by git."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from greenlight.errors import UserError
from greenlight.files import write_json
from greenlight.judgement.seal import seal
from greenlight.run.elsewhere import clone_of, commit_of, copies_config, nested_config
from greenlight.run.stages.bisect import answer_of, search
from greenlight.settings import load_settings
from greenlight.target_settings import BisectSettings
from tests.judgement.effects import Effects
from tests.judgement.evidence_builder import KRONOS, Run
from tests.report.conftest import build


def git(folder, *arguments):
    own = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", *own, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(folder, contents, more=()):
    """A repository with a commit for each content of the file `value`; the hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    for name, text in dict(more).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    hashes = []
    for number, content in enumerate(contents):
        (folder / "value").write_text(content)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "--allow-empty", "-m", f"number {number}")
        hashes.append(git(folder, "rev-parse", "HEAD"))
    return hashes


def state(folder):
    """All that git knows of a checkout, and its files."""
    seen = [
        git(folder, *words)
        for words in (["status", "--porcelain"], ["for-each-ref"], ["stash", "list"], ["worktree", "list"])
    ]
    files = {
        path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and ".git" not in path.parts
    }
    return seen, files


def test_a_clone_has_the_commit_and_the_checkout_stays_as_it_is(tmp_path):
    first, _ = repository(tmp_path / "own", ["one", "two"])
    own = tmp_path / "own"
    (own / "value").write_text("changed")
    (own / "untracked").write_text("x")
    before = state(own)
    with clone_of(own, commit_of(own, "HEAD~1", "a")) as clone:
        assert (clone / "value").read_text() == "one" and git(clone, "rev-parse", "HEAD") == first
        (clone / "value").write_text("of the clone")
    assert not clone.exists()
    with clone_of(own, commit_of(own, "uncommitted", "b")) as clone:
        assert (clone / "value").read_text() == "changed" and not (clone / "untracked").exists()
    assert state(own) == before
    git(own, "checkout", "-q", "--", "value")
    assert commit_of(own, "uncommitted", "b") == commit_of(own, "HEAD", "b")


@pytest.mark.parametrize("name", ["nothing", "--help", "value", ""])
def test_what_is_no_commit_is_said(tmp_path, name):
    repository(tmp_path, ["one"])
    with pytest.raises(UserError, match=r"compare\.a: .*is no commit"):
        commit_of(tmp_path, name, "compare.a")


def test_folders_lead_to_the_same_places_and_the_repositorys_own_to_its_commits(tmp_path, monkeypatch):
    own = tmp_path / "own"
    repository(own, ["one"], {"plugins/mine.py": "", "copy/toto/a.py": ""})
    (tmp_path / "theirs").mkdir()
    (own / "weights").mkdir()
    monkeypatch.chdir(own)
    models = {
        "toto": {"code": {"here": "copy", "there": "../theirs"}, "source": "embedded"},
        "mine": {"plugin": "plugins/mine.py:MODEL", "source": "weights"},
        "off": None,
    }
    config = {"models": models, "compare": {"a": "x"}, "bisect": {}, "data_folder": "prices", "seed": 3}
    found = nested_config(config, own.resolve(), Path("results/compare/a"))
    assert found["models"]["toto"]["code"] == {"here": "copy", "there": str(tmp_path.resolve() / "theirs")}
    assert found["models"]["toto"]["source"] == "embedded" and found["models"]["off"] is None
    assert found["models"]["mine"] == {"plugin": "plugins/mine.py:MODEL", "source": str(own.resolve() / "weights")}
    assert found["data_folder"] == str(own.resolve() / "prices") and "compare" not in found and "bisect" not in found
    assert found["results_folder"] == str(own.resolve() / "results/compare/a") and found["seed"] == 3
    assert models["toto"]["code"]["here"] == "copy" and config["data_folder"] == "prices"


def test_two_folders_of_code_become_two_implementations_in_the_modes_that_are_configured(tmp_path):
    for name in ("old", "new"):
        for file in ("model/toto.py", "model/backbone.py", "inference/forecaster.py"):
            (tmp_path / name / "toto" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "toto" / file).touch()
    variants = ["upstream-eager", "upstream-default", "static-default", "static-eager-bf16"]
    config = {
        "models": {
            "toto": {"variants": variants, "deployed": "static-default"},
            "kronos": {"variants": ["upstream-eager"]},
        }
    }
    both = copies_config(config, "toto", {"a": tmp_path / "old", "b": tmp_path / "new"})
    settings = load_settings(both, [])
    ((model, own),) = settings.models.items()
    assert model == "toto" and own.variants == ("upstream-eager", "a-eager", "b-eager", "a-default", "b-default")
    assert own.deployed is None and config["models"]["toto"]["variants"] == variants


class Answers:
    """Asks a file of the clone, as the gate would ask the code."""

    def __init__(self, clone):
        self.clone, self.asked = clone, []

    def __call__(self, commit):
        git(self.clone, "checkout", "-q", "--force", "--detach", commit)
        self.asked.append(commit)
        return (self.clone / "value").read_text().split()[0]

    def results(self, commit):
        return Path("results/bisect") / commit[:12]


def searched(folder, contents):
    hashes = repository(folder, contents)
    with clone_of(folder, hashes[-1]) as clone:
        test = Answers(clone)
        return search(clone, {"good": hashes[0], "bad": hashes[-1]}, test), hashes, test


@pytest.mark.parametrize("first", [1, 7, 15])
def test_the_first_bad_commit_is_found(tmp_path, first):
    contents = [f"{'fail' if number >= first else 'pass'} {number}" for number in range(16)]
    said, hashes, test = searched(tmp_path, contents)
    assert hashes[first][:7] in said.splitlines()[0] and f"number {first}" in said
    assert len(test.asked) <= 2 + 4


def test_commits_without_an_answer_are_skipped(tmp_path):
    contents = [
        "pass",
        "pass 1",
        "inconclusive",
        "pass 2",
        "inconclusive 2",
        "pass 3",
        "fail",
        "fail 1",
        "no 1",
        "fail 2",
    ]
    said, hashes, _ = searched(tmp_path, contents)
    assert hashes[6][:7] in said.splitlines()[0]
    said, hashes, _ = searched(tmp_path / "only-skipped", ["pass", "inconclusive", "inconclusive 2", "fail"])
    assert said.startswith("Not found") and type(said) is not str


def test_ends_that_are_not_as_said_are_named(tmp_path):
    with pytest.raises(UserError, match=r"bisect\.bad: at \w{10} the answer is 'pass', expected 'fail'"):
        searched(tmp_path, ["pass", "pass 1"])
    with pytest.raises(UserError, match=r"bisect\.good: at \w{10} the answer is 'inconclusive', expected 'pass'"):
        searched(tmp_path / "other", ["inconclusive", "fail"])


# Jobs of the shell, which take no second start of Snakemake.
SNAKEFILE = """
configfile: "config/config.yaml"
rule all:
    params: results=config["results_folder"], told=config["data_folder"] + "/runs"
    shell: "read status number < value; mkdir -p {params.results}; echo $status >> {params.told}; "
           "cp verdict-$status.json {params.results}/verdict.json"
"""


def verdict_of(status):
    check = {"name": "mae-not-worse", "status": status, "model": "toto", "variant": "static-eager"}
    verdict = {"format": 1, "gate": status, "reasons": [], "models": {"toto": {"gate": status}}, "checks": [check]}
    return json.dumps(seal(verdict))


@pytest.mark.slow
def test_the_target_runs_each_commit_once_and_goes_on_where_it_was(tmp_path):
    """By the command of a user, on a workflow of a few lines that gives the verdict of its commit."""
    own, prices = tmp_path / "own", tmp_path / "prices"
    prices.mkdir()
    contents = ["pass 0\n", "pass 1\n", "fail 2\n", "fail 3\n"]
    files = {"Snakefile": SNAKEFILE, "config/config.yaml": "{}", ".gitignore": ".snakemake\n"}
    verdicts = {f"verdict-{status}.json": verdict_of(status) for status in ("pass", "fail")}
    hashes = repository(own, contents, files | verdicts)
    config = {
        "models": {"toto": {"variants": ["upstream-eager", "static-eager"]}},
        "data_folder": str(prices),
        "results_folder": str(tmp_path / "results"),
        "bisect": {"good": "HEAD~3", "bad": "HEAD", "model": "toto", "check": "mae-not-worse"},
    }
    before = state(own)
    for _ in range(2):
        command = [sys.executable, "-m", "greenlight.run.stages.bisect", "--config", json.dumps(config)]
        done = subprocess.run(command, cwd=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "number 2" in done.stdout.splitlines()[0] and hashes[2][:7] in done.stdout.splitlines()[0]
        assert (prices / "runs").read_text().split() == ["pass", "fail", "fail", "pass"]
    assert state(own) == before
    assert sorted(path.name for path in (tmp_path / "results/bisect").iterdir()) == sorted(
        ["answers.json", *(one[:12] for one in hashes)]
    )


@pytest.mark.slow
def test_an_old_verdict_does_not_answer_for_a_commit_that_can_not_be_run(tmp_path):
    own, prices, results = tmp_path / "own", tmp_path / "prices", tmp_path / "results"
    prices.mkdir()
    hashes = repository(own, ["pass 0", "fail 1"], {"Snakefile": "no python (", "config/config.yaml": "{}"})
    for commit, status in zip(hashes, ("pass", "fail"), strict=True):
        verdict = {"format": 1, "gate": status, "reasons": [], "models": {"toto": {"gate": status}}, "checks": []}
        write_json(results / "bisect" / commit[:12] / "verdict.json", seal(verdict))
    config = {
        "models": {"toto": {"variants": ["upstream-eager"]}},
        "data_folder": str(prices),
        "results_folder": str(results),
        "bisect": {"good": "HEAD~1", "bad": "HEAD"},
    }
    command = [sys.executable, "-m", "greenlight.run.stages.bisect", "--config", json.dumps(config)]
    done = subprocess.run(command, cwd=own, capture_output=True, text=True)
    assert done.returncode != 0 and "the answer is 'no verdict'" in done.stderr


# The evidence of each run lies in the folder of prices, by its number; one that is not there would fail the rule.
EVIDENCE = """
configfile: "config/config.yaml"
TIMED = config["results_folder"] + "/time/model=kronos/variant=upstream-default/pairs.parquet"
rule all:
    input: TIMED
rule time:
    params: results=config["results_folder"], prices=config["data_folder"]
    output: TIMED
    shell: "cat value >> {params.prices}/runs; number=$(wc -l < {params.prices}/runs); "
           "cp -r {params.prices}/$number-$(cat value)/. {params.results}"
"""
IN_TURN = ["0.5", "0.8", *["0.5", "0.8", "0.8", "0.5"] * 2]  # the whole gate of both, then rounds


def write_evidence(prices):
    """Of each run of `IN_TURN`, with a chance of its own."""
    for number, slower in enumerate(IN_TURN, 1):
        effects = {("kronos", "upstream-default"): Effects(latency=float(slower))}
        made = build(prices / f"{number}", Run(models={"kronos": KRONOS}, effects=effects, speed_seed=number))
        made.root.rename(prices / f"{number}-{slower}")


def environment(python):
    """A python that tells what it is asked for, and then is this one."""
    python.write_text(f'#!/bin/sh\necho "$@" >> "$0.log"\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


@pytest.mark.slow
def test_two_commits_are_run_and_timed_in_turn(tmp_path):
    """By the command of a user, on a workflow that leaves the evidence of its commit: b is 1.6 times slower, in an
    environment of its own."""
    own, prices = tmp_path / "own", tmp_path / "prices"
    prices.mkdir()
    files = {"Snakefile": EVIDENCE, "config/config.yaml": "{}", ".gitignore": ".snakemake\n"}
    repository(own, ["0.5\n", "0.8\n"], files)
    write_evidence(prices)
    config = {
        "models": {"kronos": {"variants": ["upstream-eager", "upstream-default"]}},
        "data_folder": str(prices),
        "results_folder": str(tmp_path / "results"),
        "compare": {
            "a": "HEAD~1",
            "b": {"python": str(environment(tmp_path / "its own")), "commit": "HEAD"},
            "rounds": 4,
        },
    }
    before = state(own)
    command = [sys.executable, "-m", "greenlight.run.stages.compare", "--config", json.dumps(config)]
    done = subprocess.run(command, cwd=own, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "FAIL: b is worse than a." in done.stderr and "kronos upstream-default" in done.stderr
    assert (prices / "runs").read_text().split() == IN_TURN
    assert (tmp_path / "its own.log").read_text().count("snakemake --cores 1") == 1 + 4
    found = json.loads((tmp_path / "results/compare.json").read_text())
    assert found["a"].endswith(f" in {sys.executable}") and found["b"].endswith(" in " + str(tmp_path / "its own"))
    eager, compiled = found["variants"]
    assert compiled["status"] == "fail" and compiled["speed"] == "slower" and len(compiled["rounds"]) == 4
    assert 1.5 < float(compiled["latency"].split()[0]) < 1.7
    assert compiled["forecasts"] == eager["forecasts"] == "forecasts equal to the bit" and eager["speed"] != "slower"
    assert "FAIL: b is worse than a." in (tmp_path / "results/compare.html").read_text()
    assert state(own) == before


def test_an_answer_is_a_pass_only_where_all_that_was_asked_passes(plain_verdict):
    layout = plain_verdict
    ask = lambda **asked: answer_of(layout, BisectSettings(**asked))  # noqa: E731
    assert ask() == "pass" and ask(model="kronos") == "pass"
    assert ask(model="kronos", check="mae-not-worse") == "pass"
    assert ask(model="kronos", variant="upstream-default") == "pass"
    assert ask(check="no-such-check") == "no such check"
    layout.verdict.unlink()
    assert ask() == "no verdict"


@pytest.fixture
def plain_verdict(tmp_path):
    return build(tmp_path, Run(models={"kronos": KRONOS}))
