"""Steps in a series: found where they were planted, and at the stated rate where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from greenlight.statistics.steps import find_levels, significant_split

ALPHA = 0.05


def steps_of(values, alpha=ALPHA, smallest=0.0):
    return [level.start for level in find_levels(values, alpha, smallest)[1:]]


def series(rng, count, tails):
    """Values around 1 with noise of 3%."""
    noise = rng.standard_normal(count) if tails is None else rng.standard_t(tails, count)
    return np.exp(0.03 * noise)


@pytest.mark.parametrize("tails", [None, 2], ids=["normal", "heavy tails"])
@pytest.mark.parametrize("count", [6, 12, 40, 150])
def test_a_flat_series_shows_a_step_in_at_most_the_stated_share(count, tails):
    rng, trials = np.random.default_rng(count), 400
    alarms = sum(bool(steps_of(series(rng, count, tails))) for _ in range(trials))
    assert alarms <= binom.ppf(0.999, trials, ALPHA)


def test_a_flat_page_shows_any_step_in_at_most_the_stated_share():
    """Pages of 40 series of 30 runs, as `history` splits the rate."""
    rng, trials, width = np.random.default_rng(1), 60, 40
    pages = sum(any(steps_of(series(rng, 30, None), ALPHA / width) for _ in range(width)) for _ in range(trials))
    assert pages <= binom.ppf(0.999, trials, ALPHA)


@pytest.mark.parametrize(("count", "place", "share"), [(24, 12, 0.9), (40, 20, 0.9), (40, 33, 0.6), (300, 150, 0.9)])
def test_a_shift_of_8_percent_in_noise_of_2_percent_is_found_where_it_is(count, place, share):
    """At the rate of one of 40 series; seven runs after the shift are enough in most cases only."""
    rng, trials, found = np.random.default_rng(2), 40, 0
    for _ in range(trials):
        values = np.exp(0.02 * rng.standard_normal(count))
        values[place:] *= 1.08
        steps = steps_of(values, ALPHA / 40, 0.03)
        found += len(steps) == 1 and abs(steps[0] - place) <= 1
    assert found >= share * trials


def test_two_steps_are_two_and_levels_are_medians():
    rng = np.random.default_rng(3)
    values = np.exp(0.01 * rng.standard_normal(60)) * np.repeat([1.0, 1.2, 1.05], 20)
    levels = find_levels(values, 0.01, 0.03)
    assert [(level.start, level.stop) for level in levels] == [(0, 20), (20, 40), (40, 60)]
    assert [round(level.median, 1) for level in levels] == [1.0, 1.2, 1.1]


def test_a_wild_run_is_no_step_and_hides_none():
    values = np.exp(0.01 * np.random.default_rng(4).standard_normal(40))
    values[11] = 5.0
    assert steps_of(values, 0.01) == []
    values[25:] *= 1.1
    assert steps_of(values, 0.01, 0.03) == [25]


def test_a_value_that_repeats_exactly_and_then_differs_has_changed_at_once():
    assert steps_of([1.5] * 9 + [1.6], 0.001, 0.005) == [9]
    assert steps_of([1.5] * 9 + [1.501], 0.001, 0.005) == [], "below what is worth telling"
    assert steps_of([1.5] * 5 + [1.6] * 4, 0.001, 0.005) == [5]
    assert steps_of([1.5] * 12, 0.001) == []


def test_too_few_runs_show_nothing():
    assert not significant_split(np.array([1.0, 1.01, 2.0, 2.01]), 0.05)
    assert steps_of([1.0], 0.05) == steps_of([1.0, 2.0], 0.05) == []
    assert find_levels([1.0, 2.0], 0.05, 0.0)[0].stop == 2


def test_a_small_change_is_left_out_however_certain():
    values = np.exp(0.0001 * np.random.default_rng(5).standard_normal(60))
    values[30:] *= 1.01
    assert steps_of(values) == [30] and steps_of(values, smallest=0.03) == []
