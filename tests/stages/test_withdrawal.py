"""An earlier pass is taken back before the first stale job starts, and by a plan that can't be made."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest

from greenlight.errors import UserError
from greenlight.files import read_json, write_json, write_text
from greenlight.judgement.seal import broken_seal, seal
from greenlight.layout import Layout
from greenlight.run.deployment import Deployment, deploy_text
from greenlight.run.stages.gate import summary
from greenlight.run.withdrawal import LOOKING, withdraw, withdraw_for, withdrawn
from tests.workflow.project import SMALL, make_project

JUDGED = ("verdict.json", "decision.json", "manifest.json", "deploy.env")
REPORTED = ("report.md", "report.html", "summary.md", "comment.md", "junit.xml")
MADE = {"made": "2026-01-01T00:00:00Z", "commit": "abc"}


def passing(root):
    """A results folder whose verdict, decision, deploy.env, bundle, reports and gate.passed all say pass."""
    layout = Layout(root)
    model = {"gate": "pass", "decision": {"judged": "upstream-default", "chosen": "upstream-default", "reason": "x"}}
    write_json(layout.verdict, seal({"gate": "pass", "reasons": [], "models": {"toto": model}, "checks": []}))
    write_json(layout.decision, {"gate": "pass", "reasons": [], "models": {"toto": {"variant": "upstream-default"}}})
    write_json(layout.manifest, seal({"format": 1, "gate": "pass", "models": {"toto": {}, "mine": {}}}))
    published = dict.fromkeys(("toto", "mine"), ("upstream",))
    chosen = {"toto": "upstream-default", "mine": "upstream-default"}
    write_text(
        layout.deploy, deploy_text(Deployment("pass", chosen, **MADE, published=published, bundle=layout.bundle))
    )
    for path in (layout.report, layout.report_page, layout.passed, *layout.notices):
        write_text(path, "PASS\n")
    assert summary(layout)[0]
    return layout


def said(layout):
    """What is left of the pass, by file."""
    left = {}
    for path in (layout.verdict, layout.decision, layout.manifest):
        if path.exists() and read_json(path)["gate"] == "pass":
            left[path.name] = "pass"
    for path in (layout.report, layout.report_page, layout.passed, layout.deploy, *layout.notices):
        if path.exists() and "PASS" in path.read_text().replace("VERDICT=pass", "PASS"):
            left[path.name] = "pass"
    return left


def sourced(layout):
    done = subprocess.run(["sh", "-euc", '. "$1"; env', "sh", str(layout.deploy)], capture_output=True, text=True,
                          check=True, env={"TOTO_COMPILE": "1", "PATH": os.environ["PATH"]})  # fmt: skip
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def test_all_that_said_pass_says_not_decided_and_why(tmp_path):
    layout = passing(tmp_path)
    assert not withdrawn(layout)
    withdraw(layout, "a run of <b>today</b> has begun and not finished", ["toto", "kronos"])
    assert said(layout) == {} and withdrawn(layout) and not layout.passed.exists()
    for path in (layout.verdict, layout.manifest):
        assert broken_seal(read_json(path)) is None
    for path in (layout.verdict, layout.decision, layout.manifest):
        assert read_json(path)["gate"] == "not decided" and "has begun" in read_json(path)["reasons"][0]
    assert "has begun" in layout.report.read_text() and "&lt;b&gt;today" in layout.report_page.read_text()
    found = sourced(layout)
    assert found["GREENLIGHT_VERDICT"] == "not decided" and "has begun" in found["GREENLIGHT_REASON"]
    assert (found["TOTO_COMPILE"], found["TOTO_DISABLE_COMPILE"], found["KRONOS_COMPILE"]) == ("0", "1", "0")
    assert found["MINE_COMPILE"] == "0", "a model that the older file compiled and that is no longer known"
    passed, text = summary(layout)
    assert not passed and "deploy" not in text


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (["all", "why"], {*JUDGED, *REPORTED, "gate.passed"}),
        (["all", "gate"], {*JUDGED, *REPORTED}),
        (["report", "archive", "gate"], {*JUDGED}),
        (["judge", "report"], set()),
        (["time"], set()),
        (["prepare_0"], set()),
    ],
)  # fmt: skip
def test_only_what_is_made_anew_is_taken_back(tmp_path, rules, left):
    layout = passing(tmp_path)
    withdraw_for(layout, rules, ["toto"])
    assert set(said(layout)) == left


def test_where_it_can_not_be_said_the_pass_is_deleted(tmp_path, monkeypatch):
    """On a full disk nothing can be written, and deleting needs no space."""
    layout = passing(tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device", str(layout.deploy))

    monkeypatch.setattr("greenlight.run.withdrawal.write_text", full)
    monkeypatch.setattr("greenlight.run.withdrawal.write_json", full)
    with pytest.raises(UserError, match=r"deploy\.env \(No space left on device\).*free space"):
        withdraw(layout, "x", ["toto"])
    assert said(layout) == {}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("withdrawn") / "project")


@pytest.fixture
def layout(project):
    project.configure(SMALL)
    return passing(project.folder / "results")


def tree(folder):
    """Contents of all files but the plan's own notes and the last message."""
    every = (path for path in folder.rglob("*") if path.is_file() and "jobs" not in path.parts)
    files = (path for path in every if path.name not in (".run.lock", "last-error.txt"))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_run_that_stops_at_a_broken_price_file_leaves_no_pass(project, layout):
    file = project.folder / "prices" / "SIM_00000.csv"
    kept = file.read_text()
    file.write_text(kept.replace(kept.splitlines()[5].split(",")[1], "-5", 1))
    try:
        done = project.sooner("results/prepare/shard=0000/record.json")
    finally:
        file.write_text(kept)
    assert done.returncode != 0 and "SIM_00000.csv" in done.stdout
    assert said(layout) == {}
    assert "has begun and not finished" in sourced(layout)["GREENLIGHT_REASON"]


def mistakes(project):
    missing, weights = deepcopy(SMALL), deepcopy(SMALL)
    missing["symbols"] = ["SIM_00000", "NOT_THERE"]
    weights["models"]["toto"]["source"] = "no/such/folder"
    return {"symbols": missing, "weights": weights}


@pytest.mark.parametrize("mistake", ["symbols", "weights"])
def test_a_plan_that_can_not_be_made_leaves_no_pass(project, layout, mistake):
    (project.folder / "small.json").write_text(json.dumps(mistakes(project)[mistake]))
    before = tree(layout.root)
    looked = project.look()
    assert looked.returncode != 0 and tree(layout.root) == before
    asked = project.sooner("why")
    assert asked.returncode != 0 and tree(layout.root) == before
    done = project.sooner()
    assert done.returncode != 0 and "nothing is decided" in done.stdout
    assert said(layout) == {}
    assert "stopped before it began" in sourced(layout)["GREENLIGHT_REASON"]


def test_looking_changes_nothing(project, layout):
    before = tree(layout.root)
    for arguments in (["-n"], ["why"], ["--dry-run", "--forcerun", "judge"]):
        assert project.sooner(*arguments).returncode == 0
        assert tree(layout.root) == before, arguments


def test_every_target_that_only_looks_is_known():
    """A rule without outputs makes nothing anew: what it is asked for takes back no pass."""
    rules = Path(__file__).parents[2] / "workflow" / "rules"
    text = "\n".join(file.read_text() for file in rules.glob("*.smk"))
    named = {part.partition(":")[0] for part in text.split("\nrule ")[1:] if "\n    output:" not in part}
    listed = text.partition("\nTARGETS = {")[2].partition("\n}\n")[
        0
    ]  # rules that are made of a table, none of which has outputs
    named |= set(re.findall(r'^    "(\w+)": \(', listed, re.MULTILINE))
    assert named == set(LOOKING) - {"all"}
