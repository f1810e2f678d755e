"""All draws together against the reference's: what is found from which size, and no false alarms, whatever is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri

from greenlight.judgement.drawn_pooled import WORDS, least_score, pool, shown_pooled, shown_sizes
from greenlight.judgement.rules import AccuracyRules

ALARM = AccuracyRules().alarm / 2
WINDOWS, SAMPLES, HORIZON = 6, 128, 8


def walks(rng, windows=WINDOWS, samples=SAMPLES):
    """Random walks of heavy tails."""
    return 100 + np.cumsum(rng.standard_t(4, (windows, samples, HORIZON)), axis=2)


def tokens(rng, windows=WINDOWS, samples=SAMPLES):
    """Of few values, as of a model that draws tokens."""
    return 100 + np.cumsum(np.round(rng.standard_t(4, (windows, samples, HORIZON))), axis=2)


def joint(rng, windows=WINDOWS, samples=SAMPLES):
    """Windows that depend on each other, as of a model of many series at once."""
    return walks(rng, windows, samples) + 3 * rng.standard_normal((1, samples, HORIZON))


def still(rng, windows=WINDOWS, samples=SAMPLES):
    return np.full((windows, samples, HORIZON), 100.0)


def judged(seed, change, drawn=walks):
    rng = np.random.default_rng(seed)
    return shown_pooled(pool(change(drawn(rng), rng), drawn(rng)), ALARM)


def nearest(values):
    """The first step takes so many values, evenly likely."""

    def change(paths, rng):
        ordered = np.sort(paths[..., 0], axis=1)
        steps = np.quantile(ordered, (np.arange(values) + 0.5) / values, axis=1).T
        paths[..., 0] = np.take_along_axis(steps, rng.integers(values, size=paths.shape[:2]), axis=1)
        return paths

    return change


def clipped(share):
    def change(paths, rng):
        return np.maximum(paths, np.quantile(paths, share, axis=1, keepdims=True))

    return change


def common(weight):
    """A draw that a sample has in all windows, as a share of the spread."""
    return lambda paths, rng: paths + weight * 8 * rng.standard_normal((1, SAMPLES, 1))


DEFECTS = {
    "sixteen values": (nearest(16), "are equal"),
    "1000 values": (nearest(1000), "are equal"),
    "no lowest 3%": (clipped(0.03), "of the lowest draws"),
    "no steep rises": (
        lambda paths, rng: np.cumsum(np.minimum(np.diff(paths, axis=2, prepend=100.0), 2.7), axis=2) + 100.0,
        "of the highest rises",
    ),
    "a draw that windows share": (common(0.6), "rise and fall together"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_what_is_drawn_otherwise_is_shown_and_named(name):
    change, words = DEFECTS[name]
    for seed in range(4):
        found = judged(seed, change)
        assert found is not None and words in found, found


@pytest.mark.parametrize("drawn", [walks, tokens, joint, still])
def test_where_both_draw_alike_nothing_is_shown(drawn):
    """At 5%, that can be counted: of 150 runs at most 7.5 are expected, and 18 within chance at 99.9%."""
    shown = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        found = pool(drawn(rng, 4, 32), drawn(rng, 4, 32))
        assert set(found) == set(WORDS) and np.isfinite(list(found.values())).all()
        shown += any(abs(score) >= least_score(0.05) for score, *_ in found.values())
    assert shown <= 18


def test_one_step_or_one_window_is_enough():
    rng = np.random.default_rng(0)
    for shape in ((1, 8, 5), (3, 8, 1), (1, 2, 1)):
        assert shown_pooled(pool(*rng.standard_normal((2, *shape))), ALARM) is None


def test_differences_that_are_small_are_none_however_surely_they_are_shown():
    many = {name: [0.0, 0.0, 0.0] for name in WORDS}
    assert shown_pooled(many | {"lower tail": [-9.0, 60.0, 100.0]}, ALARM) is None
    assert "40 are its own, 100" in shown_pooled(many | {"lower tail": [-9.0, 40.0, 100.0]}, ALARM)
    assert shown_pooled(many | {"lower tail": [-3.0, 0.0, 9.0]}, ALARM) is None
    assert shown_pooled(many | {"repeats": [9.0, 0.30, 0.25]}, ALARM) is None
    assert shown_pooled(many | {"together": [9.0, 0.55, 0.50]}, ALARM) is None


def test_the_sizes_that_are_said_to_be_shown_are_shown():
    sizes = shown_sizes(SAMPLES, WINDOWS, HORIZON, ALARM, 0.9)
    shape = WINDOWS, SAMPLES, HORIZON

    def walk(steps):
        return 100 + np.cumsum(steps, axis=2)

    def correlated(rng):
        own, shared = rng.standard_normal(shape), rng.standard_normal((1, SAMPLES, HORIZON))
        return math.sqrt(1 - sizes.together) * own + math.sqrt(sizes.together) * shared

    values = int(sizes.values)
    made = {
        "values": lambda rng: ndtri((rng.integers(values, size=shape) + 0.5) / values),
        "tail": lambda rng: ndtri(sizes.tail + (1 - sizes.tail) * rng.random(shape)),
        "together": correlated,
    }
    for name, steps in made.items():
        rng = np.random.default_rng(3)
        shown = [shown_pooled(pool(walk(steps(rng)), walk(rng.standard_normal(shape))), ALARM) for _ in range(30)]
        assert sum(words is not None for words in shown) >= 21, name
    few = shown_sizes(4, 2, 1, ALARM, 0.9)
    assert few.values < 16 and math.isinf(few.tail) and math.isinf(few.together)
