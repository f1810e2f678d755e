"""Bounds of what a configuration may say, and errors of the system while planning: one sentence each."""

from __future__ import annotations

import json

import pytest

from greenlight.errors import UserError, sentence_of
from greenlight.run.planning import check_threads, without_baselines
from greenlight.settings import load_settings
from tests.workflow.project import SMALL, make_project


def load(**changes):
    return load_settings({"models": {"kronos": {}}} | changes, [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"results_folder": ""}, r"results_folder: .* can't be meant"),
        ({"results_folder": "  "}, r"results_folder: .* can't be meant"),
        ({"results_folder": "."}, r"results_folder: .* is this folder or one around it"),
        ({"results_folder": "x/.."}, r"results_folder: .* is this folder or one around it"),
        ({"results_folder": "/"}, r"results_folder: .* one around it"),
        ({"results_folder": "-x"}, r"results_folder: .* can't be meant"),
        ({"results_folder": "a\nb"}, r"results_folder: .* can't be meant"),
        ({"results_folder": "re{sults}"}, r"results_folder: .* has a brace"),
        ({"data_folder": "{data}"}, r"data_folder: .* has a brace"),
        ({"results_folder": "trainingdata"}, r"results_folder and data_folder are both"),
        ({"threads": 0}, r"threads"),
        ({"threads": 10**9}, r"threads"),
        ({"seed": 2**64}, r"seed"),
        ({"evaluation": {"samples": 10**9}}, r"evaluation\.samples"),
        ({"evaluation": {"horizon": 10**9}}, r"evaluation\.horizon"),
        ({"evaluation": {"context_length": 10**12}}, r"evaluation\.context_length"),
        ({"trials": {"compile_seconds": float("inf")}}, r"trials\.compile_seconds"),
        ({"trials": {"compile_seconds": float("nan")}}, r"trials\.compile_seconds"),
        ({"trials": {"memory_gib": float("nan")}}, r"trials\.memory_gib"),
        ({"timing": {"extra_seconds": 1e99}}, r"timing\.extra_seconds"),
        ({"accept": "reason: x"}, r"accept: expected keys with values, found 'reason: x'.*--config accept='\{name"),
        ({"trials": "{environment"}, r"--config trials='\{name: value\}'"),
    ],
)
def test_what_can_not_be_meant_is_refused_by_its_key(changes, words):
    with pytest.raises(UserError, match=words):
        load(**changes)


def test_a_home_folder_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert load(results_folder="~/results", data_folder="~/prices").results_folder == "/home/ada/results"


def test_more_threads_than_the_machine_has():
    with pytest.raises(UserError, match=r"threads: 4000, expected at most \d+"):
        check_threads(load(threads=4000))
    check_threads(load(threads=4000, device={"device": "cuda", "name": "NVIDIA H200"}))


def test_a_missing_folder_of_baselines_is_said(tmp_path):
    assert "no folder" in without_baselines(load(baselines_folder=str(tmp_path / "none")))
    assert without_baselines(load(baselines_folder=str(tmp_path))) == ""


def test_an_error_of_the_system_is_a_sentence():
    said = sentence_of(OSError(28, "No space left on device", "results/x"))
    assert said.startswith("results/x: No space left on device; free space there, then run again")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("bounds") / "project")


@pytest.mark.parametrize("target", ["why", "accept", "diagnose"])
def test_words_in_braces_are_values(project, target):
    """They reach rules as they are; `accept` and `diagnose` are planned here, `why` is run."""
    config = SMALL | {"accept": {"reason": "better {word} and {wildcards.model} {0}"}}
    (project.folder / "small.json").write_text(json.dumps(config))
    done = project.sooner(target) if target == "why" else project.look(target)
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout[-2000:]


@pytest.mark.parametrize(
    ("broken", "words"),
    [("data folder", "prices/SIM_00000.csv/x"), ("jobs is a file", "others/jobs"), ("lock is a folder", ".run.lock")],
)
def test_errors_of_the_system_while_planning_are_sentences(project, broken, words):
    results = project.folder / "results"
    results.mkdir(exist_ok=True)
    changed = SMALL | ({"data_folder": "prices/SIM_00000.csv/x"} if broken == "data folder" else {})
    changed |= {"results_folder": "others"} if broken != "data folder" else {}
    others = project.folder / "others"
    if broken == "jobs is a file":
        others.mkdir()
        (others / "jobs").write_text("")
    elif broken == "lock is a folder":
        (others / "jobs").unlink(missing_ok=True)
        (others / ".run.lock").mkdir(parents=True)
    (project.folder / "small.json").write_text(json.dumps(changed))
    done = project.sooner("results/expected.json" if broken == "data folder" else "others/expected.json")
    assert done.returncode == 2, done.stdout[-2000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("greenlight: ")]
    assert any(words in line for line in said), done.stdout[-2000:]
    assert "Traceback" not in done.stdout and "common.smk" not in done.stdout, done.stdout[-2000:]


def test_a_ledger_that_is_cut_off_is_made_anew(project):
    project.configure(SMALL)
    entry = project.folder / "results" / "jobs" / "expect.json"
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text('{"job": [1, 2')
    done = project.look()
    assert done.returncode == 0 and "expect" in done.stdout, done.stdout[-2000:]
