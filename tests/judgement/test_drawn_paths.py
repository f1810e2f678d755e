"""Whole paths against those of a reference that draws other numbers: what is found, and that nothing is found where
both draw alike."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.judgement.drawn_paths import QUANTITIES, judge_paths, path_quantities, spread_between
from greenlight.judgement.rules import AccuracyRules

RULES = AccuracyRules()
PRICE, WINDOWS, SAMPLES, HORIZON, REPLICATES = 100.0, 6, 16, 12, 16


def draw(rng):
    """Random walks of heavy tails."""
    return PRICE + np.cumsum(rng.standard_t(4, (WINDOWS, SAMPLES, HORIZON)), axis=2)


def judged(seed, change=lambda paths, rng: paths):
    rng, quantities, means = np.random.default_rng(seed), {name: [] for name in QUANTITIES}, ([], [])
    for _ in range(REPLICATES):
        own, other = change(draw(rng), rng), draw(rng)
        for name, windows in path_quantities(own, other).items():
            quantities[name].append(float(windows.mean()))
        for kept, paths in zip(means, (own, other), strict=True):
            kept.append(paths.mean(axis=1))
    between = spread_between(*(np.array(kept) for kept in means))
    return judge_paths(quantities, between, RULES.path_limits(), alpha=RULES.alpha, alarm=RULES.alarm)


def band(paths):
    low, high = np.quantile(paths, (0.1, 0.9), axis=1, keepdims=True)
    return high - low


def with_one(value):
    def change(paths, rng):
        paths[:, 3] = value * PRICE
        return paths

    return change


def mirrored(paths, rng):
    half = paths[:, : SAMPLES // 2]
    return np.concatenate([half, 2 * PRICE - half], axis=1)


def stratified(paths, rng):
    """Every quantile of the last step once: each forecast covers the distribution."""
    ladder = np.quantile(
        draw(np.random.default_rng(9)).reshape(-1, HORIZON), (np.arange(SAMPLES) + 0.5) / SAMPLES, axis=0
    )
    return np.broadcast_to(ladder, paths.shape) + 0.01 * rng.standard_normal(paths.shape)


def common(paths, rng):
    """One more draw, the same for all paths of a forecast."""
    return paths + 4 * rng.standard_normal((WINDOWS, 1, 1)) * np.sqrt(np.arange(1, HORIZON + 1) / HORIZON)


DEFECTS = {
    "a sample of 0": (with_one(0.0), "the lowest path lies"),
    "a sample of ten times the price": (with_one(10.0), "moves by"),
    "sorted at each step": (lambda paths, rng: np.sort(paths, axis=1), "changes from step to step"),
    "shuffled at each step": (lambda paths, rng: rng.permuted(paths, axis=1), "changes from step to step"),
    "mirrored": (mirrored, "from seed to seed"),
    "stratified": (stratified, "from seed to seed"),
    "a draw that all share": (common, "from seed to seed"),
    "the mean off by 0.15 bands": (lambda paths, rng: paths + 0.15 * band(paths), "the mean moves by"),
    "a quarter too wide": (lambda paths, rng: PRICE + 1.25 * (paths - PRICE), "times as wide"),
    "tails cut at the band": (
        lambda paths, rng: np.clip(paths, *np.quantile(paths, (0.1, 0.9), axis=1, keepdims=True)),
        "path lies",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_paths_that_are_drawn_otherwise_are_shown_and_named(name):
    change, words = DEFECTS[name]
    for seed in range(3):
        found = judged(seed, change)
        assert found.outcome == "fail"
        assert words in found.reason


def test_paths_that_are_drawn_alike_pass():
    outcomes = [judged(seed).outcome for seed in range(40)]
    assert "fail" not in outcomes and outcomes.count("pass") >= 36


def test_windows_that_do_not_move_at_all_are_alike():
    flat = np.full((WINDOWS, SAMPLES, HORIZON), PRICE)
    found = path_quantities(flat, flat)
    assert all((values == 0).all() for values in found.values())
    assert (spread_between(np.repeat(flat[:, 0][None], 4, 0), np.repeat(flat[:, 0][None], 4, 0)) == 0).all()
    assert all(np.isfinite(values).all() for values in path_quantities(flat[..., :1], flat[..., :1]).values())


def test_too_few_replicates_decide_nothing():
    quantities = {name: [0.0] for name in QUANTITIES}
    assert judge_paths(quantities, [0.0], RULES.path_limits(), alpha=0.01, alarm=0.001).outcome == "inconclusive"
