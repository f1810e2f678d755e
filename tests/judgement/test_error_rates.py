"""A verdict is a test with error rates: here they are measured by simulation, at the shipped rules.

Counts are held against what chance allows at the nominal rate (a binomial bound at 1 in 10,000), so a test fails
where a rate is really missed, not where the dice fall badly; seeds are fixed besides.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from greenlight.judgement.checks.accuracy import limits_of
from greenlight.judgement.comparison import Judged, classify
from greenlight.judgement.decision import decide
from greenlight.judgement.draws import band_differences, judge_steps, step_differences
from greenlight.judgement.expected import ExpectedModel
from greenlight.judgement.rules import Rules, SpeedRules
from greenlight.judgement.speed import correct, measure_speed
from greenlight.judgement.tables import Pairs
from greenlight.statistics.intervals import compare_log_ratios, excess_p_value, holm, median_interval, needed_units

RULES = Rules()
ALPHA, MARGIN = RULES.accuracy.alpha, RULES.accuracy.margin


def most(runs, rate):
    """What chance allows at most of an event with this nominal rate."""
    return binom.ppf(1 - 1e-4, runs, rate)


def least(runs, rate):
    """What chance leaves at least of an event that is promised with this rate."""
    return binom.ppf(1e-4, runs, rate)


def mae_statuses(rng, runs, n, sigma, shift, heavy=False):
    """Verdicts on `runs` simulated sets of n per-series log ratios."""
    found = []
    for _ in range(runs):
        noise = rng.standard_t(4, n) / np.sqrt(2) if heavy else rng.standard_normal(n)
        compared = compare_log_ratios(shift + sigma * noise, margin=MARGIN, alpha=ALPHA)
        judged = Judged(compared, "series", ("A", 0.0), compared.p_pass, compared.p_fail, 1.0, False)
        found.append(classify(judged, limits_of(RULES, MARGIN)))
    return found


@pytest.mark.parametrize("n", [6, 30])
@pytest.mark.parametrize("heavy", [False, True])
def test_no_change_in_mae_raises_no_alarm(n, heavy):
    runs = 3000
    statuses = mae_statuses(np.random.default_rng(1), runs, n, 0.02, 0.0, heavy)
    assert statuses.count("fail") <= most(runs, ALPHA)


@pytest.mark.parametrize("n", [6, 30])
@pytest.mark.parametrize("sigma", [0.001, 0.01, 0.05])
def test_an_mae_worse_by_the_margin_passes_no_more_often_than_nominal(n, sigma):
    runs = 3000
    statuses = mae_statuses(np.random.default_rng(2), runs, n, sigma, np.log1p(MARGIN))
    assert statuses.count("pass") <= most(runs, ALPHA)


@pytest.mark.parametrize("shift", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("sigma", [0.01, 0.02])
def test_shifts_of_mae_are_caught_with_the_computed_number_of_series(shift, sigma):
    """The n that tells 0 from a shift with power 0.9 calls that shift a failure as often."""
    runs, limit = 1000, np.log1p(shift)
    n = max(needed_units(sigma, limit, ALPHA, 0.9), RULES.accuracy.minimum_units)
    statuses = mae_statuses(np.random.default_rng(3), runs, n, sigma, limit)
    assert statuses.count("fail") >= least(runs, 0.9)


@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.05])
def test_no_change_passes_with_the_promised_power(sigma):
    runs, n = 1000, needed_units(sigma, np.log1p(MARGIN), ALPHA, 0.9)
    statuses = mae_statuses(np.random.default_rng(4), runs, n, sigma, 0.0)
    assert statuses.count("pass") >= least(runs, 0.9)


def test_needed_series_are_those_of_the_normal_approximation_and_a_little_more():
    known = {0.01: 14, 0.02: 53, 0.05: 326, 0.10: 1302}
    for sigma, n in known.items():
        assert n <= needed_units(sigma, 0.01, 0.01, 0.9) <= n + 4


def test_the_default_run_of_six_series_passes_on_rounding_differences():
    statuses = mae_statuses(np.random.default_rng(5), 1000, 6, 1e-6, 0.0)
    assert statuses.count("pass") == 1000


def test_holm_keeps_the_rate_over_a_family_of_variants():
    rng, runs, alarms = np.random.default_rng(6), 2000, 0
    for _ in range(runs):
        p = [compare_log_ratios(0.02 * rng.standard_normal(12), margin=MARGIN, alpha=ALPHA).p_fail for _ in range(7)]
        alarms += min(holm(p)) <= ALPHA
    assert alarms <= most(runs, ALPHA)


def bands(rng, windows, horizon, samples, scale=1.0, heavy=False):
    """Quantiles of sampled random walks, as an implementation with its own draws gives them."""
    shape = (windows, samples, horizon)
    steps = rng.standard_t(4, shape) if heavy else rng.standard_normal(shape)
    paths = 100 + scale * steps.cumsum(axis=2)
    names = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
    return {name: np.quantile(paths, level, axis=1) for name, level in names.items()}


def steps_judged(own, other):
    rules = RULES.accuracy
    return judge_steps(step_differences(*band_differences(own, other)), rules.alpha, rules.step_difference, rules.alarm)


@pytest.mark.parametrize("heavy", [False, True])
def test_forecasts_that_differ_by_their_draws_alone_raise_no_alarm_and_are_shown_to_agree(heavy):
    rng, runs = np.random.default_rng(14), 300
    found = [
        steps_judged(bands(rng, 30, 16, 32, heavy=heavy), bands(rng, 30, 16, 32, heavy=heavy)) for _ in range(runs)
    ]
    assert found.count("fail") <= most(runs, RULES.accuracy.alarm)
    assert found.count("pass") >= least(runs, 0.9)


def test_few_windows_of_few_samples_raise_no_more_alarms_than_the_rate_says():
    rng, runs = np.random.default_rng(22), 4000
    found = [steps_judged(bands(rng, 12, 12, 8, heavy=True), bands(rng, 12, 12, 8, heavy=True)) for _ in range(runs)]
    assert found.count("fail") <= most(runs, RULES.accuracy.alarm)


def test_bands_too_narrow_by_a_quarter_are_shown():
    rng, runs = np.random.default_rng(15), 200
    found = [steps_judged(bands(rng, 30, 16, 32, scale=0.75), bands(rng, 30, 16, 32)) for _ in range(runs)]
    assert found.count("fail") >= least(runs, 0.95)


def machine(rng, n, processes, jitter, *, drift=0.0, spikes=0.0, latency=1.0, slow_share=0.0, control=0.6):
    """Pairs on a machine that drifts, jitters and is now and then interrupted for some milliseconds."""
    total = n + int(control * n)
    columns = []
    for process in range(processes):
        is_control = rng.permutation(np.arange(total) >= n)
        course = 0.05 * (1 + drift * np.linspace(0, 1, 2 * total).reshape(total, 2))
        seconds = course * np.exp(jitter * rng.standard_normal((total, 2)))
        seconds *= np.where(rng.random((total, 2)) < spikes, 1 + rng.exponential(2.0, (total, 2)), 1.0)
        own = latency * np.where(rng.random(total) < slow_share, 4.0, 1.0)
        first = rng.random(total) < 0.5
        reference = np.where(first, seconds[:, 0], seconds[:, 1])
        variant = np.where(first, seconds[:, 1], seconds[:, 0]) * np.where(is_control, 1.0, own)
        columns.append((np.full(total, process), np.arange(total), is_control, first, reference, variant))
    return Pairs(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def shown_slow(pairs, rules=RULES.speed):
    speed = measure_speed(pairs, rules)
    return speed.ratio.lower > np.log(rules.slower_shown) and speed.p_fail <= rules.alpha


def shown_not_slow(pairs, rules=RULES.speed):
    speed = measure_speed(pairs, rules)
    return speed.ratio.upper < np.log(rules.slower) and speed.p_pass <= rules.alpha


CONDITIONS = [{"jitter": 0.03}, {"jitter": 0.03, "drift": 0.10}, {"jitter": 0.05, "spikes": 0.05, "drift": 0.05}]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_no_slowdown_raises_no_alarm_under_drift_and_spikes(condition):
    rng, runs = np.random.default_rng(7), 1000
    alarms = sum(shown_slow(machine(rng, 20, 2, **condition)) for _ in range(runs))
    assert alarms <= most(runs, RULES.speed.alpha)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_slowdown_of_the_limit_passes_no_more_often_than_nominal(condition):
    rng, runs = np.random.default_rng(8), 1000
    passes = sum(shown_not_slow(machine(rng, 20, 2, latency=RULES.speed.slower, **condition)) for _ in range(runs))
    assert passes <= most(runs, RULES.speed.alpha)


@pytest.mark.parametrize(
    ("latency", "condition", "power"),
    [
        (1.10, CONDITIONS[0], 0.99),
        (1.10, CONDITIONS[1], 0.99),
        (1.10, CONDITIONS[2], 0.60),
        (1.20, CONDITIONS[2], 0.99),
    ],
)
def test_slowdowns_are_shown_by_the_default_pairs(latency, condition, power):
    rng, runs = np.random.default_rng(9), 300
    caught = sum(shown_slow(machine(rng, 20, 2, latency=latency, **condition)) for _ in range(runs))
    assert caught >= least(runs, power)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_slowdown_of_five_percent_never_passes_and_is_shown_by_enough_pairs(condition):
    rng, runs = np.random.default_rng(10), 200
    caught = sum(shown_slow(machine(rng, 200, 2, latency=1.05, **condition)) for _ in range(runs))
    assert caught >= least(runs, 0.80)


def test_slow_tails_are_told_from_the_spikes_of_the_machine():
    rng, runs = np.random.default_rng(11), 500
    quiet = sum(
        measure_speed(machine(rng, 20, 2, 0.03, spikes=0.05), RULES.speed).slow_p_value <= 0.01 for _ in range(runs)
    )
    assert quiet <= most(runs, 0.01)
    tails = [machine(rng, 20, 2, 0.03, spikes=0.01, slow_share=0.2) for _ in range(200)]
    assert sum(measure_speed(pairs, RULES.speed).slow_p_value <= 0.01 for pairs in tails) >= least(200, 0.85)


def test_median_intervals_keep_their_rate_on_skewed_values():
    rng, runs = np.random.default_rng(12), 4000
    draws = rng.exponential(1.0, (runs, 25))
    above = sum(median_interval(row, 0.01).lower > np.log(2) for row in draws)
    below = sum(median_interval(row, 0.01).upper < np.log(2) for row in draws)
    assert above <= most(runs, 0.01)
    assert below <= most(runs, 0.01)


def test_a_mode_no_faster_than_eager_is_chosen_no_more_often_than_nominal():
    """Three modes as fast as eager: the luckiest is confirmed on other pairs, so luck does not deploy it."""
    rng, runs, chosen = np.random.default_rng(13), 300, 0
    names = ["upstream-eager", "upstream-default", "upstream-reduce-overhead", "upstream-max-autotune"]
    key = {"key": None}
    jobs = {"compile": key, "predict/0000": {"key": None}, "probe": key, "time": key, "score": key, "replicate": key}
    model = ExpectedModel(reference=names[0], variants={name: {"jobs": jobs} for name in names})
    for _ in range(runs):
        speeds = correct({name: measure_speed(machine(rng, 20, 2, 0.05), SpeedRules()) for name in names[1:]})
        chosen += decide(model, {name: [] for name in names}, speeds, RULES).chosen != names[0]
    assert chosen <= most(runs, 0.01)


def test_fisher_p_value_is_that_of_scipy():
    from scipy.stats import fisher_exact

    for table in ([[4, 36], [0, 120]], [[3, 7], [5, 20]], [[0, 10], [3, 30]], [[10, 0], [2, 8]]):
        (a, b), (c, d) = table
        assert excess_p_value(a, a + b, c, c + d) == pytest.approx(fisher_exact(table, "greater").pvalue)
