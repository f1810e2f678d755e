"""What a timed call returns is read within its time, and is a plain array."""

from __future__ import annotations

import time

import numpy as np
import pytest

from greenlight.data.windows import practice_windows
from greenlight.measures.forecasts import problem_with
from greenlight.measures.latency import interleaved_pairs
from greenlight.measures.steadiness import Yardstick, steady_calls
from greenlight.statistics.intervals import share_bounds
from greenlight.statistics.sequential import tail_settled

TAIL = {"slow_call": 1.5, "slow_share": 0.05, "alpha": 0.01, "share": 1.0}


class Later:
    """Computes when it is looked at."""

    shape = (2, 4, 8)
    dtype = np.dtype(np.float64)

    def __array__(self, *arguments, **options):
        time.sleep(0.05)
        return np.random.default_rng(0).random(self.shape)


class Lazy(np.ndarray):
    """An array that is not a plain one."""


def plain(number):
    return np.full((2, 4, 8), float(number))


@pytest.mark.parametrize("kind", [Later, lambda: plain(0).view(Lazy), lambda: plain(0).tolist()])
def test_a_timed_call_that_returns_no_plain_array_is_refused(kind):
    with pytest.raises(TypeError, match="expected a plain numpy array"):
        interleaved_pairs(plain, lambda number: kind(), pairs=1, control_pairs=0, seed=0)
    windows = practice_windows(2, 16, 8, 0)
    assert "expected a plain numpy array" in problem_with(kind(), windows, 4)


def test_plain_arrays_are_timed():
    pairs = interleaved_pairs(plain, plain, pairs=3, control_pairs=2, seed=0)
    assert len(pairs) == 5 and all(pair["variant_seconds"] > 0 for pair in pairs)


@pytest.mark.parametrize(
    ("slow", "calls", "lower", "upper"), [(0, 59, 0.0, 0.0495), (1, 20, 0.0026, 0.2161), (20, 20, 0.8609, 1.0)]
)
def test_bounds_of_a_share_are_those_of_clopper_and_pearson(slow, calls, lower, upper):
    assert share_bounds(slow, calls, 0.05) == pytest.approx((lower, upper), abs=1e-4)


@pytest.mark.parametrize(("slow", "calls", "settled"), [(0, 20, True), (1, 20, False), (1, 160, True), (15, 40, True)])
def test_slow_calls_ask_for_more_pairs_until_their_share_is_bounded_or_shown(slow, calls, settled):
    variant, reference = np.ones(calls), np.ones(2 * calls)
    variant[:slow] = 3.0
    assert tail_settled(variant, reference, **TAIL) == settled


@pytest.mark.parametrize(("budget", "calls"), [(60.0, 5), (0.07, 3), (0.0, 0)])
def test_calls_alone_have_a_yardstick_after_each_and_end_with_the_budget(budget, calls):
    seen = []
    found = steady_calls(plain, calls=5, seconds=0.01, budget=budget, device="cpu", after_call=seen.append)
    assert len(found["variant_seconds"]) == len(found["yardstick_seconds"]) == len(seen) == calls
    assert [output.flat[0] for output in seen] == list(range(calls))


def test_a_longer_call_has_a_longer_yardstick(monkeypatch):
    monkeypatch.setattr("greenlight.measures.steadiness.timed_call", lambda call, number: (0.001, call(number)))
    assert [Yardstick("cpu", seconds).products for seconds in (0.0001, 0.002, 0.008)] == [1, 2, 8]
