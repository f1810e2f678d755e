"""A baseline that was accepted and is gone blocks until one is accepted anew, or none is said to be meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenlight.files import write_text
from greenlight.judgement.accept import accepted_text
from greenlight.judgement.baseline import ACCEPTED, accepted_files
from tests.judgement.evidence_builder import Run
from tests.judgement.test_baseline import MODELS, WHO, accepted, evidence_of, verdict_against

__all__ = ["accepted"]  # a fixture

SPEED = "speed/test-platform.json"


@pytest.mark.parametrize("name", ["accuracy/kronos.json", SPEED])
def test_a_baseline_that_was_deleted_blocks_until_it_is_accepted_anew_or_said_to_be_absent(accepted, tmp_path, name):
    evidence = evidence_of(tmp_path / "now", Run(models=MODELS))
    documents = {
        path.relative_to(accepted).as_posix(): json.loads(path.read_text()) for path in accepted.rglob("*.json")
    }
    write_text(accepted / ACCEPTED, accepted_text(accepted, documents))
    kept = (accepted / name).read_text()
    (accepted / name).unlink()

    verdict = verdict_against(accepted, evidence)
    (refused,) = [check for check in verdict.checks if check.name == "baseline-file" and check.status == "fail"]
    assert not verdict.passed and refused.blocking
    assert f"{name} is refused: it was accepted on {WHO['when']}, and is gone" in refused.reason

    (accepted / name).write_text(kept)
    assert verdict_against(accepted, evidence).passed

    (accepted / name).unlink()
    listed = json.loads((accepted / ACCEPTED).read_text())
    del listed["files"][name]
    (accepted / ACCEPTED).write_text(json.dumps(listed))
    assert verdict_against(accepted, evidence).passed


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "files": {}}', '{"format": 1, "files": {"a": 1}}'])
def test_a_list_of_what_was_accepted_that_is_not_readable_blocks_where_a_baseline_is_not_there(
    accepted, tmp_path, text
):
    evidence = evidence_of(tmp_path / "now", Run(models=MODELS))
    (accepted / ACCEPTED).write_text(text)
    assert verdict_against(accepted, evidence).passed, "those that are there are sealed"
    (accepted / "accuracy/kronos.json").unlink()
    reasons = verdict_against(accepted, evidence).reasons
    assert any("accepted.json is not readable" in reason for reason in reasons)


def test_what_another_platform_accepted_is_not_missed_here(tmp_path):
    baselines = tmp_path / "baselines"
    write_text(
        baselines / ACCEPTED,
        json.dumps({"format": 1, "files": {"speed/other.json": "then", "accuracy/toto.json": "then"}}),
    )
    assert verdict_against(baselines, evidence_of(tmp_path / "now", Run(models=MODELS))).passed


def test_the_shipped_list_names_the_shipped_baselines():
    folder = Path(__file__).parents[2] / "config/baselines"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")}
    assert found == {ACCEPTED, *accepted_files(folder)}
