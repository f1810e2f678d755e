"""Variants in TF32 and bfloat16: held to what such rounding may do, by checks of their own, and never preferred."""

from __future__ import annotations

import pytest

from tests.judgement.evidence_builder import TOTO, Effects, Run
from tests.judgement.test_verdict import check_of, verdict_of

REDUCED = ("static-eager-bf16", "static-default-tf32")
MODELS = {
    "toto": {name: TOTO[name] for name in ("upstream-eager", "static-eager", "static-default")}
    | {name: {"coupled_with_reference": False} for name in REDUCED}
}
# What such rounding did to numerics of the embedded checkpoint, and less than it did to its forecasts.
ROUNDED = {
    ("toto", "static-eager-bf16"): Effects(probe_error=5e-3, rounding=3e-4, latency=0.9),
    ("toto", "static-default-tf32"): Effects(probe_error=7e-4, rounding=3e-4, latency=0.68),
}


def judged(folder, **changes):
    effects = ROUNDED | {("toto", name.replace("_", "-")): effect for name, effect in changes.items()}
    return verdict_of(folder, Run(models=MODELS, effects=effects))


def test_rounding_of_the_precision_passes_and_is_said(tmp_path):
    verdict = judged(tmp_path)

    for variant in REDUCED:
        assert not list(verdict.blocking("toto", variant)), variant
        assert check_of(verdict, "numerics", variant).reason.count(f"allowed in {variant.rpartition('-')[2]}") == 1
        assert check_of(verdict, "mae-not-worse", variant).details["against"] == "static-eager"
        assert check_of(verdict, "draws-as-reference", variant).status == "pass"
    # TF32 is a little faster here, by less than the margin.
    assert verdict.decisions["toto"].chosen == "static-default"
    assert "which is simpler" in verdict.decisions["toto"].losers["static-default-tf32"]


def test_a_reduced_precision_is_chosen_where_it_is_faster_by_the_margin(tmp_path):
    fast = Effects(probe_error=7e-4, rounding=3e-4, latency=0.5)

    assert judged(tmp_path, static_default_tf32=fast).decisions["toto"].chosen == "static-default-tf32"


def test_the_same_error_in_float32_stops_a_variant(tmp_path):
    verdict = judged(tmp_path, static_default=Effects(probe_error=7e-4, latency=0.7))

    assert check_of(verdict, "numerics", "static-default").blocking


@pytest.mark.parametrize(("variant", "error"), [("static-default-tf32", 5e-3), ("static-eager-bf16", 4e-2)])
def test_more_than_the_precision_rounds_stops_a_variant(tmp_path, variant, error):
    """TF32 that is as coarse as bfloat16 is none; bfloat16 with a wrong step is no rounding."""
    verdict = judged(tmp_path, **{variant.replace("-", "_"): Effects(probe_error=error, rounding=1e-3)})

    assert check_of(verdict, "numerics", variant).blocking


def test_forecasts_that_moved_further_than_rounding_moves_paths_stop_a_variant(tmp_path):
    verdict = judged(tmp_path, static_eager_bf16=Effects(probe_error=5e-3, band=1.5))

    assert check_of(verdict, "forecasts-agree", "static-eager-bf16").blocking
    assert check_of(verdict, "draws-as-reference", "static-eager-bf16").blocking


def test_an_accuracy_that_is_lost_stops_a_variant(tmp_path):
    worse = Effects(probe_error=5e-3, error=dict.fromkeys((f"SYM{number}" for number in range(6)), 1.03))

    assert check_of(judged(tmp_path, static_eager_bf16=worse), "mae-not-worse", "static-eager-bf16").blocking


def test_replicates_that_were_not_drawn_stop_a_variant(tmp_path, monkeypatch):
    """In float32 the implementation's eager variant answers for all its modes; rounding is each variant's own."""
    monkeypatch.setattr("tests.judgement.evidence_builder.DRAWN", ("static-eager",))

    assert check_of(judged(tmp_path), "draws-as-reference", "static-default-tf32").blocking


ALONE = "upstream-eager-bf16"


@pytest.mark.parametrize("band", [1.0, 1.5])
def test_tokens_that_rounding_turns_into_others_are_held_by_distribution(tmp_path, monkeypatch, band):
    """It has no pair: its paths are other draws, and integers that follow from rounded values are not compared."""
    monkeypatch.setattr("tests.judgement.evidence_builder.DRAWN", (ALONE,))
    models = {
        "toto": {"upstream-eager": TOTO["upstream-eager"], ALONE: {"coupled_with_reference": False, "alone": True}}
    }
    effects = {("toto", ALONE): Effects(probe_error=5e-3, band=band, latency=0.9)}
    verdict = verdict_of(tmp_path, Run(models=models, effects=effects))

    assert check_of(verdict, "forecasts-agree", ALONE).status == "not-measured"
    assert check_of(verdict, "exact-quantities", ALONE).status == "not-measured"
    assert check_of(verdict, "numerics", ALONE).status == "pass"
    assert check_of(verdict, "draws-as-reference", ALONE).blocking == (band != 1.0)
    assert bool(list(verdict.blocking("toto", ALONE))) == (band != 1.0)
