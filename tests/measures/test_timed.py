"""What timed calls return is held to what the reference returns beside them, and to be an answer of its own."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.measures.timed import TimedOutputs

SHAPE = (2, 16, 8)


def paths(seed, shape=SHAPE):
    return 100 + np.random.default_rng(seed).normal(size=shape).cumsum(axis=-1)


def problem(own, alike, calls=20, alone=0, random=True, reference=paths):
    """After so many pairs, and calls alone, of which `own` gives what the variant returns."""
    returned = TimedOutputs(np.full(SHAPE[0], 100.0), alike=alike, tolerance=0.01, random=random)
    for number in range(calls):
        returned.add_pair(own(number), reference(number))
    for number in range(calls, calls + alone):
        returned.add(own(number))
    return returned.problem()


def moved_near_a_tie(number):
    """Every call one path in thirty goes another way, and every tenth half of all do."""
    found = paths(number)
    found[0, 3] = paths(1000 + number)[0, 3]
    if number % 10 == 0:
        found[0] = paths(1000 + number)[0]
    return found


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("own", [paths, moved_near_a_tie, lambda number: paths(number) + 1e-6])
def test_answers_that_may_be_right(own, alike):
    assert problem(own, alike, alone=100) == ""


@pytest.mark.parametrize(
    "own",
    [
        lambda number: paths(min(number, 15)),  # remembered from a call on
        lambda number: paths(number) if number % 4 else paths(0),
        lambda number: 1.001 * paths(number),
        lambda number: np.repeat(paths(number)[:, :8], 2, axis=1),  # half of the samples, twice
    ],
)
def test_answers_that_are_not_the_references(own):
    assert "timed calls return other forecasts than the reference beside them" in problem(own, True)


def test_answers_that_were_given_before():
    """By a variant that draws other numbers than the reference."""
    own = lambda number: paths(5000 + number % 10)  # noqa: E731
    assert "10 of 20 timed calls return what an earlier one with another seed did" in problem(own, False)
    late = lambda number: paths(5000 + min(number, 30))  # noqa: E731
    assert "of 100 calls return what an earlier one with another seed did" in problem(late, False, alone=100)
    assert problem(late, True, random=False, reference=late, alone=100) == ""


def test_few_values_may_be_the_same_by_chance():
    few = lambda number: np.round(paths(number % 5, (1, 4, 2)))  # noqa: E731
    assert problem(few, False, reference=few) == ""
