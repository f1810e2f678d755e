"""What a configuration can show: held against simulations of the tests that judge."""

from __future__ import annotations

import math

import numpy as np
import pytest

from greenlight.judgement.drawn_windows import shown_size
from greenlight.judgement.power import Amounts, line, sentences
from greenlight.judgement.rules import Rules
from greenlight.statistics.intervals import compare_log_ratios, median_interval
from greenlight.statistics.power import excluded_share, largest_scatter, shown_shift

RUNS = 2000


@pytest.mark.parametrize(("units", "margin"), [(6, 0.01), (30, 0.01), (100, 0.05)])
def test_equal_forecasters_pass_as_often_as_said(units, margin):
    sigma = largest_scatter(units, margin, 0.01, 0.9)
    random = np.random.default_rng(1)
    passed = sum(
        compare_log_ratios(random.normal(0, sigma, units), margin=margin, alpha=0.01).p_pass <= 0.01
        for _ in range(RUNS)
    )
    assert 0.86 < passed / RUNS < 0.95


@pytest.mark.parametrize(("pairs", "jitter"), [(20, 0.03), (40, 0.05), (160, 0.1)])
def test_a_slowdown_of_the_said_size_is_shown_as_often_as_said(pairs, jitter):
    limit = math.log(1.025)
    shift = shown_shift(pairs, jitter, limit, 0.01, 0.9)
    random = np.random.default_rng(2)
    shown = sum(median_interval(random.normal(shift, jitter, pairs), 0.01).lower > limit for _ in range(RUNS))
    assert abs(shown / RUNS - 0.9) < 0.025
    assert shown_shift(5, jitter, limit, 0.01, 0.9) == math.inf


def test_what_successes_exclude():
    assert excluded_share(299) == pytest.approx(0.01, rel=0.01) and excluded_share(0) == 1
    assert (1 - excluded_share(10)) ** 10 == pytest.approx(0.05)


def test_more_evidence_shows_more():
    few, many = (
        sentences(Amounts(symbols, 5, samples, 12, 5, pairs, 3, pairs, repeats, 8, 30), Rules())
        for symbols, samples, pairs, repeats in ((6, 32, 40, 4), (500, 256, 400, 59))
    )
    assert "40 pairs" in few["speed"] and "59 of 59" in many["failures"] and "5%" in many["failures"]
    assert few.keys() == many.keys() and all(few[topic] != many[topic] for topic in few)
    alone = sentences(Amounts(1, 2, 32, 12, 5, 40, 3, 40, 4), Rules())
    assert "2 windows are fewer than the 4" in alone["forecasts"]


def test_the_line_beside_the_verdict_names_the_sizes():
    told = line(Amounts(6, 5, 16, 12, 5, 40, 3, 200, 4), Rules())
    assert "6 symbols of 5 windows and 16 samples: an MAE worse by 1% in all, by 5% in one symbol" in told
    assert "40 pairs: a slowdown of" in told and "200 calls: a share of slow ones above 1.5%" in told
    assert "pairs" not in line(Amounts(6, 5, 16, 12, 5, 0, 1, 0, 4), Rules())


def test_what_is_said_of_own_draws_is_what_the_check_says():
    """`shown_size` itself is held by simulation in test_drawn_windows.py."""
    told = sentences(Amounts(6, 5, 32, 12, 5, 40, 3, 200, 4), Rules())["draws"]
    sizes = [shown_size(32, windows, 36, 12, Rules().accuracy.alarm / 2, 0.9) for windows in (5, 1)]
    assert f"{sizes[0]:.2f} band widths in each window of a symbol, or by {sizes[1]:.2f} band widths in one" in told


def test_what_is_said_of_own_random_numbers_names_what_is_not_seen():
    told = sentences(Amounts(6, 5, 16, 12, 5, 40, 3, 200, 4, 8, 30), Rules())["own random numbers"]
    assert told.startswith("128 draws of 30 windows") and "wider by 10%" in told
    assert "outermost 1.0% on a side of each step missing" in told and told.endswith("smaller ones pass")
    few = sentences(Amounts(2, 2, 4, 8, 5, 40, 3, 200, 4, 4, 4), Rules())["own random numbers"]
    assert few.endswith("smaller ones pass, and of any size cut tails, shared draws")
    assert "no variant" in sentences(Amounts(6, 5, 16, 12, 5, 40, 3, 200, 4), Rules())["own random numbers"]
