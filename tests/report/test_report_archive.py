"""Archived runs, the gate's exit code, and the history of several runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from greenlight.code import Code
from greenlight.files import read_json, sha256_of, write_json
from greenlight.judgement.seal import seal
from greenlight.report.archive import archive_run, read_archived
from greenlight.report.history import read_history
from greenlight.run.handover import PACKAGE
from greenlight.run.stages.archive import archive
from greenlight.run.stages.gate import summary
from greenlight.run.stages.history import history
from tests.judgement.evidence_builder import KRONOS, Effects, Run
from tests.report.conftest import judge_again

MODELS = {"kronos": KRONOS}
TIME = "2026-01-02T03:04:05Z"


@pytest.fixture
def judged(make_results):
    return make_results()


def failing(make_results):
    run = Run(models=MODELS, deployed={"kronos": "upstream-default"})
    run.effects["kronos", "upstream-default"] = Effects(latency=2.0)
    return make_results(run, name="failing")


def at_commit(layout, commit: str) -> None:
    """Make the verdict say that it was made at a commit."""
    verdict = read_json(layout.verdict)
    verdict["provenance"]["commit"] = commit
    write_json(layout.verdict, seal({k: v for k, v in verdict.items() if k != "content_sha256"}))


def test_the_folder_names_time_commit_and_verdict_and_holds_the_evidence(judged):
    at_commit(judged, "abc/../def")
    folder = archive_run(judged, TIME, "key", "unused")
    assert folder.name == "20260102T030405Z-abc-..-def-pass"
    for name in (
        "report.md",
        "report.html",
        "verdict.json",
        "decision.json",
        "deploy.env",
        "diff.json",
        "expected.json",
        "compile/model=kronos/variant=upstream-default/record.json",
        "predict/model=kronos/variant=upstream-default/shard=0001/record.json",
        "probe/model=kronos/variant=upstream-default/record.json",
        "time/model=kronos/variant=upstream-default/pairs.parquet",
        "scores/model=kronos/variant=upstream-default/windows.parquet",
        "weights/model=kronos/record.json",
        "data/symbol=SYM0/report.json",
    ):
        assert sha256_of(folder / name) == sha256_of(judged.root / name), name
    assert not list(folder.rglob("*.partial"))


def test_links_of_the_archived_report_lead_somewhere(judged):
    folder = archive_run(judged, TIME, "key", "abc")
    targets = re.findall(r"\]\(([^)#]+)", (folder / "report.md").read_text())
    assert targets and all((folder / target).is_file() for target in targets)


def test_an_archived_run_is_never_overwritten(judged):
    first = archive_run(judged, TIME, "key", "abc")
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    second, third = archive_run(judged, TIME, "key", "abc"), archive_run(judged, TIME, "key", "abc")
    assert [second.name, third.name] == [f"{first.name}-2", f"{first.name}-3"]
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before


def test_what_an_interrupted_archive_left_is_no_run_and_goes_away(judged):
    left = judged.archive / ".abc.partial"
    left.mkdir(parents=True)
    (left / "verdict.json").write_text("{}")
    assert read_history(judged.archive).runs == 0
    archive_run(judged, TIME, "key", "abc")
    assert not left.exists()


def test_the_limit_keeps_what_was_decided_and_names_what_is_left_out(judged):
    limit = sum(path.stat().st_size for path in (judged.verdict, judged.expected)) + 10
    folder = archive_run(judged, TIME, "key", "abc", limit=limit)
    assert (folder / "verdict.json").is_file() and not (folder / "report.html").exists()
    manifest = read_json(folder / "archive.json")
    assert "report.html" in manifest["left_out"]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.name != "archive.json") <= limit * 1.5


def test_the_stage_names_the_folder(judged):
    archive(judged, {"stage": "archive"}, None)
    found = read_json(judged.archived)
    assert (judged.root / found["folder"] / "report.md").is_file()
    assert found["key"]


def run_gate(layout):
    job = {"job": {"stage": "gate", "code": ""}, "upstream": [], "outputs": []}
    code = Code(("greenlight.run.stages.gate",))
    own = {"": {"code": code.plain(), "contents": code.contents()}}
    write_json(layout.plan, {"jobs": {"gate": job}, "package": str(PACKAGE), "code": own})
    command = [
        sys.executable,
        "-m",
        "greenlight.run.stages.gate",
        "--results",
        str(layout.root),
        "--job",
        "gate",
    ]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_gate_passes_a_pass(judged):
    done = run_gate(judged)
    assert done.returncode == 0, done.stderr
    assert "PASS" in done.stdout and "kronos: deploy upstream-default" in done.stdout
    assert str(judged.report) in done.stdout
    assert judged.passed.is_file()


def test_the_gate_fails_a_failure_and_takes_back_an_earlier_pass(make_results):
    layout = failing(make_results)
    layout.passed.write_text("PASS")
    done = run_gate(layout)
    assert done.returncode == 1
    assert "FAIL" in done.stderr and "kronos: deploy nothing (upstream-default)" in done.stderr
    assert "not-slower" in done.stderr and "Traceback" not in done.stderr
    assert not layout.passed.exists()


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "edited"])
def test_the_gate_fails_without_a_verdict_that_can_be_trusted(make_results, damage):
    layout = failing(make_results) if damage == "edited" else make_results()
    text = layout.verdict.read_text()
    edited = json.dumps(json.loads(text) | {"gate": "pass", "reasons": []})
    content = {"empty": "", "cut": text[: len(text) // 2], "edited": edited}
    layout.verdict.unlink()
    if damage in content:
        layout.verdict.write_text(content[damage])
    passed, said = summary(layout)
    assert not passed
    assert "there is no verdict that can be trusted (verdict.json" in said


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"gate": "pass"},
        {"gate": "pass", "reasons": [], "models": {}},
        {"gate": "pass", "reasons": ["a reason"], "models": {"toto": {"gate": "pass"}}},
        {"gate": True, "reasons": [], "models": {"toto": {"gate": "pass"}}},
        {"gate": "PASS", "reasons": [], "models": {"toto": {"gate": "pass"}}},
    ],
)
def test_the_gate_fails_a_verdict_that_does_not_say_pass_of_something(make_results, document):
    layout = make_results()
    write_json(layout.verdict, seal(document))
    assert not summary(layout)[0]


def test_the_gate_fails_where_evidence_changed_after_it_was_judged(judged):
    assert summary(judged)[0]
    judged.window_scores("kronos", "upstream-default").unlink()
    passed, said = summary(judged)
    assert not passed and "scores/model=kronos/variant=upstream-default/windows.parquet changed" in said


def test_history_of_three_runs_shows_changes_against_the_run_before(make_results):
    layout = make_results()
    for day, commit, latency in ((1, "aaa", 0.7), (2, "bbb", 0.5), (3, "ccc", 2.0)):
        run = Run(models=MODELS, deployed={"kronos": "upstream-default"})
        run.effects["kronos", "upstream-default"] = Effects(latency=latency)
        run.write(layout.root)
        judge_again(layout, layout.root.parent / "baselines")
        at_commit(layout, commit)
        archive_run(layout, f"2026-01-0{day}T00:00:00Z", "key", "unused")
    (layout.archive / "20260104T000000Z-ddd-pass").mkdir()
    broken = sorted(layout.archive.glob("20260102*"))[0]
    text = history(layout)
    rows = [line for line in text.splitlines() if line.startswith("| [2026")]
    assert [re.search(r"`(\w{3})`", row)[1] for row in rows] == ["ccc", "bbb", "aaa"]
    assert [row.split(" | ")[2] for row in rows] == ["fail", "pass", "pass"]
    assert [round(float(row.split(" | ")[6]), 1) for row in rows] == [0.5, 2.0, 1.4]
    assert rows[1].split(" | ")[7].startswith("+") and rows[0].split(" | ")[7].startswith("-")
    assert "- `20260104T000000Z-ddd-pass`: archive.json is missing" in text
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (layout.root / target).is_file(), target
    (broken / "verdict.json").write_text((broken / "verdict.json").read_text().replace('"pass"', '"fail"', 1))
    text = history(layout)
    assert f"`{broken.name}`: verdict.json was changed after it was archived" in text
    assert len([line for line in text.splitlines() if line.startswith("| [2026")]) == 2


def test_an_archived_run_can_be_read_and_a_hole_is_told(judged):
    folder = archive_run(judged, TIME, "key", "abc")
    assert read_archived(folder)["verdict"]["gate"] == "pass"
    (folder / "deploy.env").unlink()
    with pytest.raises(ValueError, match=r"deploy\.env is missing"):
        read_archived(folder)


def test_history_without_any_run(tmp_path):
    from greenlight.layout import Layout

    text = history(Layout(tmp_path))
    assert text.startswith("# Greenlight: archived runs") and "0 runs" in text


def copied(folder):
    shutil.copytree(folder, folder.with_name(f"{folder.name}-2"))
    return f"it was archived as {folder.name}: this is a copy"


def copied_by_a_version_that_named_no_folder(folder):
    manifest = read_json(folder / "archive.json")
    write_json(
        folder / "archive.json", seal({k: v for k, v in manifest.items() if k not in ("folder", "content_sha256")})
    )
    shutil.copytree(folder, folder.with_name(f"{folder.name}-copy"))
    return f"it is a copy of {folder.name}, which is counted"


def another_report(folder):
    other = shutil.copytree(folder, folder.with_name("other"))
    (other / "report.html").write_text("<title>All is well</title>")
    manifest = read_json(other / "archive.json")
    named = {k: v for k, v in manifest.items() if k != "content_sha256"} | {"folder": "other"}
    write_json(other / "archive.json", seal(named))
    return "report.html was changed after it was archived"


def of_a_later_schema(folder):
    other = shutil.copytree(folder, folder.with_name("other"))
    manifest = read_json(other / "archive.json")
    named = {k: v for k, v in manifest.items() if k != "content_sha256"} | {"folder": "other", "format": 2}
    write_json(other / "archive.json", seal(named))
    return "archive.json has the schema 2, expected 1"


@pytest.mark.parametrize("forge", [copied, copied_by_a_version_that_named_no_folder, another_report, of_a_later_schema])
def test_a_folder_that_is_no_archived_run_of_its_own_is_told_and_not_counted(judged, forge):
    folder = archive_run(judged, TIME, "key", "abc")
    words = forge(folder)
    found = read_history(judged.archive)
    assert found.runs == 1 and found.every[0].folder == folder.name
    assert [words in message for _, message in found.broken] == [True], found.broken
    assert words in history(judged)
