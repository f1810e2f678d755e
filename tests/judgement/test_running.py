"""N of N: how often a variant must have run, and with which batch."""

from __future__ import annotations

import json

import pytest

from greenlight.errors import UserError
from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence, record_file
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.evidence_builder import KRONOS, Run, reseal


def checks(folder, variant="upstream-default"):
    verdict = judge(load_evidence(folder, load_expected(folder / "expected.json")), Rules(), Baselines())
    return {check.name: check for check in verdict.checks if (check.model, check.variant) == ("kronos", variant)}


@pytest.fixture
def folder(tmp_path):
    """Two shards, a probe, two timing processes, a compile and two repeats: 8 processes of the compiled variant."""
    return Run(models={"kronos": KRONOS}, repeats=2).write(tmp_path)


def test_every_process_counts(folder):
    found = checks(folder)
    assert (found["trials"].status, found["trials"].figure, found["trials"].limit) == ("pass", 8, 8)
    assert found["evidence-repeat"].status == found["smaller-batch"].status == "pass"


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["trials"].pop(),
        lambda record: record["trials"][1].update(kind="invalid-output", message="other bits", result=None),
        lambda record: record["trials"][1].update(result={}),
    ],
)
def test_one_repeat_less_than_all_blocks(folder, change):
    reseal(folder / record_file("repeat", "kronos", "upstream-default"), change)
    found = checks(folder)
    assert found["evidence-repeat"].blocking
    assert not any(check.blocking for check in checks(folder, "upstream-eager").values())


def test_a_failed_repeat_is_a_failed_trial(folder):
    def fail(record):
        record["trials"][0] |= {"kind": "signal", "message": "SIGSEGV", "result": None}

    reseal(folder / record_file("repeat", "kronos", "upstream-default"), fail)
    check = checks(folder)["trials"]
    assert check.blocking and check.reason == "1 of 8 trials failed: signal: SIGSEGV" and check.figure == 7


def test_health_of_a_repeat_counts(folder):
    def unhealthy(record):
        record["trials"][0]["result"]["health"]["engaged"] = False

    reseal(folder / record_file("repeat", "kronos", "upstream-default"), unhealthy)
    check = checks(folder)["compile-engaged"]
    assert check.blocking and "repeat" in check.reason


def test_a_manifest_of_too_few_trials_is_refused(tmp_path):
    Run(models={"kronos": KRONOS}, adjust=lambda manifest: manifest.update(repeats=4)).write(tmp_path)
    with pytest.raises(UserError, match="upstream-eager has 3 trials, 4 are asked for"):
        load_expected(tmp_path / "expected.json")


@pytest.mark.parametrize(("stage", "status"), [("predict/0001", "warn"), ("probe", "warn"), ("time", "inconclusive")])
def test_a_smaller_batch_is_said_and_its_latency_is_no_evidence(folder, stage, status):
    def reduce(record):
        record["trials"][0] |= {"reduced": "windows_per_call 1 in place of 2 (out-of-host-memory)", "attempts": [{}]}

    reseal(folder / record_file(stage, "kronos", "upstream-default"), reduce)
    check = checks(folder)["smaller-batch"]
    assert check.status == status and check.blocking == (status == "inconclusive")
    assert "windows_per_call 1 in place of 2 (out-of-host-memory)" in check.reason


def test_a_cache_that_was_filled_for_another_batch_says_so(folder):
    def reduce(record):
        record["trials"][0] |= {"reduced": "windows_per_call 1 in place of 2 (out-of-host-memory)", "attempts": [{}]}
        record["trials"][0]["result"]["health"]["cache"]["fx_misses"] = 2

    reseal(folder / record_file("predict/0000", "kronos", "upstream-default"), reduce)
    check = checks(folder)["warm-cache"]
    assert (
        check.status == "warn" and "memory ran out, and another batch compiles anew: windows_per_call 1" in check.reason
    )
    assert json.dumps(check.to_dict())
