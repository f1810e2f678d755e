"""What stops the reference stops all that is measured against it."""

from __future__ import annotations

import pytest

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.evidence_builder import KRONOS, TOTO, Effects, Run


def verdict_of(folder, run):
    run.write(folder)
    return judge(load_evidence(folder, load_expected(folder / "expected.json")), Rules(), Baselines())


def blocking(verdict, model, variant):
    return {check.name: check.reason for check in verdict.blocking(model, variant)}


BROKEN = {
    "golden-forecasts": Effects(golden=0.5),
    "same-seed": Effects(reproducibility={"same_seed_differing": 3}),
    "naive-ratio": Effects(error={f"SYM{number}": 30.0 for number in range(6)}),
    "trials": Effects(failed={"probe": {"kind": "crash", "message": "gone", "result": None}}),
}


@pytest.mark.parametrize("models", [{"toto": TOTO}, {"kronos": KRONOS}], ids=["toto", "kronos"])
@pytest.mark.parametrize("check", BROKEN)
def test_what_stops_the_reference_stops_all_that_is_held_to_it(tmp_path, models, check):
    model, variants = next(iter(models.items()))
    verdict = verdict_of(tmp_path, Run(models=models, effects={(model, "upstream-eager"): BROKEN[check]}))

    assert check in blocking(verdict, model, "upstream-eager")
    for variant in variants:
        if variant != "upstream-eager":
            reason = blocking(verdict, model, variant)["pairing-anchor"]
            assert "upstream-eager, which it is held to, fails" in reason
    assert verdict.decisions[model].chosen is None and not verdict.passed


def test_what_stops_a_partner_stops_its_compiled_modes_and_not_the_reference(tmp_path):
    broken = Effects(golden=0.5)
    verdict = verdict_of(tmp_path, Run(effects={("toto", "static-eager"): broken}))

    assert (
        "static-eager, which it is held to, fails golden"
        in blocking(verdict, "toto", "static-default")["pairing-anchor"]
    )
    assert not blocking(verdict, "toto", "upstream-eager")
    assert verdict.decisions["toto"].chosen == "upstream-eager"


def test_a_slow_partner_stops_nothing_that_is_compared_with_it(tmp_path):
    verdict = verdict_of(tmp_path, Run(effects={("toto", "static-eager"): Effects(latency=1.3, leak=1 << 20)}))

    assert {"not-slower", "memory-growth"} <= set(blocking(verdict, "toto", "static-eager"))
    assert not blocking(verdict, "toto", "static-default")


@pytest.mark.parametrize(("agreeing", "stops"), [(1.0, False), (0.91, False), (0.89, True)])
def test_golden_forecasts_must_be_found_again(tmp_path, agreeing, stops):
    verdict = verdict_of(tmp_path, Run(effects={("toto", "upstream-eager"): Effects(golden=agreeing)}))

    reason = blocking(verdict, "toto", "upstream-eager").get("golden-forecasts", "")
    assert bool(reason) == stops
    if stops:
        assert "SYM0/0 at step 3, is off by 1% of the price" in reason and "tools.golden" in reason


@pytest.mark.parametrize(
    ("off", "stops"), [((1, 0.1), False), ((2, 2e-4), True), ((4, 0.0), False), ((12, 5e-5), False)]
)
def test_teacher_forced_values_must_be_the_stored_ones_in_all_golden_windows_but_one(tmp_path, off, stops):
    """What a mistake moves a little, such as an hour, moves few paths; a token near an edge moves one window."""
    verdict = verdict_of(tmp_path, Run(effects={("toto", "upstream-eager"): Effects(golden=0.92, golden_off=off)}))

    reason = blocking(verdict, "toto", "upstream-eager").get("golden-forecasts", "")
    assert bool(reason) == stops
    if stops:
        assert "teacher-forced values of 2 of 12 stored windows are not the stored ones: logits of SYM" in reason
        assert "off by 0.0002 of its RMS value" in reason and "tools.golden" in reason


def test_a_sample_that_is_another_in_each_golden_window_is_seen(tmp_path):
    effects = Effects(golden=0.92, golden_sample=1.0)
    verdict = verdict_of(tmp_path, Run(effects={("toto", "static-eager"): effects}))

    reason = blocking(verdict, "toto", "static-eager")["golden-forecasts"]
    assert "the same sample is another in 100% of the windows" in reason
