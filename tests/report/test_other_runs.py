"""Files of another run, results folder or schema, really copied over this one's, are refused by name."""

from __future__ import annotations

import argparse
import json
import shutil

import pytest

from greenlight.errors import UserError
from greenlight.files import read_json, write_json
from greenlight.judgement.baseline import load_baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from greenlight.judgement.seal import seal
from greenlight.provenance import digest
from greenlight.report.facts import gather
from greenlight.run.judging import judge_run
from greenlight.run.stages.archive import archive
from greenlight.run.stages.gate import summary
from tests.judgement.evidence_builder import KRONOS, Run, reseal
from tests.report.conftest import JOB, accept_as_baseline, build, judge_again

VARIANT = "kronos/variant=upstream-default"
EVIDENCE = {
    "record of compile": f"compile/model={VARIANT}/record.json",
    "record of predict": f"predict/model={VARIANT}/shard=0001/record.json",
    "record of probe": f"probe/model={VARIANT}/record.json",
    "record of time": f"time/model={VARIANT}/record.json",
    "record of score": f"scores/model={VARIANT}/record.json",
    "forecasts": f"forecasts/model={VARIANT}/symbol=SYM1/part-0.parquet",
    "pairs": f"time/model={VARIANT}/pairs.parquet",
    "scores": f"scores/model={VARIANT}/windows.parquet",
}
OTHER_JOB = JOB | {"rules": {"accuracy": {"margin": 0.02}}}
BEFORE = {"judge": digest(JOB), "archive": digest({"stage": "archive"})}


def other_keys(manifest):
    for variant in manifest["models"]["kronos"]["variants"].values():
        for job in variant["jobs"].values():
            job["key"] += " of another run"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The whole results folder of another run: other random numbers, and judged by other rules."""
    layout = build(tmp_path_factory.mktemp("other"), Run(models={"kronos": KRONOS}, seed=2, adjust=other_keys))
    verdict = read_json(layout.verdict)
    own = {name: value for name, value in verdict.items() if name != "content_sha256"}
    write_json(layout.verdict, seal(own | {"key": digest(OTHER_JOB)}))
    decision = {name: value for name, value in read_json(layout.decision).items() if name != "content_sha256"}
    write_json(layout.decision, seal(decision | {"key": digest(OTHER_JOB)}))
    archive(layout, {"stage": "archive", "of": "another run"}, argparse.Namespace())
    return layout


@pytest.fixture
def mine(make_results):
    layout = make_results()
    archive(layout, {"stage": "archive"}, argparse.Namespace())
    assert summary(layout, BEFORE)[0] and not gather(layout, BEFORE["judge"]).problems
    return layout


@pytest.mark.parametrize("kind", EVIDENCE)
def test_evidence_of_another_run_fails_the_variant_and_says_what_to_do(mine, other, kind):
    file = EVIDENCE[kind]
    shutil.copyfile(other.root / file, mine.root / file)
    *_, verdict = judge_run(mine, {}, mine.root.parent / "baselines")
    blocked = verdict.blocking("kronos", "upstream-default")
    reasons = [check.reason for check in blocked if check.name.startswith("evidence-") and file in check.reason]
    assert reasons and all("of another run" in one and "run the workflow again" in one for one in reasons)
    assert not summary(mine, BEFORE)[0], "nor does the verdict of before pass the gate"


@pytest.mark.parametrize("kind", [kind for kind in EVIDENCE if kind.startswith("record")])
@pytest.mark.parametrize("schema", [None, 0, 2, "1"])
def test_records_of_another_schema_are_not_half_read(mine, kind, schema):
    def change(record):
        record.pop("format")
        if schema is not None:
            record["format"] = schema

    reseal(mine.root / EVIDENCE[kind], change)
    *_, verdict = judge_run(mine, {}, mine.root.parent / "baselines")
    reasons = [check.reason for check in verdict.blocking("kronos", "upstream-default")]
    assert any("the record is of another version: its schema is" in reason for reason in reasons), reasons


@pytest.mark.parametrize("kind", ["verdict.json", "decision.json", "archived.json"])
def test_what_was_decided_in_another_run_does_not_pass_the_gate(mine, other, kind):
    shutil.copyfile(other.root / kind, mine.root / kind)
    passed, said = summary(mine, BEFORE)
    assert not passed
    assert said == (
        f"FAIL: {kind} is that of another run, results folder or configuration; run the workflow again, which makes it "
        "anew."
    )


def test_a_report_shows_no_verdict_of_another_run(mine, other):
    shutil.copyfile(other.root / "verdict.json", mine.root / "verdict.json")
    facts = gather(mine, BEFORE["judge"])
    assert facts.verdict != "pass"
    assert any(problem.startswith("verdict.json is that of another run") for problem in facts.problems)


def test_a_manifest_of_what_was_expected_of_another_run_makes_every_record_stale(mine, other):
    shutil.copyfile(other.root / "expected.json", mine.root / "expected.json")
    *_, verdict = judge_run(mine, {}, mine.root.parent / "baselines")
    assert not verdict.passed and "the record is stale, of another run" in " ".join(verdict.reasons)


@pytest.mark.parametrize("schema", [0, 2, None])
def test_a_manifest_of_another_schema_is_refused(mine, schema):
    manifest = read_json(mine.expected) | {"format": schema}
    write_json(mine.expected, manifest)
    with pytest.raises(UserError, match=r"expected\.json: format: .* Delete the file and run the workflow again"):
        load_expected(mine.expected)


def test_a_baseline_of_another_run_model_or_schema_is_refused_by_name(mine, other, tmp_path):
    evidence = load_evidence(mine.root, load_expected(mine.expected))
    stored = tmp_path / "baselines"
    accept_as_baseline(mine, stored)
    kept = (stored / "accuracy/kronos.json").read_text()

    def reasons():
        verdict = judge(evidence, Rules(), load_baselines(stored, evidence.expected))
        assert not verdict.passed
        return " ".join(verdict.reasons)

    document = json.loads(kept)
    for change, words in (
        ({"model": "toto"}, "it is the baseline of 'toto'"),
        ({"format": 1}, "it is of an older format"),
        ({"format": 3}, "format"),
        ({"format": None}, "format"),
        ({"settings_hash": "of another run"}, "made with other settings"),
    ):
        own = {name: value for name, value in document.items() if name != "content_sha256"} | change
        write_json(stored / "accuracy/kronos.json", seal(own))
        assert words in reasons(), words
    speed = next((stored / "speed").iterdir())
    (stored / "accuracy/kronos.json").write_text(kept)
    own = {name: value for name, value in json.loads(speed.read_text()).items() if name != "content_sha256"}
    write_json(speed, seal(own | {"platform": {"id": "another machine"}}))
    assert "it is the baseline of the platform 'another machine'" in reasons()
    judge_again(mine, stored)
    assert not summary(mine, BEFORE)[0]
