"""Which of several passing variants is chosen, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.judgement.checks.base import make_check
from greenlight.judgement.decision import break_even_calls, decide, simplicity
from greenlight.judgement.expected import ExpectedModel
from greenlight.judgement.rules import Rules, SpeedRules
from greenlight.judgement.speed import measure_speed
from greenlight.judgement.tables import Pairs

RULES = Rules()
NAMES = ["upstream-eager", "static-eager", "static-default", "static-reduce-overhead", "static-max-autotune"]


def model(**options):
    jobs = {stage: {"key": None} for stage in ("compile", "predict/0000", "probe", "time", "score", "replicate")}
    return ExpectedModel(reference=NAMES[0], variants={name: {"jobs": jobs} for name in NAMES}, **options)


def speed(*latencies, jitter=0.01, pairs=20):
    """Figures of a variant whose processes take these shares of eager's seconds."""
    rng = np.random.default_rng(int(1000 * sum(latencies)))
    process = np.repeat(np.arange(len(latencies)), 2 * pairs)
    control = np.tile(np.arange(2 * pairs) % 2 == 1, len(latencies))
    seconds = 0.1 * np.exp(jitter * rng.standard_normal((2, len(process))))
    factor = np.where(control, 1.0, np.repeat(latencies, 2 * pairs))
    order = np.zeros(len(process), dtype=bool)
    return measure_speed(
        Pairs(process, np.arange(len(process)), control, order, seconds[0], seconds[1] * factor), SpeedRules()
    )


def choose(latencies, blocked=(), **options):
    """Decide among variants with these latencies; `blocked` fail a check."""
    failed = make_check(RULES, "numerics", "fail", "logits differ")
    checks = {name: [failed] if name in blocked else [] for name in NAMES}
    speeds = {name: speed(*np.atleast_1d(latencies[name])) for name in NAMES[1:]}
    return decide(model(**options), checks, speeds, RULES)


EQUAL = dict.fromkeys(NAMES, (1.0, 1.0))


def test_the_reference_stays_where_nothing_is_faster_by_the_margin():
    decision = choose(EQUAL | {"static-default": (0.97, 0.97)})
    assert decision.chosen == "upstream-eager"
    assert "which is simpler; the margin is 1.05" in decision.losers["static-default"]


def test_the_margin_is_no_reason_where_a_variant_is_slower_anyway():
    decision = choose(EQUAL | {"static-default": (0.5, 0.5), "static-max-autotune": (0.9, 0.9)})
    assert decision.chosen == "static-default"
    assert decision.losers["static-max-autotune"].endswith("times as fast as static-default")


def test_each_more_complex_mode_must_clear_the_margin_over_the_best_simpler_one():
    faster = {"static-default": (0.7, 0.7), "static-reduce-overhead": (0.69, 0.69), "static-max-autotune": (0.68, 0.68)}
    assert choose(EQUAL | faster).chosen == "static-default"
    assert choose(EQUAL | faster | {"static-max-autotune": (0.6, 0.6)}).chosen == "static-max-autotune"


def test_a_winner_that_other_processes_do_not_confirm_gives_way_to_the_next():
    decision = choose(EQUAL | {"static-default": (0.8, 0.8), "static-max-autotune": (0.5, 0.79)})
    assert decision.chosen == "static-default"
    assert "does not clear 1.05" in decision.losers["static-max-autotune"]


def test_the_only_variant_that_passes_is_one_that_no_other_passes_beside():
    others = ["static-eager", "static-reduce-overhead", "static-max-autotune"]
    unconfirmed = EQUAL | {"static-default": (0.5, 1.0)}
    alone = choose(unconfirmed, blocked=[*others, "static-default"])
    assert (alone.chosen, alone.reason) == ("upstream-eager", "the only variant that passes")
    beside = choose(unconfirmed, blocked=others)
    assert beside.chosen == "upstream-eager" and "does not clear" in beside.losers["static-default"]
    assert beside.reason == "no more complex variant is faster by the margin"


def test_a_blocked_variant_is_never_chosen_and_its_line_says_why():
    decision = choose(EQUAL | {"static-default": (0.5, 0.5), "static-max-autotune": (0.8, 0.8)}, ["static-default"])
    assert decision.chosen == "static-max-autotune"
    assert decision.losers["static-default"] == "numerics: logits differ"


def test_without_a_passing_reference_the_simplest_that_passes_is_the_start():
    decision = choose(EQUAL, ["upstream-eager"])
    assert decision.chosen == "static-eager"
    assert choose(EQUAL, NAMES).chosen is None


def test_the_gate_judges_what_is_deployed_where_that_is_named():
    decision = choose(EQUAL | {"static-default": (0.5, 0.5)}, deployed="static-eager")
    assert (decision.chosen, decision.judged) == ("static-default", "static-eager")


def test_simplicity_orders_modes_first_then_the_reference_implementation():
    shuffled = sorted(NAMES, reverse=True)
    assert sorted(shuffled, key=lambda name: simplicity(model(), name)) == NAMES


def test_break_even_calls_are_compile_seconds_over_seconds_saved():
    figures = speed(0.5)
    saved = figures.reference["median"] - figures.variant["median"]
    assert break_even_calls(10.0, figures) == pytest.approx(10.0 / saved)
    assert break_even_calls(10.0, speed(1.5)) is None and break_even_calls(None, figures) is None


def test_what_is_not_called_in_the_process_precision_is_only_held_against():
    """A reference in float32 that passes is no answer to what to run under autocast."""
    jobs = {stage: {"key": None} for stage in ("compile", "predict/0000", "probe", "time", "score", "replicate")}
    under = [f"{name}-autocast-fp16" for name in NAMES[:2]]
    names = [*NAMES[:2], *under]
    known = ExpectedModel(reference=NAMES[0], variants={name: {"jobs": jobs} for name in names})
    speeds = {name: speed(0.9, 0.9) for name in names[1:]}
    passed = {name: [] for name in names}
    assert decide(known, passed, speeds, RULES).chosen in NAMES
    decision = decide(known, passed, speeds, RULES, "autocast-fp16")
    assert decision.chosen == "upstream-eager-autocast-fp16"
    assert decision.losers["upstream-eager"].startswith("not called in the autocast-fp16 of evaluation.call.process")
    failed = passed | {name: [make_check(RULES, "numerics", "fail", "logits differ")] for name in under}
    assert decide(known, failed, speeds, RULES, "autocast-fp16").chosen is None
