"""What latency pairs say: ratios, noise, spread and tails, as figures. The limits are in `checks.speed`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from greenlight.judgement.evidence import VariantEvidence
from greenlight.judgement.expected import ExpectedJob
from greenlight.judgement.rules import Rules, SpeedRules
from greenlight.judgement.tables import Pairs
from greenlight.measures.latency import calls_of_reference, slow_calls
from greenlight.statistics.intervals import (
    Comparison,
    Interval,
    excess_p_value,
    holm,
    log_ratio_interval,
    mean_log_ratio,
    median_interval,
    outliers,
    share_bounds,
    sign_p_value,
    trend,
)
from greenlight.statistics.looks import look_of, rate_at, slow_rate
from greenlight.statistics.sequential import NOISE_RATE


@dataclass(frozen=True)
class Speed:
    """Figures of one variant's latency.

    Attributes:
        ratio: median log ratio variant over reference, with bounds; below 0 is faster.
        processes: median log ratio of each process.
        noise: the same interval for A/A pairs (eager over eager); None without any.
        choosing, confirming: the ratio on two halves of the evidence that share no process (with one process:
            no pair), so that a mode chosen on the one is confirmed on the other.
        variant, reference: median, p50, p99, spread and so on of the seconds of each.
        slow_calls: how many calls of the variant were looked at for slow ones, those alone included.
        slow_bounds: exact bounds of the variant's share of slow calls, each at `slow_rate`.
        slow, slow_p_value: share of slow calls of the variant and of what it is held against, and whether the
            variant's is higher (Fisher's exact test, one-sided); slow_beside: whose they are, see `SlowCalls`.
        mean: the log ratio of the means over pairs, variant over reference, with bounds and the p-value of "not
            slower"; None of too few pairs.
        p_pass, p_fail: sign tests that the median ratio is below the tolerable slowdown, and above none; like
            `slow_p_value`, corrected over the variants of a model by `correct`.
        drift: change from the first to the last pair, as log ratios: of the reference's seconds (the machine)
            and of the ratio (the variant itself), the largest over processes.
        jitter: standard deviation of the log ratios (robust, 1.4826 MAD).
        look, looks: at which look of how many the pairs were enough, or time ran out; alpha: the rate of that look,
            at which all bounds here stand and p-values are judged.
    """

    ratio: Interval
    processes: tuple[float, ...]
    noise: Interval | None
    choosing: Interval
    confirming: Interval
    variant: dict[str, float]
    reference: dict[str, float]
    slow: tuple[float, float]
    slow_calls: int
    slow_beside: str
    slow_rate: float
    slow_bounds: tuple[float, float]
    slow_p_value: float
    mean: Comparison | None
    p_pass: float
    p_fail: float
    drift: tuple[float, float]
    jitter: float
    look: int
    looks: int
    alpha: float

    @property
    def noise_bound(self) -> float:
        """How far from 1 the A/A ratio may be, as a log ratio: its bias and what it can't resolve."""
        if self.noise is None:
            return math.inf
        return max(abs(self.noise.lower), abs(self.noise.upper))

    def to_dict(self) -> dict[str, Any]:
        """Plain figures; speedups are reference over variant, ratios the other way round."""
        ratio = self.ratio.scaled(np.exp)
        noise = self.noise.scaled(np.exp) if self.noise is not None else None
        return {
            "speedup": {"value": 1 / ratio.estimate, "lower": _inverse(ratio.upper), "upper": _inverse(ratio.lower)},
            "pairs": ratio.n,
            "look": self.look,
            "looks": self.looks,
            "alpha": self.alpha,
            "process_speedups": [math.exp(-value) for value in self.processes],
            "noise": None if noise is None else {**noise.__dict__},
            "variant_seconds": self.variant,
            "reference_seconds": self.reference,
            "slow_calls": {"variant": self.slow[0], "reference": self.slow[1], "p_value": self.slow_p_value},
            "drift": {"reference": math.expm1(self.drift[0]), "ratio": math.expm1(self.drift[1])},
        }


def _inverse(value: float) -> float:
    if value == 0:
        return math.inf
    return 0.0 if math.isinf(value) else 1 / value


def measure_speed(
    pairs: Pairs,
    rules: SpeedRules,
    asked: ExpectedJob | None = None,
    alone: Mapping[str, Sequence[float]] | None = None,
) -> Speed | None:
    """Figures of all pairs of a variant; None where there is no pair of variant and reference.

    Args:
        asked: the time job that the pairs are of; without one they were to be looked at once.
        alone: calls of the variant alone, and of their yardstick, which count among slow calls.
    """
    measured, control = pairs.select(control=False), pairs.select(control=True)
    if len(measured.pair) == 0:
        return None
    logs = np.log(measured.variant_seconds / measured.reference_seconds)
    look, looks = _look(measured, asked)
    share = rate_at(1.0, look, looks)
    alpha = rules.alpha * share
    ratio, processes = log_ratio_interval(logs, measured.process, alpha)
    noise = None
    if len(control.pair):
        noise = median_interval(np.log(control.variant_seconds / control.reference_seconds), NOISE_RATE * share)
    half = _halves(measured.process)
    arms = (pairs.process, pairs.pair, pairs.control, pairs.reference_seconds, pairs.variant_seconds)
    more = alone or {}
    tail = slow_rate(alpha, len(more.get("variant_seconds", ())))
    slow = slow_calls(rules.slow_call, more, *arms)
    numbers = np.unique(measured.process)
    drifts = [
        (
            _change(np.log(measured.reference_seconds[measured.process == number])),
            _change(logs[measured.process == number]),
        )
        for number in numbers
    ]
    return Speed(
        ratio=ratio,
        processes=tuple(processes),
        noise=noise,
        choosing=median_interval(logs[half], alpha),
        confirming=median_interval(logs[~half], alpha),
        variant=_describe(measured.variant_seconds),
        reference=_describe(calls_of_reference(*arms)),
        slow=(slow.own[0] / slow.own[1], slow.beside[0] / slow.beside[1]),
        slow_calls=slow.own[1],
        slow_beside=slow.others,
        slow_rate=tail,
        slow_bounds=share_bounds(*slow.own, tail),
        slow_p_value=excess_p_value(*slow.held, *slow.beside),
        mean=mean_log_ratio(measured.variant_seconds, measured.reference_seconds, margin=rules.slower - 1, alpha=alpha),
        p_pass=sign_p_value(logs, math.log(rules.slower), above=False),
        p_fail=sign_p_value(logs, math.log(rules.slower_shown), above=True),
        drift=(max((d[0] for d in drifts), key=abs), max((d[1] for d in drifts), key=abs)),
        jitter=1.4826 * float(np.median(np.abs(logs - np.median(logs)))),
        look=look,
        looks=looks,
        alpha=alpha,
    )


def _look(measured: Pairs, asked: ExpectedJob | None) -> tuple[int, int]:
    """(look, looks) of the pairs; pairs that fit no look, which is a problem of the evidence, are of the last."""
    if asked is None:
        return 1, 1
    found = int((measured.process == asked.trials - 1).sum())
    return look_of(found, asked.pairs, asked.trials, asked.looks) or asked.looks, asked.looks


def speed_of(found: VariantEvidence, rules: Rules) -> Speed | None:
    """Figures of a variant's latency pairs; None where there are none to be used."""
    if found.pairs is None:
        return None
    results = found.results("time")
    return measure_speed(
        found.pairs, rules.speed, found.expected.jobs.get("time"), results[-1].alone if results else None
    )


def correct(speeds: Mapping[str, Speed | None]) -> dict[str, Speed | None]:
    """The figures of a model's variants with their p-values corrected by Holm's method, those of a kind together."""
    known = {variant: speed for variant, speed in speeds.items() if speed is not None}
    adjusted: dict[str, dict[str, Any]] = {
        name: dict(zip(known, holm([getattr(speed, name) for speed in known.values()]), strict=True))
        for name in ("p_pass", "p_fail", "slow_p_value")
    }
    corrected: dict[str, Speed | None] = dict.fromkeys(speeds)
    for variant, speed in known.items():
        own = {name: values[variant] for name, values in adjusted.items()}
        corrected[variant] = replace(speed, **own)
    return corrected


def _halves(process: np.ndarray) -> np.ndarray:
    """[pairs] bool: the half to choose on. Whole processes where there are two or more, else every other pair."""
    numbers = np.unique(process)
    chosen: np.ndarray = np.arange(len(process)) % 2 == 0
    return np.isin(process, numbers[: len(numbers) // 2]) if len(numbers) > 1 else chosen


def _change(values: np.ndarray) -> float:
    change = trend(values, 0.05).change
    return change if math.isfinite(change) else 0.0


def _describe(seconds: np.ndarray) -> dict[str, float]:
    median = float(np.median(seconds))
    return {
        "n": len(seconds),
        "median": median,
        "p99": float(np.quantile(seconds, 0.99, method="higher")),
        "mean": float(seconds.mean()),
        "coefficient_of_variation": float(seconds.std() / seconds.mean()),
        "mad_over_median": float(np.median(np.abs(seconds - median)) / median),
        "outliers": int(outliers(seconds).sum()),
    }
