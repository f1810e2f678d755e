"""Is b as good as a, and as fast? Two sets of forecasts on the same windows, and rounds of seconds taken in turn.

Errors are compared as those of a variant and its partner (`comparison`), at the rates and margins of the gate. Latency
is one log ratio a round, of the medians of both, which were timed one after the other; Student's t over rounds,
corrected by Holm's method over all variants. As in the gate: a pass is a bound below the margin, a failure a bound
above nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlight.judgement.comparison import Arms, Judged, Limits, classify, compare
from greenlight.judgement.rules import Rules
from greenlight.measures.judged import ERRORS, OF_RETURNS
from greenlight.statistics.intervals import Interval, compare_log_ratios, excess_p_value, holm

Name = tuple[str, str]
ERROR_COLUMNS = ("mae", "weighted_quantile_loss", "rmse", "mean_price")


@dataclass(frozen=True)
class Latency:
    """b's seconds over a's: `ratio` with bounds, `status` as a word of the gate, and what it means."""

    ratio: Interval
    status: str
    words: str


@dataclass(frozen=True)
class Errors:
    """b's MAE over a's; `status` is of all errors together, `worst` names the one that decides it."""

    change: Interval | None
    status: str
    words: str


@dataclass(frozen=True)
class Asked:
    """A check that failed in b and not in a, and was asked again: its status, and what it means."""

    status: str
    words: str


def judge_asked(check: str, a: Sequence[bool], b: Sequence[bool], rules: Rules) -> Asked:
    """Whether a check whose answer depends on chance fails more often in b, by Fisher's exact test.

    What looks worse at `rules.speed.suspicion` and is not shown is inconclusive, also where a fails it too.

    Args:
        a: whether it failed each time it was asked again; the first time, which chose it, does not count.
    """
    told = f"{check}, asked again, fails in b {sum(b)} of {len(b)} times, in a {sum(a)} of {len(a)}"
    excess = excess_p_value(sum(b), len(b), sum(a), len(a))
    if excess <= rules.speed.alpha:
        return Asked("fail", told)
    if excess <= rules.speed.suspicion:
        return Asked("inconclusive", f"{told}, which looks worse")
    if any(a):
        return Asked("pass", f"{told}: both fail it now and then")
    return Asked("inconclusive", f"{told}, which shows no difference")


def judge_latency(rounds: Mapping[Name, tuple[np.ndarray, np.ndarray]], rules: Rules) -> dict[Name, Latency]:
    """Each variant's latency.

    Args:
        rounds: by model and variant, [rounds] seconds of a and of b.
    """
    limits = rules.speed
    compared = {
        name: compare_log_ratios(np.log(b / a), margin=limits.slower - 1, alpha=limits.alpha)
        for name, (a, b) in rounds.items()
    }
    tests = {
        test: dict(zip(compared, holm(p_values), strict=True))
        for test, p_values in {
            "pass": [found.p_pass for found in compared.values()],
            "slower": [found.p_fail for found in compared.values()],
            "faster": [1 - found.p_fail for found in compared.values()],
        }.items()
    }
    shown, judged = math.log(limits.slower_shown), {}
    for name, found in compared.items():
        interval, status, words = found.interval, "inconclusive", "too noisy to tell"
        if tests["slower"][name] <= limits.alpha and interval.lower > shown:
            status, words = "fail", "slower"
        elif tests["faster"][name] <= limits.alpha and interval.upper < -shown:
            status, words = "pass", "faster"
        elif tests["pass"][name] <= limits.alpha:
            status, words = "pass", f"not slower by {limits.slower - 1:.0%}"
        judged[name] = Latency(interval.scaled(np.exp), status, words)
    return judged


def judge_errors(
    scores: Mapping[str, tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]],
    windows: Mapping[str, int],
    rules: Rules,
) -> dict[str, Errors]:
    """Each variant's errors, of one model.

    Args:
        scores: by variant, ERROR_COLUMNS [windows] of a and of b, and errors of returns where models are given those.
        windows: number of windows of each symbol, in the order of the scores.
    """
    own = rules.accuracy
    every = [side for pair in scores.values() for side in pair]
    errors = (*ERRORS, *(name for name in OF_RETURNS if any(name in side for side in every)))
    if not all(set(errors) <= set(side) for side in every):
        return {name: Errors(None, "inconclusive", "one of the two has errors of returns") for name in scores}
    limits = Limits(own.margin, own.alpha, own.minimum_series, own.minimum_units, power=own.power, errors=errors)
    arms = {name: Arms.of_scores(b, a, errors) for name, (a, b) in scores.items()}
    judged = compare(arms, windows, limits)
    return {
        name: _errors({error: found for (v, error), found in judged.items() if v == name}, limits) for name in scores
    }


def _errors(found: Mapping[str, Judged], limits: Limits) -> Errors:
    outcomes: dict[str, Any] = {error: classify(each, limits) for error, each in found.items()}
    if len(found) < len(limits.errors):
        return Errors(None, "inconclusive", "an error is no number")
    change = found["mae"].comparison.interval.scaled(np.expm1)
    for status, words in (("fail", "larger errors"), ("inconclusive", "not shown to be as accurate")):
        if worse := [error for error, outcome in outcomes.items() if outcome == status]:
            return Errors(change, status, f"{words}: {', '.join(worse).replace('_', ' ')}")
    equal = all(each.identical for each in found.values())
    return Errors(change, "pass", "errors equal to the bit" if equal else "as accurate")
