"""What a good run gets, and that each defect is caught by the check that names it."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence, record_file
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.evidence_builder import KRONOS, TOTO, Effects, Run, reseal

SMALL = {"toto": {name: TOTO[name] for name in ("upstream-eager", "static-eager", "static-default")}}
KRONOS_ONLY = {"kronos": KRONOS}


def verdict_of(folder, run, rules=None):
    run.write(folder)
    return judge(load_evidence(folder, load_expected(folder / "expected.json")), rules or Rules(), Baselines())


def check_of(verdict, name, variant, model="toto"):
    (found,) = [c for c in verdict.checks if (c.name, c.model, c.variant) == (name, model, variant)]
    return found


def test_a_good_run_passes_and_deploys_the_fast_simple_variant(tmp_path):
    verdict = verdict_of(tmp_path, Run(models={"toto": TOTO, "kronos": KRONOS}))

    assert verdict.passed, verdict.reasons
    assert verdict.decisions["toto"].chosen == "static-default"
    assert verdict.decisions["kronos"].chosen == "upstream-default"
    assert verdict.to_dict()["gate"] == "pass"
    assert set(verdict.decisions["toto"].losers) == set(TOTO) - {"static-default"}


def test_random_weights_are_never_deployed_whatever_the_severities(tmp_path):
    def adjust(manifest):
        manifest["models"]["toto"]["random_weights"] = {"model": "random:base"}

    verdict = verdict_of(tmp_path, Run(models={"toto": TOTO, "kronos": KRONOS}, adjust=adjust))
    assert not verdict.passed and len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith("toto: trained-weights: the weights are random (model random:base)")
    assert verdict.to_dict()["models"]["toto"]["gate"] == "fail" != verdict.to_dict()["models"]["kronos"]["gate"]
    assert verdict.decisions["toto"].chosen == "static-default"  # all is measured and compared
    with pytest.raises(ValueError, match="always blocks"):
        Rules(severity={"trained-weights": "warn"})


def test_every_check_names_figures_and_hashed_evidence(tmp_path):
    document = verdict_of(tmp_path, Run(models=KRONOS_ONLY)).to_dict()

    for check in document["checks"]:
        assert check["reason"]
        assert check["status"] in ("pass", "warn", "fail", "inconclusive", "not-measured", "not-applicable")
        assert all(len(item["sha256"]) == 64 for item in check["evidence"] if item["sha256"] is not None)
    variants = [check for check in document["checks"] if check["variant"] is not None]
    assert all(check["evidence"] for check in variants)


HEALTH_DEFECTS = {
    "compile-engaged": {"engaged": False, "graphs": 0},
    "recompiles-after-warm-up": {"recompiles_after_warm_up": 3},
    "recompile-limit": {"recompile_limit_hits": [{"function": "forward", "file": "m.py", "line": 3}]},
}
REPRODUCIBILITY_DEFECTS = {
    "same-seed": {"same_seed_differing": 12},
    "other-seed": {"other_seed_changed": 0.0},
    "other-symbol": {"other_symbol_changed": 0.1},
    "batch-equals-rows": {"batch_equals_rows": {"max_abs_difference": 0.5, "tolerance": 0.01}},
    "symbol-order": {"order_irrelevant": {"max_abs_difference": 0.5, "tolerance": 0.01}},
    "repeat-after-other": {"a_b_a": False},
    "output-kept": {"output_overwritten": True},
    "affine": {"affine": {"applies": True, "max_relative_difference": 0.3, "tolerance": 0.01}},
}
ALL_WORSE = {f"SYM{number}": 1.05 + 0.002 * number for number in range(6)}
DEFECTS = (
    {name: Effects(latency=0.7, health=health) for name, health in HEALTH_DEFECTS.items()}
    | {name: Effects(latency=0.7, reproducibility=r) for name, r in REPRODUCIBILITY_DEFECTS.items()}
    | {
        "samples-differ": Effects(latency=0.7, distinct_paths=0.95),
        "numerics": Effects(latency=0.7, probe_error=1e-3),
        "mae-not-worse": Effects(latency=0.7, error=ALL_WORSE),
        "series-difference": Effects(latency=0.7, error={"SYM3": 1.3}),
        "coverage": Effects(latency=0.7, band=0.01),
        "quantile-loss-not-worse": Effects(latency=0.7, band=0.5),
        "rmse-not-worse": Effects(latency=0.7, paths=lambda _, p: np.where(np.arange(32)[:, None] == 5, 2, 1) * p),
        "forecasts-agree": Effects(latency=0.7, shift=1),
        "not-slower": Effects(latency=1.15),
        "slow-calls": Effects(latency=0.7, slow_share=0.25),
        "memory-growth": Effects(latency=0.7, leak=1 << 20),
        "trials": Effects(latency=0.7, failed={"time": {"kind": "signal", "message": "killed", "result": None}}),
    }
)


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_caught_by_its_check_and_the_variant_is_not_chosen(tmp_path, name):
    run = Run(models=KRONOS_ONLY, effects={("kronos", "upstream-default"): DEFECTS[name]})
    verdict = verdict_of(tmp_path, run)

    caught = check_of(verdict, name, "upstream-default", "kronos")
    assert caught.status == "fail" and caught.blocking, caught
    assert verdict.decisions["kronos"].chosen == "upstream-eager"
    assert verdict.passed


@pytest.mark.parametrize(
    ("again", "words"),
    [
        (
            {"max_abs_difference": 0.2, "window": "SYM3/4"},
            "all 30 windows again in other calls: SYM3/4 differs by 0.2 of its spread",
        ),
        (None, "no evidence: not all windows were forecast again in other calls"),
    ],
)
def test_a_forecast_that_no_other_draws_alike_must_not_depend_on_its_call(tmp_path, again, words):
    effects = Effects(latency=0.7, again=again)
    variants = ("static-eager", "static-default")
    verdict = verdict_of(tmp_path, Run(effects={("toto", variant): effects for variant in variants}))

    caught = check_of(verdict, "symbol-order", "static-eager", "toto")
    assert caught.status == "fail" and caught.blocking and words in caught.reason
    assert check_of(verdict, "symbol-order", "static-default", "toto").status == "pass"  # its partner tells


FORECASTS = {"calls": 30, "idle": 0, "first_idle": 0, "fewest": 3, "most": 3}


@pytest.mark.parametrize(
    ("forecasts", "words"),
    [
        (
            {"idle": 17, "first_idle": 14, "fewest": 0},
            "17 of 30 forecasts after warm-up ran no compiled graph, from number 14",
        ),
        ({"fewest": 2}, "some forecasts after warm-up ran 2 compiled graphs, others 3"),
        ({"calls": 0, "fewest": 0, "most": 0}, "predict and time counted no forecast after warm-up"),
        (None, "predict and time counted no forecast after warm-up"),
    ],
)
def test_compiled_code_that_is_given_up_after_warm_up_has_not_engaged(tmp_path, forecasts, words):
    health = {"forecasts": None if forecasts is None else FORECASTS | forecasts}
    run = Run(models=KRONOS_ONLY, effects={("kronos", "upstream-default"): Effects(latency=0.7, health=health)})
    engaged = check_of(verdict_of(tmp_path, run), "compile-engaged", "upstream-default", "kronos")

    assert engaged.status == "fail" and engaged.blocking
    assert words in engaged.reason


@pytest.mark.parametrize(
    ("band", "status"), [(0.3, "fail"), (0.6, "inconclusive"), (0.7, "pass"), (1.0, "pass"), (4.0, "fail")]
)
def test_a_band_is_too_narrow_or_too_wide_only_where_the_bounds_show_it(tmp_path, band, status):
    run = Run(models=KRONOS_ONLY, effects={("kronos", "upstream-default"): Effects(latency=0.7, band=band)})
    coverage = check_of(verdict_of(tmp_path, run), "coverage", "upstream-default", "kronos")
    assert (coverage.status, coverage.blocking) == (status, status == "fail")
    assert "with 32 samples to be 56% to 95%" in coverage.reason


def test_the_gate_fails_when_the_deployed_variant_fails_even_if_another_passes(tmp_path):
    broken = Effects(latency=0.7, health={"recompiles_after_warm_up": 3})
    run = Run(
        models=KRONOS_ONLY,
        effects={("kronos", "upstream-default"): broken},
        deployed={"kronos": "upstream-default"},
    )
    verdict = verdict_of(tmp_path, run)

    assert not verdict.passed
    assert verdict.decisions["kronos"].chosen == "upstream-eager"
    assert "upstream-default fails recompiles-after-warm-up: 3 recompiles" in verdict.reasons[0]


def test_the_gate_fails_where_not_even_the_reference_passes(tmp_path):
    failed = {"predict": {"kind": "time-out", "message": "no answer in 60 s", "result": None}}
    run = Run(models=KRONOS_ONLY, effects={("kronos", "upstream-eager"): Effects(failed=failed)})
    verdict = verdict_of(tmp_path, run)

    assert not verdict.passed
    assert verdict.decisions["kronos"].chosen is None
    assert "no variant passes" in verdict.reasons[0]
    partner = check_of(verdict, "mae-not-worse", "upstream-default", "kronos")
    assert partner.status == "fail" and "no evidence" in partner.reason


def test_a_failed_trial_is_told_with_its_kind_and_does_not_hide_the_others(tmp_path):
    failed = {"predict": {"kind": "graph-output-overwritten", "message": "CUDA graph output", "result": None}}
    effects = {("toto", "static-reduce-overhead"): Effects(failed=failed)}
    verdict = verdict_of(tmp_path, Run(effects=effects))

    assert verdict.passed
    line = verdict.decisions["toto"].losers["static-reduce-overhead"]
    assert line == "trials: 2 of 6 trials failed: graph-output-overwritten: CUDA graph output (2 times)"


def test_what_the_machine_failed_is_no_finding_and_no_pass(tmp_path):
    """Every other variant passes, but which is the best is not known while one was kept from being measured."""
    machine = {"kind": "machine", "message": "No space left on device", "result": None}
    effects = {("kronos", "upstream-default"): Effects(latency=0.7, failed={"predict": machine})}
    verdict = verdict_of(tmp_path, Run(models=KRONOS_ONLY, effects=effects))

    assert not verdict.passed
    assert verdict.reasons == ("kronos: upstream-default: not measured: machine: No space left on device; run again",)
    own = [check for check in verdict.checks if check.variant == "upstream-default" and check.blocking]
    assert own and {check.status for check in own} == {"inconclusive"}, own
    assert not any(check.status == "fail" for check in verdict.checks if check.variant == "upstream-default")
    assert verdict.decisions["kronos"].chosen == "upstream-eager"


def test_an_implementation_with_other_draws_is_held_to_the_reference_by_numerics_and_wide_margin(tmp_path):
    verdict = verdict_of(tmp_path / "good", Run(models=SMALL))
    paired = check_of(verdict, "mae-not-worse", "static-default")
    against = check_of(verdict, "mae-against-reference", "static-default")
    assert "against static-eager" in paired.reason and paired.status == "pass"
    assert "other random numbers" in against.reason and against.limit == 0.10

    # Both static variants are wrong in the same way: their pair agrees, the reference tells.
    worse = {symbol: 1.5 for symbol in Run().symbols}
    effects = {("toto", v): Effects(latency=0.7, error=worse) for v in ("static-eager", "static-default")}
    verdict = verdict_of(tmp_path / "worse", Run(models=SMALL, effects=effects))
    assert check_of(verdict, "mae-not-worse", "static-default").status == "pass"
    assert check_of(verdict, "mae-against-reference", "static-default").status == "fail"
    assert verdict.decisions["toto"].chosen == "upstream-eager"


@pytest.mark.parametrize("effects", [Effects(latency=0.7, shift=1), Effects(latency=0.7, band=0.75)])
def test_a_defect_that_mae_cannot_see_in_a_whole_implementation_is_seen_in_its_forecasts(tmp_path, effects):
    wrong = {("toto", variant): effects for variant in ("static-eager", "static-default")}
    verdict = verdict_of(tmp_path, Run(models=SMALL, effects=wrong))

    assert check_of(verdict, "forecasts-agree", "static-default").status == "pass"
    assert check_of(verdict, "mae-against-reference", "static-default").status != "fail"
    for variant in ("static-eager", "static-default"):
        caught = check_of(verdict, "forecasts-against-reference", variant)
        assert caught.status == "fail" and caught.blocking and "times as wide" in caught.reason
    assert verdict.decisions["toto"].chosen == "upstream-eager"


def test_what_the_anchor_fails_its_pairs_fail(tmp_path):
    effects = {("toto", "static-eager"): Effects(probe_error=1e-3)}
    verdict = verdict_of(tmp_path, Run(models=SMALL, effects=effects))

    anchored = check_of(verdict, "pairing-anchor", "static-default")
    assert anchored.blocking and "static-eager" in anchored.reason and "numerics" in anchored.reason
    assert verdict.decisions["toto"].chosen == "upstream-eager"


def test_bit_equal_forecasts_pass_with_that_said(tmp_path):
    run = Run(models=KRONOS_ONLY, effects={(("kronos"), v): Effects(rounding=0.0, latency=0.7) for v in KRONOS})
    verdict = verdict_of(tmp_path, run)

    check = check_of(verdict, "mae-not-worse", "upstream-default", "kronos")
    assert check.status == "pass" and "equal to the bit" in check.reason and check.figure == 0.0


def test_one_symbol_is_compared_window_by_window(tmp_path):
    verdict = verdict_of(tmp_path, Run(models=KRONOS_ONLY, symbols={"GOOG": 6}))

    check = check_of(verdict, "mae-not-worse", "upstream-default", "kronos")
    assert check.status == "pass" and "6 windows" in check.reason


def test_too_few_windows_are_inconclusive_and_stop_the_variant(tmp_path):
    run = Run(models=KRONOS_ONLY, symbols={"GOOG": 2})
    verdict = verdict_of(tmp_path, run)

    check = check_of(verdict, "mae-not-worse", "upstream-default", "kronos")
    assert check.status == "inconclusive" and check.blocking and "would be needed" in check.reason
    assert verdict.decisions["kronos"].chosen == "upstream-eager"


def test_noise_that_cannot_carry_a_speed_verdict_makes_it_inconclusive(tmp_path):
    run = Run(models=KRONOS_ONLY, effects={("kronos", "upstream-default"): Effects(latency=1.0, jitter=0.3)})
    verdict = verdict_of(tmp_path, run)

    check = check_of(verdict, "not-slower", "upstream-default", "kronos")
    assert check.status == "inconclusive" and check.blocking and "more pairs are needed" in check.reason


def test_a_mode_that_equals_another_on_this_device_is_never_chosen(tmp_path):
    def same(manifest):
        manifest["models"]["toto"]["variants"]["static-reduce-overhead"]["same_as"] = "static-default"

    effects = {("toto", "static-reduce-overhead"): Effects(latency=0.3)}
    verdict = verdict_of(tmp_path, Run(effects=effects, adjust=same))

    assert verdict.decisions["toto"].chosen == "static-default"
    assert verdict.decisions["toto"].losers["static-reduce-overhead"] == "the same as static-default on this device"


def test_a_mode_that_was_not_measured_because_it_equals_another_shares_its_fate(tmp_path):
    def alias(manifest):
        entry = manifest["models"]["toto"]["variants"]["static-reduce-overhead"]
        entry.update(same_as="static-default", jobs={})
        manifest["models"]["toto"]["deployed"] = "static-reduce-overhead"

    assert verdict_of(tmp_path / "good", Run(adjust=alias)).passed
    effects = {("toto", "static-default"): Effects(latency=0.7, probe_error=1e-3)}
    verdict = verdict_of(tmp_path / "bad", Run(adjust=alias, effects=effects))
    assert not verdict.passed and "the same as static-default" in verdict.reasons[0]


def test_memory_of_a_device_is_judged_beside_that_of_the_process(tmp_path):
    def verdict(name, leak, **rules):
        effects = {("kronos", "upstream-default"): Effects(latency=0.7, device_leak=leak)}
        return verdict_of(tmp_path / name, Run(models=KRONOS_ONLY, effects=effects), Rules(memory=rules))

    steady = verdict("steady", 0, peak_bytes=400 << 20)
    assert steady.decisions["kronos"].chosen == "upstream-default"
    peak = check_of(steady, "memory-peak", "upstream-default", "kronos")
    assert (peak.status, peak.figure) == ("pass", 40 << 20) and "on the device" in peak.reason
    leaking = check_of(verdict("leaking", 1 << 20), "memory-growth", "upstream-default", "kronos")
    assert leaking.status == "fail" and leaking.reason.startswith("device memory grows by 1,024 KiB a call")


def test_severity_is_configurable_and_said(tmp_path):
    effects = {("kronos", "upstream-default"): Effects(latency=0.7, leak=1 << 20)}
    run = Run(models=KRONOS_ONLY, effects=effects)

    warned = verdict_of(tmp_path, run, Rules(severity={"memory-growth": "warn", "affine": "off"}))
    leak = check_of(warned, "memory-growth", "upstream-default", "kronos")
    assert (leak.status, leak.blocking) == ("warn", False)
    assert warned.decisions["kronos"].chosen == "upstream-default"
    off = check_of(warned, "affine", "upstream-default", "kronos")
    assert off.status == "not-measured" and "switched off" in off.reason


def test_cuda_graphs_need_positive_evidence(tmp_path):
    def status(name, engaged):
        graphs = {"available": True, "engaged": engaged, "recordings": 2, "skips": [{"reason": "mutated inputs"}]}
        effects = {("toto", "static-reduce-overhead"): Effects(latency=0.5, health={"cuda_graphs": graphs})}
        verdict = verdict_of(tmp_path / name, Run(effects=effects))
        return check_of(verdict, "cuda-graphs", "static-reduce-overhead")

    assert status("yes", True).status == "pass"
    assert status("no", False).blocking and "mutated inputs" in status("no again", False).reason
    assert status("unknown", None).status == "inconclusive" and status("unknown again", None).blocking


def test_max_autotune_that_tuned_nothing_is_said(tmp_path):
    models = {"kronos": {**KRONOS, "upstream-max-autotune": {"coupled_with_reference": True}}}
    health = {"autotuning": {"engaged": False, "operations": 0}}
    effects = {("kronos", "upstream-max-autotune"): Effects(latency=0.7, health=health)}
    verdict = verdict_of(tmp_path, Run(models=models, effects=effects))

    check = check_of(verdict, "autotuning", "upstream-max-autotune", "kronos")
    assert check.status == "warn" and "tuned nothing" in check.reason


def test_recompiles_that_nobody_counted_are_not_none(tmp_path):
    effects = {("kronos", "upstream-default"): Effects(latency=0.7, health={"recompiles_after_warm_up": None})}
    verdict = verdict_of(tmp_path, Run(models=KRONOS_ONLY, effects=effects))

    check = check_of(verdict, "recompiles-after-warm-up", "upstream-default", "kronos")
    assert check.status in ("inconclusive", "fail") and check.blocking


def test_the_verdict_names_other_peoples_code_with_its_git_commit(tmp_path):
    Run().write(tmp_path)
    code = {"path": "/their/fork", "hash": "ab12"}
    ran = [{"code.fork": code, "toto": code}, {"code.fork": code | {"commit": "0123456789"}, "toto": code}]
    for shard, run in enumerate(ran):
        record = tmp_path / record_file(f"predict/{shard:04d}", "toto", "static-default")
        reseal(record, lambda document, run=run: document["trials"][0].update(code_run=run))
    expected = load_expected(tmp_path / "expected.json")
    verdict = judge(load_evidence(tmp_path, expected), Rules(), Baselines()).to_dict()
    figures = verdict["models"]["toto"]["variants"]
    assert not verdict["problems"] and figures["static-eager"]["code"] == []
    assert [(one["name"], one["path"], one["hash"], one["commit"]) for one in figures["static-default"]["code"]] == [
        ("code.fork", "/their/fork", "ab12", None),
        ("toto", "/their/fork", "ab12", None),
        ("code.fork", "/their/fork", "ab12", "0123456789"),
    ]
