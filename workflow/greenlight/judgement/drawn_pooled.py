"""Are all draws together the reference's? What means and quantiles hide: draws that repeat each other, outermost draws,
and windows that rise and fall together.

Each figure is a sum over draws, of a score that depends on the draws of both arms and not on which arm they are of. If
both draw alike, a sample of the one and the sample in its place of the other may be exchanged, all windows and steps at
once, so that the sign of each difference is a coin's: whatever is drawn, and however windows and steps depend on each
other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from greenlight.statistics.ranks import ranks

OUTERMOST = 0.01
"""Share of the draws of a step, of both arms, that are its tail, on each side."""
WORDS = {
    "repeats": "{0:.2%} of pairs of draws of one step are equal, {1:.2%} of the reference's",
    "lower tail": "of the lowest draws {0:.0f} are its own, {1:.0f} the reference's",
    "upper tail": "of the highest draws {0:.0f} are its own, {1:.0f} the reference's",
    "falls": "of the deepest falls from step to step {0:.0f} are its own, {1:.0f} the reference's",
    "rises": "of the highest rises from step to step {0:.0f} are its own, {1:.0f} the reference's",
    "together": "windows rise and fall together: rank correlation {0:+.2f} of samples, {1:+.2f} of the reference's",
}
"""What is compared, and how its two figures read."""
# Differences up to a constant, plus a share of the sum of both, are none, however surely they are shown: as if of 4,000
# different values, half or twice as many draws, a correlation of 0.1.
_FLOORS = {"repeats": (1.5e-4, 1 / 3), "together": (0.1, 0.0)}
_TAIL_FLOOR = (0.0, 1 / 3)
# Tails of a sum with random signs are at most so many times those of a normal (Bentkus and Dzindzalieta 2015).
_SIGNS = 3.18
# Draws that are nearer to each other than this share of the band are equal: less than rounding to 14 bits.
_EQUAL = 2.0**-15

Pooled = Mapping[str, Sequence[float]]
"""By name of WORDS: a normal score, and the figures of the one and of the other."""


def pool(own: np.ndarray, other: np.ndarray) -> dict[str, list[float]]:
    """What `shown_pooled` judges, of paths [windows, samples, horizon] of both arms, with as many samples in each."""
    both = np.concatenate([own, other], axis=1, dtype=np.float64)
    found = {"repeats": _repeats(both)}
    changes = np.diff(both, axis=2)
    for low, high, values in (("lower tail", "upper tail", both), ("falls", "rises", changes)):
        found |= {low: _outermost(values), high: _outermost(-values)}
    found["together"] = _together(both.mean(axis=2))
    return {name: found[name] for name in WORDS}


def shown_pooled(pooled: Pooled, alarm: float) -> str | None:
    """The difference that is shown most surely, in words; None where none is.

    Args:
        alarm: rate at which something is shown where nothing differs, over all that is compared (Bonferroni).
    """
    needed = least_score(alarm)
    loads = {}
    for name, (score, own, other) in pooled.items():
        constant, share = _FLOORS.get(name, _TAIL_FLOOR)
        if abs(score) >= needed and abs(own - other) > constant + share * (abs(own) + abs(other)):
            loads[name] = abs(score)
    worst = max(loads, key=loads.__getitem__, default=None)
    return None if worst is None else WORDS[worst].format(*pooled[worst][1:])


def least_score(alarm: float) -> float:
    """The score from which on a difference is shown."""
    return float(-special.ndtri(alarm / (2 * _SIGNS * len(WORDS))))


@dataclass(frozen=True)
class ShownSizes:
    """From which size on something is shown; infinite (values: 0) where it never is.

    Attributes:
        values: draws of a step that are of fewer different values, all as likely.
        tail: share of the draws on one side of each step that are never drawn.
        together: rank correlation of two windows, of each pair of them.
    """

    values: float
    tail: float
    together: float


def shown_sizes(samples: int, windows: int, horizon: int, alarm: float, power: float) -> ShownSizes:
    """For paths whose steps are independent of each other, or whose changes are; factors were found by simulation.

    Args:
        samples: drawn a window on each side.
    """
    needed = least_score(alarm) + special.ndtri(power)
    # Of M pairs of equal draws each has a score of 1/2 twice: M / sqrt(M / 2).
    pairs = needed**2 / 2 / (samples * (samples - 1) / 2 * windows)
    constant, share = _FLOORS["repeats"]
    values = 1 / (1.7 * max(pairs, constant / (1 - share)))
    # The outermost of both are 2 * OUTERMOST of each; of these the missing share is the other's, the rest anybody's.
    tail = 1.25 * needed * math.sqrt(2 * OUTERMOST / (samples * windows * max(1, horizon - 1)))
    tail = max(tail, 1.5 * _TAIL_FLOOR[1] * 2 * OUTERMOST)
    # Products of what windows share are as skewed as a square, so that few samples show nothing.
    products = max(0.0, samples - 3 * needed**2) * windows * (windows - 1) / 2
    together = 1.1 * needed * math.sqrt(2 / products) if products else math.inf
    return ShownSizes(
        float(values) if values >= 2 else 0.0,
        float(tail) if tail <= 2 * OUTERMOST else math.inf,
        float(max(together, 1.3 * _FLOORS["together"][0])) if together < 1 else math.inf,
    )


def _result(scores: np.ndarray, own: float, other: float) -> list[float]:
    """Scores [2 * samples] of the draws of both arms."""
    difference = scores[: len(scores) // 2] - scores[len(scores) // 2 :]
    size = float(np.sqrt((difference**2).sum()))
    return [float(difference.sum()) / size if size else 0.0, own, other]


def _halves(scores: np.ndarray) -> tuple[float, float]:
    half = len(scores) // 2
    return float(scores[:half].sum()), float(scores[half:].sum())


def _repeats(both: np.ndarray) -> list[float]:
    """Pairs of equal draws within an arm, at the step where most of both arms together are equal.

    Of m equal draws, a of the one arm: pairs of the one less those of the other are (m - 1)(2 a - m) / 2. So each draw
    has the score (m - 1) / 2.
    """
    low, middle, high = np.quantile(both, (0.1, 0.5, 0.9), axis=1, keepdims=True)
    cells = np.round((both - middle) / (_EQUAL * (high - low) + 1e-9 * np.abs(middle) + np.finfo(float).tiny))
    step = int(np.argmax((np.diff(np.sort(cells, axis=1), axis=1) == 0).sum(axis=(0, 1))))
    scores, pairs, samples = np.zeros(both.shape[1]), np.zeros(2), both.shape[1] // 2
    for window in cells[..., step]:
        _, group, count = np.unique(window, return_inverse=True, return_counts=True)
        scores += (count[group] - 1) / 2
        for arm in range(2):
            own = np.bincount(group[arm * samples : (arm + 1) * samples])
            pairs[arm] += (own * (own - 1)).sum() / 2
    return _result(scores, *(pairs / (len(both) * max(1, samples * (samples - 1) / 2))))


def _outermost(values: np.ndarray) -> list[float]:
    """How many of the lowest values [windows, draws, quantities] of each window are of each arm."""
    count = max(1, round(OUTERMOST * values.shape[1]))
    # Of equal values all are among the lowest, or none.
    edge = np.partition(values, count, axis=1)[:, count, None]
    scores = (values < edge).sum(axis=(0, 2)).astype(np.float64)
    return _result(scores, *_halves(scores))


def _together(levels: np.ndarray) -> list[float]:
    """Products of the ranks of levels [windows, draws], over all pairs of windows: rank correlations within samples."""
    ranked = ranks(levels[..., None])[..., 0]
    centred = ranked - ranked.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    unit = centred / np.where(deviation > 0, deviation, 1.0)
    pairs = len(levels) * (len(levels) - 1) / 2
    scores = (unit.sum(axis=0) ** 2 - (unit**2).sum(axis=0)) / 2 / max(1.0, pairs)
    own, other = _halves(scores)
    return _result(scores, 2 * own / len(scores), 2 * other / len(scores))
