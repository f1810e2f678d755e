"""The report says which of other people's code forecasts were made with."""

from __future__ import annotations

import subprocess

from greenlight.code import code_run
from greenlight.provenance import git_commit
from greenlight.report.reading import code_rows
from greenlight.run.trial import with_commits


def record(stage, implementation, **code):
    job = {"stage": stage, "model": "toto", "implementation": implementation}
    return {"job": job, "trials": [{"kind": "ok", "code_run": code}, {"kind": "ok"}]}


def test_each_package_once_with_its_place_and_hash():
    run = {"path": "/site/toto", "hash": "ab12"}
    records = [record("predict", "upstream", toto=run), record("predict", "upstream", toto=run)]
    records += [record("predict", "static"), record("time", "static", toto=run)]
    assert list(code_rows(records)) == [("Code of toto upstream: toto", "/site/toto, SHA-256 of its files ab12")]


def test_a_copy_in_a_checkout_has_its_commit(tmp_path):
    checkout, plain = tmp_path / "checkout", tmp_path / "plain"
    for folder in (checkout, plain):
        folder.mkdir()
        (folder / "model.py").write_text("layers = 2\n")
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    commit = git_commit(checkout)
    assert len(commit) == 10
    folders = {"code.fork": str(checkout), "code.plain": str(plain)}
    ran = with_commits(code_run([], folders) | {"toto": {"path": "/site/toto", "hash": "ab12"}}, folders)
    assert {name: found.get("commit") for name, found in ran.items()} == {
        "code.fork": commit,
        "code.plain": None,
        "toto": None,
    }
    (checkout / "model.py").write_text("layers = 3\n")
    changed = with_commits(code_run([], folders), folders)["code.fork"]["commit"]
    assert changed == f"{commit}-dirty"
    told = [words for _, words in code_rows([record("predict", "fork", **ran)])]
    assert told[0].endswith(f", git commit {commit}") and "git commit" not in told[1] + told[2]


def test_what_is_no_record_gives_nothing():
    assert list(code_rows([{}, {"job": 3, "trials": "x"}, {"job": {"stage": "predict"}, "trials": [{}]}])) == []
