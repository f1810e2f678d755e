"""Baselines: accepted, read back, refused when touched, compared row by row."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from greenlight.errors import UserError
from greenlight.files import write_text
from greenlight.judgement.accept import build_baselines, describe_changes
from greenlight.judgement.baseline import AccuracyBaseline, Refused, SpeedBaseline, baseline_text, load_baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from greenlight.judgement.seal import seal
from tests.judgement.evidence_builder import KRONOS, Effects, Run

MODELS = {"kronos": KRONOS}
VARIANT = "upstream-default"
WHO = {"who": "Ada", "when": "2026-11-20T10:00:00Z", "commit": "0123456789abcdef", "reason": "first run"}


def evidence_of(folder, run):
    run.write(folder)
    return load_evidence(folder, load_expected(folder / "expected.json"))


def accept(folder, evidence, **changes):
    verdict = judge(evidence, Rules(), load_baselines(folder, evidence.expected))
    documents = build_baselines(evidence, verdict, Rules(), **{**WHO, **changes})
    for name, document in documents.items():
        write_text(folder / name, baseline_text(document))
    return documents


def verdict_against(baselines, evidence):
    return judge(evidence, Rules(), load_baselines(baselines, evidence.expected))


def check_of(verdict, name, variant=VARIANT):
    return next(c for c in verdict.checks if (c.name, c.variant) == (name, variant))


@pytest.fixture
def accepted(tmp_path):
    """A folder of baselines accepted from a good run."""
    evidence = evidence_of(tmp_path / "then", Run(models=MODELS))
    accept(tmp_path / "baselines", evidence)
    return tmp_path / "baselines"


def test_the_same_run_again_is_equal_and_passes(accepted, tmp_path):
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=MODELS)))

    assert verdict.passed
    same = check_of(verdict, "baseline-accuracy")
    assert same.status == "pass" and same.figure == 0.0
    assert check_of(verdict, "baseline-speed").status == "pass"


def test_an_accepted_file_reads_in_a_diff_and_says_who_and_why(accepted):
    text = (accepted / "accuracy/kronos.json").read_text()

    rows = [line for line in text.splitlines() if '"SYM0": [' in line]
    assert len(rows) == 3 * len(KRONOS) and all(line.count(",") >= 4 for line in rows)
    assert json.loads(text)["accepted"] == {**WHO, "forced": False}


@pytest.mark.parametrize("factor", [1.03, 0.97])
def test_a_loss_and_an_unexplained_improvement_both_stop_the_gate(accepted, tmp_path, factor):
    error = {f"SYM{number}": factor for number in range(6)}
    effects = {("kronos", v): Effects(error=error, latency=0.7) for v in KRONOS}
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=MODELS, effects=effects)))

    check = check_of(verdict, "baseline-accuracy")
    assert check.status == "fail" and check.blocking and not verdict.passed
    assert ("worse" if factor > 1 else "an improvement that nothing explains") in check.reason


def test_a_mean_that_moves_alone_stops_the_gate(accepted, tmp_path):
    """One sample path of 32 at twice the price, in all variants alike: medians, and the MAE, stay."""
    twice = np.where(np.arange(32) == 5, 2.0, 1.0)[:, None]
    effects = {("kronos", v): Effects(paths=lambda _, p: p * twice, latency=0.7) for v in KRONOS}
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=MODELS, effects=effects)))

    for name in ("baseline-accuracy", "baseline-symbols"):
        check = check_of(verdict, name, "upstream-eager")
        assert check.status == "fail" and check.blocking and "RMSE of the mean" in check.reason, check.reason


def test_one_changed_symbol_is_named(accepted, tmp_path):
    effects = {("kronos", v): Effects(error={"SYM4": 1.2}, latency=0.7) for v in KRONOS}
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=MODELS, effects=effects)))

    check = check_of(verdict, "baseline-symbols")
    assert check.status == "fail" and "SYM4" in check.reason and "SYM3" not in check.reason


VANISHED = {
    "symbol SYM5": Run(models=MODELS, symbols={f"SYM{number}": 5 for number in range(5)}),
    "variant upstream-default": Run(models={"kronos": {"upstream-eager": KRONOS["upstream-eager"]}}),
    "windows 3 to 4 of SYM1": Run(models=MODELS, symbols={f"SYM{n}": 3 if n == 1 else 5 for n in range(6)}),
    "model kronos": Run(models={"toto": KRONOS}),
}


@pytest.mark.parametrize("what", VANISHED)
def test_what_vanished_since_the_accepted_run_fails_the_gate(accepted, tmp_path, what):
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", VANISHED[what]))

    assert not verdict.passed
    assert any("vanished" in reason and what in reason for reason in verdict.reasons), verdict.reasons


NEW = "upstream-max-autotune"
WITH_NEW = {"kronos": {**KRONOS, NEW: {"coupled_with_reference": True}}}


def test_new_symbols_and_variants_are_new_and_never_passed(accepted, tmp_path):
    run = Run(models=WITH_NEW, symbols={f"SYM{number}": 5 for number in range(7)})
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", run))

    new = check_of(verdict, "baseline-new", None)
    assert new.status == "not-measured" and "SYM6" in new.reason and "upstream-max-autotune" in new.reason
    compared = {c.name: c for c in verdict.checks if c.variant == NEW and c.name.startswith("baseline")}
    assert set(compared) == {"baseline-accuracy", "baseline-symbols"}
    assert "of upstream-eager, whose random numbers this new variant has" in compared["baseline-accuracy"].reason


def test_a_new_variant_is_held_to_the_accepted_errors_of_its_partner(accepted, tmp_path):
    """Code that is wrong for all alike moves the new variant as it moves the reference."""
    error = {f"SYM{number}": 1.03 for number in range(6)}
    effects = {("kronos", v): Effects(error=error, latency=0.7) for v in WITH_NEW["kronos"]}
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=WITH_NEW, effects=effects)))

    assert check_of(verdict, "baseline-accuracy", NEW).blocking
    assert verdict.decisions["kronos"].chosen is None


def test_a_new_variant_that_nothing_accepted_is_paired_with_is_not_compared(accepted, tmp_path):
    models = {"kronos": {**KRONOS, "static-eager": {"coupled_with_reference": False}}}
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=models)))

    assert not [c for c in verdict.checks if c.variant == "static-eager" and c.name.startswith("baseline")]


def changed(key, value):
    def adjust(manifest):
        target = manifest["models"]["kronos"] if key == "weights_hash" else manifest
        target[key] = value

    return adjust


@pytest.mark.parametrize(
    ("key", "word"), [("weights_hash", "weights"), ("settings_hash", "settings"), ("samples", "samples")]
)
def test_a_baseline_of_other_weights_or_settings_blocks_until_one_is_accepted_anew(accepted, tmp_path, key, word):
    value = 64 if key == "samples" else "other"
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=MODELS, adjust=changed(key, value))))

    check = check_of(verdict, "baseline-comparable", None)
    assert check.status == "fail" and check.blocking and not verdict.passed
    assert f"other {word}" in check.reason and "accept a run" in check.reason
    assert not [c for c in verdict.checks if c.name == "baseline-accuracy"]


def test_symbols_with_other_data_are_new(accepted, tmp_path):
    def other_data(manifest):
        manifest["symbols"]["SYM2"]["data_hash"] = "other"

    effects = {("kronos", v): Effects(error={"SYM2": 2.0}, latency=0.7) for v in KRONOS}
    run = Run(models=MODELS, adjust=other_data, effects=effects)
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", run))

    assert "SYM2 (other data)" in check_of(verdict, "baseline-new", None).reason
    assert check_of(verdict, "baseline-symbols").status == "pass"


def hand_edited(text):
    return text.replace('"samples": 32', '"samples": 33')


def other_model(text):
    return baseline_text(seal({**json.loads(text), "model": "toto"}))


def without_rmse(text):
    document = json.loads(text)
    for errors in document["variants"].values():
        del errors["rmse"]
    return baseline_text(seal({**document, "format": 1}))


def row_removed(text):
    document = json.loads(text)
    document["variants"][VARIANT]["mae"]["SYM3"].pop()
    return baseline_text(seal(document))


TOUCHED = {
    "hand-edited": (hand_edited, "changed after it was written"),
    "truncated": (lambda text: text[: len(text) // 2], "cut off"),
    "empty": (lambda text: "", "not readable"),
    "unsealed": (lambda text: text.replace("content_sha256", "content"), "has no content_sha256"),
    "of another model": (other_model, "the baseline of 'toto'"),
    "of an older format": (without_rmse, "no RMSE; accept a run anew"),
    "with a row removed": (row_removed, "rows of upstream-default"),
}


@pytest.mark.parametrize("how", TOUCHED)
def test_a_touched_baseline_is_refused_with_the_reason_and_fails_the_gate(accepted, tmp_path, how):
    touch, words = TOUCHED[how]
    path = accepted / "accuracy/kronos.json"
    path.write_text(touch(path.read_text()))
    evidence = evidence_of(tmp_path / "now", Run(models=MODELS))

    assert isinstance(load_baselines(accepted, evidence.expected).accuracy["kronos"], Refused)
    verdict = verdict_against(accepted, evidence)
    assert not verdict.passed and words in verdict.reasons[0]


def test_speed_of_another_platform_is_not_compared(accepted, tmp_path):
    def elsewhere(manifest):
        manifest["platform"]["id"] = "another"

    effects = {("kronos", VARIANT): Effects(latency=0.95)}
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=MODELS, adjust=elsewhere)))
    assert not [c for c in verdict.checks if c.name == "baseline-speed"]

    verdict = verdict_against(accepted, evidence_of(tmp_path / "here", Run(models=MODELS, effects=effects)))
    slower = check_of(verdict, "baseline-speed")
    assert slower.status == "fail" and slower.blocking
    # The gate itself goes on with what passes.
    assert verdict.decisions["kronos"].chosen == "upstream-eager"


def test_a_speed_gain_stops_a_variant_as_a_loss_does(accepted, tmp_path):
    effects = {("kronos", VARIANT): Effects(latency=0.5)}
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=MODELS, effects=effects)))

    gain = check_of(verdict, "baseline-speed-gain")
    assert gain.status == "fail" and gain.blocking and "nothing explains" in gain.reason
    assert verdict.decisions["kronos"].chosen == "upstream-eager"


@pytest.mark.parametrize(
    ("latency", "name", "status"),
    [
        (0.8, "baseline-speed", "inconclusive"),
        (0.95, "baseline-speed", "fail"),
        (0.6, "baseline-speed-gain", "inconclusive"),
        (0.5, "baseline-speed-gain", "fail"),
    ],
)
def test_a_machine_that_has_changed_explains_small_changes_only(accepted, tmp_path, latency, name, status):
    """The reference takes 1.6 times as long as when the run was accepted; the variant took 0.7 of it then."""
    (path,) = (accepted / "speed").glob("*.json")
    document = json.loads(path.read_text())
    for entry in document["models"]["kronos"]["variants"].values():
        for arm in ("variant", "reference"):
            entry[f"{arm}_median_seconds"] /= 1.6
    path.write_text(baseline_text(seal(document)))
    effects = {("kronos", VARIANT): Effects(latency=latency)}
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=MODELS, effects=effects)))

    found = check_of(verdict, name)
    assert (found.status, found.blocking) == (status, status == "fail"), found
    assert ("may be the machine" in found.reason) == (status == "inconclusive")


def test_acceptance_refuses_incomplete_evidence_unless_forced_with_a_reason(tmp_path):
    failed = {"time": {"kind": "time-out", "message": "no answer in 60 s", "result": None}}
    run = Run(models=MODELS, effects={("kronos", VARIANT): Effects(failed=failed)})
    evidence = evidence_of(tmp_path / "run", run)
    with pytest.raises(UserError, match="can't be accepted"):
        accept(tmp_path / "b", evidence)
    with pytest.raises(UserError, match="needs a reason"):
        accept(tmp_path / "b", evidence, reason=" ", forced=True)

    documents = accept(tmp_path / "b", evidence, reason="the timer is broken here", forced=True)
    accuracy = documents["accuracy/kronos.json"]
    assert accuracy["accepted"]["forced"] and list(accuracy["variants"]) == ["upstream-eager"]
    assert VARIANT in accuracy["incomplete"][0]


def test_acceptance_refuses_a_failed_gate(accepted, tmp_path):
    effects = {("kronos", v): Effects(error={f"SYM{n}": 1.03 for n in range(6)}, latency=0.7) for v in KRONOS}
    evidence = evidence_of(tmp_path / "now", Run(models=MODELS, effects=effects))
    with pytest.raises(UserError, match=r"the gate failed: kronos: no variant passes: .*baseline-accuracy: .* worse"):
        accept(accepted, evidence)

    before = load_baselines(accepted, evidence.expected).accuracy["kronos"]
    documents = accept(accepted, evidence, forced=True, reason="new training")
    assert isinstance(before, AccuracyBaseline)
    changes = describe_changes(before, documents["accuracy/kronos.json"])
    (line,) = [line for line in changes if line.startswith("upstream-default, mae: ")]
    assert "6 of 6 symbols moved, the most SYM" in line and "(+3" in line
    assert verdict_against(accepted, evidence).passed


def test_changes_name_what_comes_and_goes(accepted, tmp_path):
    evidence = evidence_of(tmp_path / "now", Run(models=MODELS, symbols={f"SYM{n}": 5 for n in range(1, 8)}))
    before = load_baselines(accepted, evidence.expected)
    documents = accept(tmp_path / "new", evidence)

    changes = describe_changes(before.accuracy["kronos"], documents["accuracy/kronos.json"])
    assert "symbol SYM0: no longer there" in changes and "symbol SYM7: new" in changes
    assert isinstance(before.speed, SpeedBaseline)
    assert describe_changes(before.speed, documents["speed/test-platform.json"]) == []
    assert describe_changes(None, documents["speed/test-platform.json"]) == ["there is no speed baseline yet"]


def test_what_moved_by_rounding_only_is_one_line(accepted, tmp_path):
    """Errors of five symbols moved by 1e-6 and one by 1%: the one is named, the others are counted."""
    evidence = evidence_of(tmp_path / "now", Run(models=MODELS))
    before = load_baselines(accepted, evidence.expected).accuracy["kronos"]
    now = accept(tmp_path / "new", evidence)["accuracy/kronos.json"]
    assert describe_changes(before, now) == []

    for errors in now["variants"].values():
        for error in errors.values():
            error |= {name: [value * (1 + 1e-6) for value in error[name]] for name in list(error)[:5]}
    count = 3 * 5 * len(now["variants"])
    (line,) = describe_changes(before, now)
    assert re.fullmatch(rf"{count} errors of symbols moved by rounding only, by at most [1-4]\.\de-04%", line)

    moved = now["variants"][VARIANT]["mae"]
    moved["SYM5"] = [value * 1.01 for value in moved["SYM5"]]
    first, second = describe_changes(before, now)
    assert first.startswith(f"{VARIANT}, mae: 1 of 6 symbols moved, the most SYM5 ") and "(+1%)" in first
    assert second.startswith(f"{count} errors")


def test_the_baseline_of_other_symbols_altogether_is_not_compared_and_says_so(accepted, tmp_path):
    run = Run(models=MODELS, symbols={f"OTHER{number}": 5 for number in range(6)})
    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", run))

    check = check_of(verdict, "baseline-comparable", None)
    assert check.status == "not-measured" and "none of which is here" in check.reason
    assert verdict.passed, verdict.reasons


def test_a_model_of_its_own_settings_leaves_the_other_comparable(accepted, tmp_path):
    def other_settings(manifest):
        manifest["models"]["kronos"]["settings_hash"] = "another temperature"

    verdict = verdict_against(accepted, evidence_of(tmp_path / "now", Run(models=MODELS, adjust=other_settings)))
    check = check_of(verdict, "baseline-comparable", None)
    assert check.status == "fail" and check.model == "kronos" and "other settings" in check.reason
