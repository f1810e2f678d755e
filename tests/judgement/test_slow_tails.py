"""Calls that are seldom, but much, slower: how often they are stopped, and how often a steady variant is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from greenlight.judgement.checks.base import Subject
from greenlight.judgement.checks.speed import speed_checks
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.rules import Rules
from greenlight.judgement.speed import measure_speed
from greenlight.judgement.tables import Pairs
from greenlight.statistics.intervals import mean_log_ratio
from tests.judgement.evidence_builder import KRONOS, Run
from tests.judgement.test_error_rates import least, most

RULES = Rules()
TAILS = ("mean-not-slower", "slow-calls")


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """A variant of good evidence, of which only the pairs are replaced."""
    folder = Run(models={"kronos": KRONOS}).write(tmp_path_factory.mktemp("tails"))
    evidence = load_evidence(folder, load_expected(folder / "expected.json"))
    return Subject(evidence.of_model("kronos")["upstream-default"], RULES, evidence.expected)


def machine(rng, pairs, *, hiccups, latency=1.0, slow_share=0.0):
    """Pairs on a machine whose calls scatter with heavy tails, and are now and then much interrupted, in both arms."""
    total = pairs + pairs // 2
    control = rng.permutation(np.arange(total) >= pairs)
    seconds = 0.05 * np.exp(0.04 * rng.standard_t(5, (total, 2)))
    seconds *= np.where(rng.random((total, 2)) < hiccups, 1 + rng.pareto(1.5, (total, 2)), 1)
    own = np.where(control, 1.0, latency * np.where(rng.random(total) < slow_share, 3.0, 1.0))
    number = np.arange(total)
    return Pairs(np.zeros(total, int), number, control, number % 2 == 0, seconds[:, 0], own * seconds[:, 1])


def stopped(subject, pairs, alone=None):
    """The checks of tails that stop a variant, with their statuses."""
    checks = speed_checks(subject, measure_speed(pairs, RULES.speed, alone=alone))
    return {check.name: check.status for check in checks if check.name in TAILS and check.blocking}


@pytest.mark.parametrize("pairs", [20, 160])
@pytest.mark.parametrize("latency", [1.0, 0.5])
def test_a_steady_variant_is_hardly_ever_stopped_on_a_machine_that_interrupts_every_hundredth_call(
    subject, pairs, latency
):
    rng, runs = np.random.default_rng(1), 250
    alarms = sum(bool(stopped(subject, machine(rng, pairs, hiccups=0.01, latency=latency))) for _ in range(runs))
    assert alarms <= most(runs, 0.003)


@pytest.mark.parametrize(("pairs", "power"), [(80, 0.5), (160, 0.8), (320, 0.98)])
@pytest.mark.parametrize("latency", [1.0, 0.5])
def test_one_call_in_twenty_that_takes_three_times_as_long_is_stopped(subject, pairs, power, latency):
    rng, runs = np.random.default_rng(2), 100
    tails = [machine(rng, pairs, hiccups=0.005, latency=latency, slow_share=0.05) for _ in range(runs)]
    assert sum(bool(stopped(subject, one)) for one in tails) >= least(runs, power)


def interrupted(rng, seconds, count):
    """Calls of a length on a machine that interrupts for some 6 ms, a hundred times in 10 s of work."""
    breaks = rng.poisson(10 * seconds, count)
    return seconds * np.exp(0.02 * rng.normal(size=count)) + 0.006 * rng.gamma(4.0, 0.25 * breaks + 1e-9)


@pytest.mark.parametrize(("slow_share", "length"), [(0.0, 0.1), (0.0, 0.011), (0.12, 0.1), (0.12, 0.011)])
def test_a_short_call_is_held_against_others_that_take_as_long(subject, slow_share, length):
    """An interruption of 6 ms makes a call of 10 ms slow and leaves one of 100 ms as it is, whoever makes them."""
    rng, runs, stops = np.random.default_rng(11), 100, 0
    for _ in range(runs):
        own = [interrupted(rng, 0.01, count) for count in (80, 160)]
        own = [seconds * np.where(rng.random(len(seconds)) < slow_share, 3.0, 1.0) for seconds in own]
        control = np.arange(120) >= 80
        reference, again = interrupted(rng, length, 120), interrupted(rng, length, 40)
        variant = np.concatenate([own[0], again])
        pairs = Pairs(np.zeros(120, int), np.arange(120), control, np.arange(120) % 2 == 0, reference, variant)
        alone = {"variant_seconds": own[1].tolist(), "yardstick_seconds": interrupted(rng, 0.01, 160).tolist()}
        stops += "slow-calls" in stopped(subject, pairs, alone)
    assert stops >= 0.6 * runs if slow_share else stops <= most(runs, 0.05)


@pytest.mark.parametrize(("interrupted_share", "slow_share"), [(0.45, 0.0), (0.5, 0.0), (0.55, 0.0), (0.0, 0.12)])
def test_a_machine_that_interrupts_half_of_all_calls_makes_no_variant_slow(subject, interrupted_share, slow_share):
    """The median of either arm then is that of a call as it is or of one that was interrupted."""
    rng, runs, stops = np.random.default_rng(12), 100, 0

    def calls(count):
        waits = np.where(rng.random(count) < interrupted_share, rng.uniform(5, 20, count), 0)
        return 0.001 * (2.3 + 0.1 * rng.random(count) + waits)

    for _ in range(runs):
        own, (reference, again) = calls(160), (10 * calls(120), 10 * calls(40))
        own *= np.where(rng.random(160) < slow_share, 3.0, 1.0)
        control = np.arange(120) >= 80
        variant = np.concatenate([calls(80), again])
        pairs = Pairs(np.zeros(120, int), np.arange(120), control, np.arange(120) % 2 == 0, reference, variant)
        alone = {"variant_seconds": own.tolist(), "yardstick_seconds": calls(160).tolist()}
        stops += "slow-calls" in stopped(subject, pairs, alone)
    assert stops >= 0.6 * runs if slow_share else stops <= most(runs, 0.05)


@pytest.mark.parametrize(("slow", "status"), [(2, None), (4, "inconclusive"), (12, "fail")])
def test_slow_calls_that_so_few_pairs_do_not_show_stop_a_variant_where_they_look_more(subject, slow, status):
    """Of 80 calls: two are as many as a usual machine makes, four more than the reference has, and not yet shown."""
    pairs = machine(np.random.default_rng(3), 80, hiccups=0.0)
    where = np.flatnonzero(~pairs.control)[:slow]
    pairs.variant_seconds[where] = 0.15
    assert stopped(subject, pairs).get("slow-calls") == status


def test_the_mean_forgives_one_interruption_and_no_second():
    own, other = np.ones(40), np.exp(0.01 * np.random.default_rng(4).standard_normal(40))
    options = {"margin": 0.05, "alpha": 0.01}
    own[7] = 50.0
    assert abs(mean_log_ratio(own, other, **options).interval.estimate) < 0.01
    own[9] = 50.0
    assert mean_log_ratio(own, other, **options).interval.estimate > 0.5
    assert mean_log_ratio(own[:2], other[:2], **options) is None


def test_which_check_sees_which_tail(subject):
    """A variant twice as fast that is slow in every fifth call is faster in the mean, and its calls are slow."""
    rng = np.random.default_rng(5)
    fast = Counter(
        name for _ in range(20) for name in stopped(subject, machine(rng, 160, hiccups=0, latency=0.5, slow_share=0.2))
    )
    assert fast == {"slow-calls": 20}
    even = Counter(name for _ in range(20) for name in stopped(subject, machine(rng, 160, hiccups=0, slow_share=0.2)))
    assert even == {"slow-calls": 20, "mean-not-slower": 20}
