"""Seeds that are added where one decides nothing: the error rates stay what they are, and time is kept to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import binom

from greenlight.judgement.checks.accuracy import limits_of
from greenlight.judgement.comparison import Arms, classify, compare, undecided
from greenlight.judgement.rules import Rules
from greenlight.measures.judged import ERRORS
from greenlight.run.children.replication import replicate
from tests.judgement.test_sequential import most

RULES = Rules()
MARGIN = RULES.accuracy.margin
LIMITS = limits_of(RULES, MARGIN, looks=5)
SERIES = {f"SYM{number}": 5 for number in range(12)}


def arms(rng, seeds, means, flips):
    """Errors of `seeds` seeds: each window's own, in the variant's arm times e^(the series' mean + flipped paths)."""
    windows = len(means) * 5
    other = np.exp(0.3 * rng.standard_normal((seeds, windows)))
    noise = np.repeat(means, 5) + flips * rng.standard_normal((seeds, windows))
    both = ({name: rows for name in ERRORS} for rows in (other * np.exp(noise - flips**2 / 2), other))
    return Arms(*both, np.ones(windows))


def outcomes(rng, shift, flips, spread=0.0, variants=1, extra_seconds=1e9):
    """(outcome, seeds) of the MAE of each of a model's variants, with as many seeds as their looks ask for."""
    means = [shift + spread * rng.standard_normal(len(SERIES)) for _ in range(variants)]
    first = {str(number): arms(rng, 1, own, flips) for number, own in enumerate(means)}
    every = {}
    for number, own in enumerate(means):

        def measure(seed, own=own):
            more = arms(rng, 1, own, flips)
            return tuple({name: rows[0] for name, rows in arm.items()} for arm in (more.own, more.other))

        every[str(number)] = replicate(
            lambda measure=measure: measure, first[str(number)], SERIES, LIMITS, family=variants, seed=1,
            seconds_each=1.0, extra_seconds=extra_seconds, clock=lambda: 0.0,
        )  # fmt: skip
    judged = compare(every, SERIES, LIMITS)
    return [(classify(judged[name, "mae"], LIMITS), entry.seeds) for name, entry in every.items()]


# Of several variants, which take the longest, one kind of flips is enough between long tests.
FAMILIES = [
    *(pytest.param(1, flips, id=f"1-{flips}") for flips in (0.02, 0.05, 0.15)),
    *(pytest.param(3, flips, id=f"3-{flips}", marks=pytest.mark.long) for flips in (0.02, 0.15)),
    pytest.param(3, 0.05, id="3-0.05"),
]


@pytest.mark.parametrize(("variants", "flips"), FAMILIES)
def test_further_seeds_fail_a_variant_that_is_as_good_no_more_often_than_nominal(flips, variants):
    rng, runs = np.random.default_rng(11), 300
    alarms = sum("fail" in dict(outcomes(rng, 0.0, flips, 0.005, variants)) for _ in range(runs))
    assert alarms <= most(runs, RULES.accuracy.alpha)


@pytest.mark.parametrize(("variants", "flips"), FAMILIES)
def test_further_seeds_pass_a_variant_worse_by_the_margin_no_more_often_than_nominal(flips, variants):
    rng, runs = np.random.default_rng(12), 300
    passes = sum("pass" in dict(outcomes(rng, np.log1p(MARGIN), flips, 0.005, variants)) for _ in range(runs))
    assert passes <= most(runs, RULES.accuracy.alpha)


@pytest.mark.parametrize(("shift", "flips", "decision"), [(0.0, 0.06, "pass"), (0.03, 0.12, "fail")])
def test_further_seeds_decide_what_one_leaves_open(shift, flips, decision):
    rng, runs = np.random.default_rng(13), 100
    found = [outcomes(rng, shift, flips)[0] for _ in range(runs)]
    at_first = sum(entry == (decision, 1) for entry in found)
    decided = sum(outcome == decision for outcome, _ in found)
    assert at_first < runs / 4 and decided >= binom.ppf(1e-4, runs, 0.95)
    assert {seeds for _, seeds in found} <= {1, 2, 4, 8, 16}


def test_seeds_add_nothing_to_what_differs_between_series():
    """Noise of the series themselves stays: seeds are not taken for independent units."""
    rng = np.random.default_rng(14)
    found = [outcomes(rng, 0.0, 0.001, spread=0.05)[0] for _ in range(50)]
    assert sum(entry == ("inconclusive", 16) for entry in found) > 40


def test_bounds_of_a_later_look_stand_at_its_rate():
    """16 seeds that say what one said: the same estimate, bounds at a tenth of the rate."""
    one = arms(np.random.default_rng(15), 1, np.zeros(12), 0.05)
    rows = ({name: np.repeat(rows, 15, axis=0) for name, rows in arm.items()} for arm in (one.own, one.other))
    first, later = (compare({"v": entry}, SERIES, LIMITS)["v", "mae"] for entry in (one, one.with_replicates(*rows)))
    assert (first.look, later.look, later.seeds) == (1, 5, 16)
    assert later.comparison.interval.estimate == pytest.approx(first.comparison.interval.estimate)
    assert first.p_fail < 1 / 6 and later.p_fail == pytest.approx(6 * first.p_fail)
    for judged, share in ((first, 0.6), (later, 0.1)):
        d = judged.comparison.interval
        reach = -stdtrit(11, RULES.accuracy.alpha * share) * judged.comparison.sigma / np.sqrt(12)
        assert d.upper - d.estimate == pytest.approx(reach)


def test_too_few_units_are_no_reason_for_further_seeds():
    short, rng = {"SYM0": 3}, np.random.default_rng(16)
    few = Arms(*({name: rng.random((1, 3)) for name in ERRORS} for _ in range(2)), np.ones(3))
    judged = compare({"v": few}, short, LIMITS)
    assert classify(judged["v", "mae"], LIMITS) == "inconclusive" and undecided(judged, LIMITS) == []


@pytest.mark.parametrize(("extra_seconds", "seeds"), [(0.5, []), (1.0, [8]), (4.0, [8, 9, 10]), (100.0, range(8, 23))])
def test_a_doubling_that_does_not_fit_into_the_time_is_not_begun(extra_seconds, seeds):
    """Each seed takes one second of the clock, and what the series differ by is never decided."""
    rng, now, asked, started = np.random.default_rng(17), [0.0], [], []
    means = 0.1 * rng.standard_normal(12)

    def measure(seed):
        asked.append(seed)
        now[0] += 1.0
        more = arms(rng, 1, means, 0.01)
        return tuple({name: rows[0] for name, rows in arm.items()} for arm in (more.own, more.other))

    def start():
        started.append(True)
        now[0] += 1000.0  # loading does not count
        return measure

    found = replicate(
        start, arms(rng, 1, means, 0.01), SERIES, LIMITS, family=1, seed=7, seconds_each=1.0,
        extra_seconds=extra_seconds, clock=lambda: now[0],
    )  # fmt: skip
    assert asked == list(seeds) and len(started) == bool(asked) and found.seeds == 1 + len(asked)


def test_what_one_seed_decides_starts_nothing():
    def start():
        raise AssertionError("a model would be loaded")

    for shift in (0.0, 0.5):
        first = arms(np.random.default_rng(18), 1, np.full(12, shift), 1e-6)
        found = replicate(
            start, first, SERIES, LIMITS, family=3, seed=1, seconds_each=0.0, extra_seconds=1e9, clock=lambda: 0.0
        )
        assert found.seeds == 1
