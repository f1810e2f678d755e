"""What a timed call returns is read within its time, and is a plain array."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import binom

from greenlight.data.windows import practice_windows
from greenlight.measures.forecasts import problem_with
from greenlight.measures.latency import calls_of_reference, interleaved_pairs
from greenlight.measures.steadiness import Yardstick, calls_until_slow, steady_calls
from greenlight.run.children.latency import calls_alone, planned_alone
from greenlight.statistics.intervals import excess_p_value, share_bounds
from greenlight.statistics.looks import calls_to_bound, rate_at, slow_rate
from greenlight.statistics.sequential import slow_of, tail_settled

TAIL = {"slow_call": 1.5, "slow_share": 0.05, "alpha": 0.01, "suspicion": 0.05}


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


@pytest.mark.parametrize(("planned", "controls", "calls"), [(6, 4, 10), (3, 3, 6), (2, 5, 10), (4, 0, 4)])
def test_a_control_pair_is_one_more_call_beside_that_of_a_pair(planned, controls, calls):
    """Each call of an arm has a number of its own, and each of the reference counts once, whoever shares it."""
    given = {"reference": [], "variant": []}

    def arm(name):
        return lambda number: (given[name].append(number), plain(number))[1]

    found = interleaved_pairs(arm("reference"), arm("variant"), pairs=planned, control_pairs=controls, seed=1, first=7)
    control = np.array([pair["control"] for pair in found])
    assert ((~control).sum(), control.sum()) == (planned, controls)
    assert len(given["reference"]) == calls and len(set(given["reference"])) >= planned + min(controls, planned)
    assert len(set(given["variant"])) == len(given["variant"]) == planned
    assert min(given["reference"]) == 7 and max(given["reference"]) == 6 + planned + controls
    own = {pair["pair"]: pair["reference_seconds"] for pair in found if not pair["control"]}
    shared = [pair for pair in found if pair["control"] and pair["pair"] in own]
    assert len(shared) == min(controls, planned)
    assert all(pair["reference_seconds"] == own[pair["pair"]] for pair in shared)
    names = ("pair", "control", "reference_seconds", "variant_seconds")
    columns = [np.array([pair[name] for pair in found]) for name in names]
    assert len(calls_of_reference(np.zeros(len(found), int), *columns)) == calls


def test_a_call_that_two_pairs_share_is_one_call_among_slow_ones():
    """Counted twice, a slow call of the reference would make as slow a variant look no worse."""
    process, pair, control = np.array([0, 0, 1, 1]), np.array([3, 3, 3, 4]), np.array([False, True, False, True])
    found = calls_of_reference(process, pair, control, np.array([9.0, 9.0, 1.0, 2.0]), np.array([0.5, 3.0, 0.5, 4.0]))
    assert sorted(found) == [1.0, 2.0, 3.0, 4.0, 9.0]


@pytest.mark.parametrize(
    ("slow", "calls", "lower", "upper"), [(0, 59, 0.0, 0.0495), (1, 20, 0.0026, 0.2161), (20, 20, 0.8609, 1.0)]
)
def test_bounds_of_a_share_are_those_of_clopper_and_pearson(slow, calls, lower, upper):
    assert share_bounds(slow, calls, 0.05) == pytest.approx((lower, upper), abs=1e-4)


@pytest.mark.parametrize(("slow", "calls", "settled"), [(0, 20, True), (1, 20, False), (1, 160, True), (15, 40, True)])
def test_slow_calls_ask_for_more_pairs_until_their_share_is_bounded_or_shown(slow, calls, settled):
    variant, reference = np.ones(calls), np.ones(2 * calls)
    variant[:slow] = 3.0
    own, other = slow_of(1.5, variant), slow_of(1.5, reference)
    assert tail_settled(own, own, other, slow_share=0.05, rate=0.01) == settled
    # The same in two parts, each against its own median.
    parts = slow_of(1.5, variant[::2], 7 * variant[1::2])
    assert tail_settled(parts, parts, other, slow_share=0.05, rate=0.01) == settled


@pytest.mark.parametrize("calls", [5, 3, 0])
def test_calls_alone_have_a_yardstick_beside_each(calls):
    seen = []
    found = steady_calls(plain, calls=calls, seconds=0.001, device="cpu", after_call=seen.append)
    assert len(found["variant_seconds"]) == len(found["yardstick_seconds"]) == len(seen) == calls
    assert [output.flat[0] for output in seen] == list(range(calls))


def test_what_interrupts_every_second_call_makes_variant_and_yardstick_slow_alike(monkeypatch):
    """As a scheduler may, whose slices last as long as two calls; in a fixed order it would hit one of them only."""
    made = iter(range(10_000))
    every_second = lambda call, number: (0.01 if next(made) % 2 else 0.004, plain(number))  # noqa: E731
    monkeypatch.setattr(Yardstick, "__init__", lambda *_: None)
    monkeypatch.setattr("greenlight.measures.steadiness.timed_call", every_second)
    found = steady_calls(plain, calls=400, seconds=0.004, device="cpu", seed=5)
    shares = [np.mean(np.array(seconds) > 0.005) for seconds in found.values()]
    assert all(0.3 < share < 0.7 for share in shares)


@pytest.mark.parametrize(("slow", "calls"), [((), 20), ((2,), 9), ((15,), 16), ((19,), 20)])
def test_calls_alone_end_at_the_first_that_is_slow(monkeypatch, slow, calls):
    """But the median of some is known before one of them is held to it."""

    def timed(call, number):
        return (0.01 if number in slow else 0.001), plain(number)

    monkeypatch.setattr("greenlight.measures.steadiness.timed_call", timed)
    found = calls_until_slow(plain, calls=20, slow_call=1.5)
    assert len(found["variant_seconds"]) == calls and found["yardstick_seconds"] == []


def a_request(**timing):
    asked = {"processes": 2, "looks": 3, "steady_calls": 160, "extra_seconds": 20.0, **timing}
    return {"timing": asked, "process": 1, "earlier": pairs_of(0), "tail": TAIL, "seed": 7, "device": "cpu"}


def pairs_of(process, seconds=0.01, slow=()):
    own = {"order": "reference-first", "reference_seconds": 0.1, "control": False, "process": process}
    return [own | {"pair": number, "variant_seconds": seconds * (3 if number in slow else 1)} for number in range(10)]


@pytest.mark.parametrize(
    ("timing", "seconds", "slow", "calls", "looked"),
    [
        ({}, 0.01, (), 160, True),
        ({}, 0.01, (3,), 160, False),  # a slow one was seen: only all of them can bound the share
        ({"steady_calls": 0}, 0.01, (), 0, True),
        ({"extra_seconds": 2.2}, 0.01, (), 110, True),  # not all fit, but enough
        ({"extra_seconds": 1.0}, 0.01, (), 20, True),  # too few to bound the share: as many as in pairs
        ({"extra_seconds": 0.1}, 0.01, (), 5, True),
    ],
)
def test_calls_alone_are_planned_by_what_they_can_show(timing, seconds, slow, calls, looked):
    found = planned_alone(a_request(**timing), pairs_of(1, seconds, slow))
    assert found["calls"] == calls and np.isfinite(found["look_at"]) == looked
    first = planned_alone(a_request() | {"process": 0, "earlier": []}, pairs_of(0))
    assert first["calls"] == 0


EACH_20TH, BURST, NEVER = (lambda n: n % 20 == 3), (lambda n: 30 <= n < 45), (lambda n: False)


@pytest.mark.parametrize(
    ("batches", "made", "slow"),
    [
        ([NEVER], [102], 0),  # nothing is slow, and no yardstick is needed
        ([BURST, NEVER], [31, 160], 0),
        ([BURST, BURST, NEVER], [31, 160, 160], 0),
        ([EACH_20TH] * 3, [9, 160, 160], 8),
        ([BURST] * 3, [31, 160, 160], 15),
    ],
)
def test_calls_alone_of_which_some_are_slow_are_made_anew_and_the_last_count(monkeypatch, batches, made, slow):
    """A machine that was interrupted once is not the code; code that is slow now and then is so again."""
    paused, seeds, begun = [], [], [0]
    monkeypatch.setattr("greenlight.run.children.latency.time.sleep", paused.append)

    def timed(call, number):
        yardstick = isinstance(call, Yardstick)
        begun[0] += number == 0 and not yardstick
        slow = not yardstick and batches[begun[0] - 1](number)
        return (0.03 if slow else 0.01), (plain(number) if yardstick else call(number))

    monkeypatch.setattr("greenlight.measures.steadiness.timed_call", timed)
    found = calls_alone(a_request(), pairs_of(1), lambda seed: plain(seeds.append(seed) or 0), lambda output: None)
    assert [len(batch["variant_seconds"]) for batch in found] == made
    assert [len(batch["yardstick_seconds"]) for batch in found] == [0, 160, 160][: len(made)]
    assert slow_of(1.5, found[-1]["variant_seconds"])[0] == slow and len(paused) == max(0, len(made) - 2)
    assert len(set(seeds)) == len(seeds)  # no call asks for what an earlier one was given


def test_the_first_look_at_calls_alone_bounds_what_the_check_asks_for():
    """At the rate at which the check bounds it: a third of that of the first look at pairs; the others are for the end
    and for calls that are made once more."""
    found = planned_alone(a_request(), pairs_of(1))
    calls, rate = 20 + found["look_at"], slow_rate(rate_at(TAIL["alpha"], 1, 3), found["look_at"])
    assert share_bounds(0, calls, rate)[1] <= TAIL["slow_share"] < share_bounds(0, calls - 1, rate)[1]
    assert 3 * rate == rate_at(TAIL["alpha"], 1, 3) and slow_rate(0.01, 0) == 0.01


@pytest.mark.parametrize(("share", "fewest"), [(0.0, np.inf), (1.0, 0), (0.5, 7)])
def test_no_number_of_calls_bounds_a_share_of_nothing(share, fewest):
    assert calls_to_bound(share, 0.01) == fewest


def test_looking_at_calls_alone_three_times_passes_a_share_at_the_limit_no_more_often_than_nominal():
    """Calls of which the limit's share is slow: passed by those without a slow one, by those beside the yardstick, or
    once more where they looked slow, in fewer runs than the rate says."""
    rng, runs, share = np.random.default_rng(8), 20_000, TAIL["slow_share"]
    rate = slow_rate(TAIL["alpha"], 160)
    look_at = int(calls_to_bound(share, rate))
    first, slow, again = (rng.random((runs, 180)) < share for _ in range(3))
    slow[:, :20] = again[:, :20] = first[:, :20]  # the pairs are the same
    most = np.array([share_bounds(own, 180, rate)[1] for own in range(181)])
    suspect = np.array([excess_p_value(own, 180, 0, 190) <= TAIL["suspicion"] for own in range(181)])
    passed = ~first[:, :look_at].any(axis=1) | (most[slow.sum(axis=1)] <= share)
    passed |= suspect[slow.sum(axis=1)] & (most[again.sum(axis=1)] <= share)
    assert passed.sum() <= binom.ppf(1 - 1e-4, runs, TAIL["alpha"])
    assert passed.sum() > 0


@pytest.mark.parametrize("slowed", [1, 2])
@pytest.mark.parametrize(("seconds", "work"), [(0.0001, (1, 0)), (0.008, (4, 2)), (0.08, (40, 20))])
def test_a_yardstick_takes_as_long_as_the_call_half_of_it_for_memory(monkeypatch, seconds, work, slowed):
    """Also where many products in a row take longer each than one alone does."""

    def timed(yardstick, number):
        products, sums = yardstick.products, yardstick.sums
        return (0.001 * products + 0.002 * sums) * (slowed if products + sums > 2 else 1), yardstick(number)

    monkeypatch.setattr("greenlight.measures.steadiness.timed_call", timed)
    yardstick = Yardstick("cpu", seconds)
    assert (yardstick.products, yardstick.sums) == (tuple(n // slowed for n in work) if work[1] else work)
    assert np.array_equal(yardstick(0), yardstick(1)) and np.isfinite(yardstick(0)).all()
