"""A choice that the machine was too busy for is not made: foreign load and A/A noise block, and name the variants."""

from __future__ import annotations

import pytest

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.evidence_builder import TOTO, Effects, Run, reseal
from tests.judgement.test_verdict import verdict_of

MODELS = {"toto": {name: TOTO[name] for name in ("upstream-eager", "static-eager", "static-default")}}


def run(eager, default, **options):
    effects = {("toto", "static-eager"): eager, ("toto", "static-default"): default}
    return Run(models=MODELS, effects=effects, **options)


def check_of(verdict, name):
    (found,) = [c for c in verdict.checks if (c.name, c.model, c.variant) == (name, "toto", None)]
    return found


def test_a_quiet_machine_is_said_to_be_one(tmp_path):
    verdict = verdict_of(tmp_path, run(Effects(latency=0.5), Effects(latency=0.3, foreign=0.1)))
    assert verdict.passed, verdict.reasons
    assert [check_of(verdict, name).status for name in ("quiet-machine", "noise-of-choice")] == ["pass", "pass"]
    assert "at most 10% of the processors" in check_of(verdict, "quiet-machine").reason


def test_pairs_beside_others_decide_nothing(tmp_path):
    """The variant that they concern is not struck out, for then another would be chosen: the whole choice waits."""
    verdict = verdict_of(tmp_path, run(Effects(latency=0.5), Effects(latency=0.3, foreign=0.6)))
    found = check_of(verdict, "quiet-machine")
    assert not verdict.passed and found.status == "inconclusive" and found.blocking
    assert "others used 60% of the processors while static-default was timed" in found.reason
    assert found.reason.endswith("the machine is too busy to choose between static-eager and static-default")
    assert any("quiet-machine" in reason for reason in verdict.reasons)


def test_any_load_may_be_allowed(tmp_path):
    rules = Rules.model_validate({"speed": {"foreign_load": 1.0}})
    assert verdict_of(tmp_path, run(Effects(latency=0.5), Effects(latency=0.3, foreign=0.9)), rules).passed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"during": {"foreign": None}}, "does not say how busy"),
        ({"during": {"device": {"throttled": ["heat (hardware)"]}}}, "the GPU ran slower (heat (hardware))"),
        ({"after": {"device": {"throttled": [], "processes": 2}}}, "another process came to the GPU"),
        ({"idle": {"throttled": [], "processes": 1, "utilization_percent": 90}}, "the GPU was at work for others"),
    ],
)
def test_what_else_disturbs(tmp_path, change, words):
    disturbed = run(Effects(latency=0.5), Effects(latency=0.3))
    disturbed.write(tmp_path)

    def edit(record):
        load = record["trials"][0]["result"]["load"]
        for part, value in change.items():
            load[part] = [load[part][0] | value] if part == "during" else (load.get(part) or {}) | value

    reseal(tmp_path / "time/model=toto/variant=static-default/record.json", edit)
    verdict = judge(load_evidence(tmp_path, load_expected(tmp_path / "expected.json")), Rules(), Baselines())
    assert not verdict.passed
    assert words in check_of(verdict, "quiet-machine").reason


def test_noise_above_what_the_choice_needs_blocks_it(tmp_path):
    """Both are surely faster than the reference; which of them is the faster one, such a machine can't say."""
    noisy = Effects(latency=0.27, jitter=0.25)
    verdict = verdict_of(tmp_path, run(Effects(latency=0.3, jitter=0.25), noisy, pairs=80, control_pairs=40))
    found = check_of(verdict, "noise-of-choice")
    assert found.status == "inconclusive" and not verdict.passed, found.reason
    assert "the machine is too busy to choose between" in found.reason
    assert {"static-eager", "static-default"} <= {word.strip(",") for word in found.reason.split()}


def test_the_same_noise_is_no_matter_where_the_distance_is_large(tmp_path):
    effects = Effects(latency=0.9, jitter=0.1), Effects(latency=0.1, jitter=0.1)
    verdict = verdict_of(tmp_path, run(*effects, pairs=80, control_pairs=40))
    assert check_of(verdict, "noise-of-choice").status == "pass", check_of(verdict, "noise-of-choice").reason
    assert verdict.decisions["toto"].chosen == "static-default"
