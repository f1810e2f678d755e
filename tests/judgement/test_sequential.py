"""Pairs and replicates that are looked at again where they decide nothing: the error rates stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from greenlight.judgement.draws import Differences, describe_steps, judge_draws, judge_steps, step_differences
from greenlight.judgement.expected import ExpectedJob
from greenlight.judgement.rules import Rules
from greenlight.judgement.speed import measure_speed
from greenlight.judgement.tables import Pairs
from greenlight.statistics.looks import confirming_pairs, look_of, needed_for_a_bound, pairs_at, rate_at
from greenlight.statistics.sequential import settled

RULES = Rules()
ALPHA = RULES.speed.alpha
ASKED = ExpectedJob(key=None, trials=2, pairs=10, control_pairs=5, looks=3)
SLOWDOWN = {"slower": RULES.speed.slower, "slower_shown": RULES.speed.slower_shown, "alpha": ALPHA}
CONDITIONS = [{"jitter": 0.03}, {"jitter": 0.03, "drift": 0.10}, {"jitter": 0.05, "spikes": 0.05, "drift": 0.05}]


def most(runs, rate):
    """As many of so many runs as chance allows at the nominal rate."""
    return binom.ppf(1 - 1e-4, runs, rate)


@pytest.mark.parametrize("looks", [1, 2, 3, 6])
def test_the_shares_of_all_looks_add_up_to_the_rate(looks):
    assert sum(rate_at(0.01, look, looks) for look in range(1, looks + 1)) == pytest.approx(0.01)


def test_all_pairs_double_from_look_to_look_and_tell_their_look():
    assert [10 + pairs_at(10, 2, look) for look in (1, 2, 3)] == [20, 40, 80]
    assert [look_of(found, 10, 2, 3) for found in (10, 30, 70)] == [1, 2, 3]
    assert look_of(31, 10, 2, 3) is None and look_of(70, 10, 2, 2) is None


@pytest.mark.parametrize(("processes", "pairs"), [(1, 15), (1, 16), (2, 7), (2, 8), (3, 4), (5, 3)])
def test_settings_count_the_pairs_that_confirm_as_judgement_does(processes, pairs):
    """And a bound on their median is finite from the number on that settings ask for."""
    process = np.repeat(np.arange(processes), pairs)
    fast, slow, no = np.full(len(process), 0.5), np.ones(len(process)), np.zeros(len(process), dtype=bool)
    speed = measure_speed(Pairs(process, np.arange(len(process)), no, no, slow, fast), RULES.speed)
    assert speed.confirming.n == confirming_pairs(pairs, processes)
    assert np.isfinite(speed.confirming.upper) == (speed.confirming.n >= needed_for_a_bound(ALPHA))


def seconds(rng, count, course, *, jitter, drift=0.0, spikes=0.0, latency=1.0):
    """(reference, variant) seconds of pairs whose place in the process is `course`, from 0 to 1."""
    both = 0.05 * (1 + drift * course)[:, None] * np.exp(jitter * rng.standard_normal((count, 2)))
    both *= np.where(rng.random((count, 2)) < spikes, 1 + rng.exponential(2.0, (count, 2)), 1.0)
    return both * [1.0, latency]


def run(rng, **condition):
    """The figures of one variant after as many looks as its pairs need, as a time stage measures them."""
    rows = {False: [], True: []}
    for process in range(ASKED.trials):
        for control, count in ((False, ASKED.pairs), (True, ASKED.control_pairs)):
            own = condition | ({"latency": 1.0} if control else {})
            rows[control].append((process, seconds(rng, count, np.linspace(0, 0.2, count), **own)))
    for look in range(1, ASKED.looks + 1):
        process = np.concatenate([np.full(len(both), number) for number, both in rows[False]])
        pairs, controls = (np.concatenate([both for _, both in rows[control]]) for control in (False, True))
        logs = (np.log(both[:, 1] / both[:, 0]) for both in (pairs, controls))
        share = rate_at(1.0, look, ASKED.looks)
        if look == ASKED.looks or settled(next(logs), process, next(logs), share=share, **SLOWDOWN):
            break
        for control, planned in ((False, ASKED.pairs), (True, ASKED.control_pairs)):
            more = pairs_at(planned, ASKED.trials, look + 1) - pairs_at(planned, ASKED.trials, look)
            own = condition | ({"latency": 1.0} if control else {})
            rows[control].append((1, seconds(rng, more, np.linspace(0.2 * look, 0.2 * look + 0.2, more), **own)))
    found = [(number, control, both) for control in rows for number, both in rows[control]]
    number = np.concatenate([np.full(len(both), number) for number, _, both in found])
    control = np.concatenate([np.full(len(both), control) for _, control, both in found])
    both = np.concatenate([both for _, _, both in found])
    place = np.arange(len(both))
    return measure_speed(Pairs(number, place, control, place % 2 == 0, both[:, 0], both[:, 1]), RULES.speed, ASKED)


def shown_slow(speed):
    return speed.ratio.lower > np.log(RULES.speed.slower_shown) and speed.p_fail <= speed.alpha


def shown_not_slow(speed):
    return speed.ratio.upper < np.log(RULES.speed.slower) and speed.p_pass <= speed.alpha


@pytest.mark.parametrize("condition", CONDITIONS)
def test_looking_again_raises_no_more_alarms_than_nominal(condition):
    rng, runs = np.random.default_rng(1), 600
    assert sum(shown_slow(run(rng, **condition)) for _ in range(runs)) <= most(runs, ALPHA)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_looking_again_passes_a_slowdown_of_the_limit_no_more_often_than_nominal(condition):
    rng, runs = np.random.default_rng(2), 600
    passes = sum(shown_not_slow(run(rng, latency=RULES.speed.slower, **condition)) for _ in range(runs))
    assert passes <= most(runs, ALPHA)


@pytest.mark.parametrize(("latency", "shown", "power"), [(1.0, shown_not_slow, 0.9), (1.10, shown_slow, 0.9)])
def test_looking_again_decides_what_the_planned_pairs_leave_open(latency, shown, power):
    rng, runs = np.random.default_rng(3), 200
    speeds = [run(rng, jitter=0.05, latency=latency) for _ in range(runs)]
    at_first = sum(speed.look == 1 and shown(speed) for speed in speeds)
    decided = sum(shown(speed) for speed in speeds)
    assert at_first < decided / 2 and decided >= binom.ppf(1e-4, runs, power)


def test_a_clear_result_needs_no_second_look():
    rng = np.random.default_rng(4)
    assert {run(rng, jitter=0.05, latency=0.5).look for _ in range(50)} == {1}
    assert {run(rng, jitter=0.05, latency=1.5).look for _ in range(50)} == {1}


def draws(rng, moved=0.0, wider=0.0, of_each_window=0.0, windows=20, replicates=8, looks=5):
    """Outcome of comparing sampled distributions, with as many replicates as the looks at them ask for."""
    own = of_each_window * rng.standard_normal((windows, 1))
    both = [np.empty((0, windows, 16)), np.empty((0, windows, 16))]
    for look in range(1, looks + 1):
        for part, (mean, scatter) in enumerate(((moved + own, 0.14), (wider, 0.25))):
            size = (replicates * 2 ** (look - 1) - len(both[part]), windows, 16)
            # Steps of a path depend on each other.
            walk = rng.standard_normal(size).cumsum(axis=2) / np.sqrt(np.arange(1, 17))
            both[part] = np.concatenate([both[part], mean + scatter * walk])
        alpha, alarm = (rate_at(rate, look, looks) for rate in (RULES.accuracy.alpha, RULES.accuracy.alarm))
        outcome = judge_draws(Differences.of(*both), alpha, RULES.accuracy.draws_difference, alarm).outcome
        if outcome != "inconclusive":
            return outcome
    return outcome


@pytest.mark.parametrize("windows", [5, 30])
def test_replicates_of_the_same_distribution_raise_no_alarm_and_are_shown_to_agree(windows):
    rng, runs = np.random.default_rng(5), 1000
    outcomes = [draws(rng, windows=windows) for _ in range(runs)]
    assert outcomes.count("fail") <= most(runs, RULES.accuracy.alarm)
    assert outcomes.count("pass") >= 0.95 * runs


LIMIT = RULES.accuracy.draws_difference


@pytest.mark.parametrize("shift", [{"moved": LIMIT}, {"wider": LIMIT}, {"of_each_window": 1.2 * LIMIT}])
def test_a_difference_of_the_limit_does_not_pass(shift):
    rng, runs = np.random.default_rng(6), 300
    assert [draws(rng, **shift) for _ in range(runs)].count("pass") <= most(runs, RULES.accuracy.alpha)


def test_a_difference_that_cancels_over_windows_is_shown():
    rng = np.random.default_rng(7)
    outcomes = [draws(rng, of_each_window=0.3) for _ in range(50)]
    assert outcomes.count("fail") >= 45 and "pass" not in outcomes


def test_a_median_that_moves_by_a_billion_bands_is_told():
    """As where neither forecaster's band has a width: few samples of tokens are often all the same."""
    moved = np.full((8, 3), 1e9) * (1 + 0.01 * np.random.default_rng(7).standard_normal((8, 3)))
    differences = step_differences(moved, np.zeros((8, 3)))
    status = judge_steps(differences, 0.01, LIMIT, 0.001)
    what, bound = describe_steps(differences, 0.01, LIMIT, 0.001, status)
    assert status == "fail" and bound > 1e8
    assert what.startswith("the median moves by +") and "band widths at step" in what
