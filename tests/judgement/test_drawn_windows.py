"""Windows and symbols that are drawn otherwise than the reference draws them: what is found, and no false alarms."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.judgement.drawn_windows import compare_windows, quantities, shown_size, shown_window, units_of
from greenlight.judgement.rules import AccuracyRules
from greenlight.statistics.ranks import rank_scores

RULES = AccuracyRules()
SYMBOLS, WINDOWS, SAMPLES, HORIZON, PRICE = 6, 5, 16, 16, 100.0
KEYS = [f"SYM{symbol}/{window}" for symbol in range(SYMBOLS) for window in range(WINDOWS)]
UNITS = units_of(KEYS)
FLOOR = RULES.draws_difference / 2


def draw(rng, samples=SAMPLES):
    """Random walks of heavy tails, [windows, samples, horizon]."""
    return PRICE + np.cumsum(rng.standard_t(4, (len(KEYS), samples, HORIZON)), axis=2)


def band(paths):
    low, high = np.quantile(paths.reshape(-1, HORIZON), (0.1, 0.9), axis=0)
    return high - low


WIDTH = band(draw(np.random.default_rng(0), 4000))


def judged(seed, change=lambda paths: paths, samples=SAMPLES, alarm=RULES.alarm):
    rng = np.random.default_rng(seed)
    return shown_window(compare_windows(change(draw(rng, samples)), draw(rng, samples)), UNITS, alarm, FLOOR)


def symbol(row, change):
    """A defect of one symbol's windows."""

    def changed(paths):
        rows = slice(row * WINDOWS, (row + 1) * WINDOWS)
        paths[rows] = change(paths[rows])
        return paths

    return changed


def window(row, change):
    def changed(paths):
        paths[row] = change(paths[row])
        return paths

    return changed


def wider(paths, factor):
    middle = np.median(paths, axis=-2, keepdims=True)
    return middle + factor * (paths - middle)


FOUND = {
    "a symbol moved": (symbol(2, lambda p: p + 0.6 * WIDTH), "SYM2 ", "band widths"),
    "a symbol at its last step": (symbol(2, lambda p: p + 0.6 * WIDTH * (np.arange(HORIZON) == 15)), "SYM2 ", "step"),
    "a window moved": (window(7, lambda p: p + 1.3 * WIDTH), "SYM1/2", "band widths"),
    "a symbol's band half as wide": (symbol(4, lambda p: wider(p, 0.35)), "SYM4", "times"),
    "a symbol whose paths go on as others": (
        symbol(1, lambda p: np.concatenate([p[..., :8], np.roll(p[..., 8:], 1, axis=-2)], axis=-1)),
        "SYM1",
        "times in the change from step 8 to the next",
    ),
    "a symbol reversed in time": (symbol(3, lambda p: p[..., ::-1]), "SYM3", "times"),
}


@pytest.mark.parametrize("name", FOUND)
def test_one_symbol_or_window_that_is_drawn_otherwise_is_named(name):
    change, who, what = FOUND[name]
    found = [judged(seed, change) for seed in range(8)]
    assert sum(words is not None and words.startswith(who) and what in words for words in found) >= 7, found


def test_where_both_draw_alike_nothing_is_shown():
    """At a rate that can be counted: 100 runs at 5%, of which up to 13 are within chance at 99.9%."""
    assert sum(judged(seed, alarm=0.05) is not None for seed in range(100)) <= 13


@pytest.mark.parametrize("windows", [1, WINDOWS])
def test_the_size_that_is_said_to_be_shown_is_shown(windows):
    size = shown_size(SAMPLES, windows, len(UNITS), HORIZON, RULES.alarm, 0.9)
    normal = np.random.default_rng(5)

    def shifted(_):
        own, other = normal.standard_normal((2, len(KEYS), SAMPLES, HORIZON)) + PRICE
        own[:windows, :, 3] += 2.563 * size
        return shown_window(compare_windows(own, other), UNITS, RULES.alarm, FLOOR) is not None

    power = np.mean([shifted(seed) for seed in range(60)])
    assert power >= 0.8, power


def test_paths_without_spread_differ_by_more_than_rounding_or_not_at_all():
    flat = np.full((len(KEYS), SAMPLES, HORIZON), PRICE)
    for own, shown in ((flat, False), (flat * (1 + 1e-7), False), (flat * 1.001, True)):
        found = shown_window(compare_windows(own, flat), UNITS, RULES.alarm, FLOOR)
        assert (found is not None) == shown, found


def test_scores_are_those_of_the_exact_distribution_and_ties_make_them_smaller():
    first, second = np.arange(8.0), np.arange(8.0) + 8
    (score,) = rank_scores(second[None, :, None], first[None, :, None]).ravel()
    (lower,) = rank_scores(first[None, :, None], second[None, :, None]).ravel()
    assert score == pytest.approx(-lower) and score == pytest.approx(3.7830, abs=1e-3)  # p = 2 / C(16, 8)
    assert rank_scores(np.ones((1, 8, 1)), np.ones((1, 8, 1))).ravel() == [0.0]
    rng = np.random.default_rng(1)
    many = rank_scores(*rng.standard_normal((2, 4000, 70, 1)))
    few = rank_scores(*rng.standard_normal((2, 4000, 64, 1)))
    assert all(0.9 < scores.std() < 1.05 and abs(scores.mean()) < 0.1 for scores in (many, few))


def test_units_are_windows_and_symbols_of_several():
    assert units_of(["A/0", "A/1", "B/0"]) == {"A/0": [0], "A/1": [1], "B/0": [2], "A": [0, 1]}
    assert compare_windows(*np.zeros((2, 3, 4, 1))).score.shape == (3, quantities(1))
