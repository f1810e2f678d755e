"""A against B: planted differences are found, and none is where there is none, at the gate's rates."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.judgement.a_against_b import judge_errors, judge_latency
from greenlight.judgement.rules import Rules

RULES = Rules()
NAMES = [("toto", f"variant-{number}") for number in range(4)]


def rounds(rng, factor, noise, count=6):
    """Seconds of a and b on a machine whose own speed wanders from round to round by 20%."""
    machine = np.exp(0.2 * rng.standard_normal(count))
    a, b = (machine * np.exp(noise * rng.standard_normal(count)) for _ in "ab")
    return 0.05 * a, 0.05 * factor * b


@pytest.mark.parametrize(
    ("factor", "noise", "status", "words"),
    [
        (1.5, 0.01, "fail", "slower"),
        (0.5, 0.01, "pass", "faster"),
        (1.0, 0.002, "pass", "not slower by 5%"),
        (1.0, 0.3, "inconclusive", "too noisy to tell"),
    ],
)
def test_a_planted_difference_is_found(factor, noise, status, words):
    found = judge_latency({NAMES[0]: rounds(np.random.default_rng(0), factor, noise)}, RULES)[NAMES[0]]
    assert (found.status, found.words) == (status, words)
    assert found.ratio.lower <= factor <= found.ratio.upper


def test_false_alarms_over_all_variants_are_as_rare_as_stated():
    """Of 600 comparisons of four variants in which nothing differs, at alpha 0.01: 16 or more in one of 1,000 cases."""
    rng = np.random.default_rng(1)
    alarms = sum(
        any(found.status == "fail" for found in judge_latency({n: rounds(rng, 1, 0.03) for n in NAMES}, RULES).values())
        for _ in range(600)
    )
    assert alarms <= 15


def test_a_slowdown_of_the_margin_passes_as_rarely_as_stated():
    rng = np.random.default_rng(2)
    passes = sum(
        judge_latency({NAMES[0]: rounds(rng, RULES.speed.slower, 0.01)}, RULES)[NAMES[0]].status == "pass"
        for _ in range(600)
    )
    assert passes <= 15


def scores(rng, factor=1.0, noise=0.0, count=40):
    a = {name: np.exp(0.3 * rng.standard_normal(count)) for name in ("mae", "weighted_quantile_loss", "rmse")}
    b = {name: values * factor * np.exp(noise * rng.standard_normal(count)) for name, values in a.items()}
    price = {"mean_price": np.full(count, 100.0)}
    return a | price, b | price


@pytest.mark.parametrize(
    ("factor", "noise", "status"),
    [(1.0, 0.0, "pass"), (1.1, 0.01, "fail"), (0.9, 0.01, "pass"), (1.0, 0.5, "inconclusive")],
)
def test_errors_are_held_to_the_gates_margins(factor, noise, status):
    windows = {f"S{number}": 5 for number in range(8)}
    (found,) = judge_errors({"static": scores(np.random.default_rng(0), factor, noise)}, windows, RULES).values()
    assert found.status == status
    assert (found.words == "errors equal to the bit") == (factor == 1.0 and noise == 0.0)
    if factor != 1.0:
        assert found.change.estimate == pytest.approx(factor - 1, abs=0.01)


def test_an_error_that_is_no_number_is_no_pass():
    a, b = scores(np.random.default_rng(0))
    b["rmse"] = np.full_like(b["rmse"], np.nan)
    (found,) = judge_errors({"static": (a, b)}, {"S": 40}, RULES).values()
    assert found.status == "inconclusive" and found.words == "an error is no number"
