"""Whether the sample paths of two forecasts are drawn independently: what is shown, and how seldom by chance."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.measures.independence import likeness, new_paths

WINDOWS, SAMPLES, HORIZON = 4, 8, 6


def paths(seed, *shape):
    random = np.random.default_rng(seed)
    return 100 + random.standard_t(4, shape or (WINDOWS, SAMPLES, HORIZON)).cumsum(axis=-1)


@pytest.mark.parametrize("tokens", [None, 0.5, 4.0])
def test_independent_draws_are_never_called_alike(tokens):
    """Also of a model that draws few tokens, so that most levels are tied."""
    for seed in range(400):
        first, *others = (paths([seed, number]) for number in range(4))
        if tokens:
            first, *others = (np.round(each / tokens) * tokens for each in (first, *others))
        assert likeness(first, *others) == 0
        assert new_paths(first, others[0]) >= 0.5 or tokens


def test_few_outcomes_are_the_same_by_chance_and_count_in_their_places():
    """Twenty paths, of which each window draws eight: most of one window's are another forecast's, too."""
    known = paths(0, 20, HORIZON)
    for seed in range(400):
        first, other = known[np.random.default_rng(seed).integers(0, 20, (2, WINDOWS, SAMPLES))]
        assert new_paths(first, other) >= 0.5


def test_draws_that_a_seed_hardly_moves_are_alike():
    first = paths(1)
    assert new_paths(first, first + 1e-9) == 1
    assert likeness(first, first + 1e-9) == pytest.approx(1)
    assert likeness(first, 200 - first) == pytest.approx(-1)
    leaning = [first + paths(seed) - 100 for seed in (2, 3, 4)]
    assert 0.5 < likeness(first, *leaning) < 1


def test_forecasts_that_do_not_spread_are_alike_in_nothing():
    assert likeness(np.full((1, 8, 3), 5.0), paths(2, 1, 8, 3)) == 0


def test_paths_in_other_places_are_no_new_ones():
    first = paths(1)
    overlapping = np.concatenate([first[:, 1:], paths(2)[:, :1]], axis=1)
    assert new_paths(first, overlapping) == pytest.approx(1 / SAMPLES)
    assert (first != overlapping).all()
    assert new_paths(first, paths(2)) == 1


def test_paths_that_a_forecast_repeats_by_itself_count_in_their_places():
    first = np.repeat(paths(1)[:, :1], SAMPLES, axis=1)
    assert new_paths(first, first) == 0
    other = np.roll(np.concatenate([first[:, :4], paths(2)[:, 4:]], axis=1), 4, axis=1)
    assert new_paths(first, other) == 0.5
