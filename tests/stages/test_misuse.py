"""Windows are given back as they were, and their future does not matter; other faults are left to their own checks."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.data.windows import CLOSE, practice_windows
from greenlight.run.children.forecast import misuse_of

REQUEST = {"samples": 4, "seed": 1}
WINDOWS = practice_windows(3, 16, 5, 7)


class Walk:
    """The last price plus numbers of the seed; `change` then has its way with windows and forecast."""

    def __init__(self, change=lambda windows, paths, calls: None):
        self.change, self.calls = change, 0

    def forecast(self, windows, samples, seed):
        self.calls += 1
        numbers = np.random.default_rng(seed).standard_normal((len(windows), samples, windows[0].horizon))
        paths = numbers + np.array([window.context[-1, CLOSE] for window in windows])[:, None, None]
        self.change(windows, paths, self.calls)
        return paths


def changes_its_input(windows, paths, calls):
    windows[1].context[-1, CLOSE] *= 1.0001


def reads_the_future(windows, paths, calls):
    paths[2] += 1e-3 * windows[2].target


def not_a_number(windows, paths, calls):
    paths[1, 0, 0] = np.nan


def another_at_each_call(windows, paths, calls):
    paths += calls


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changes_its_input, f"changes the window that it is given, first {WINDOWS[1].key}"),
        (reads_the_future, f"depends on the rows that it forecasts, first in {WINDOWS[2].key}"),
        (not_a_number, ""),
        (another_at_each_call, ""),
        (lambda windows, paths, calls: None, ""),
    ],
)
def test_what_a_forecaster_must_not_do_with_windows_is_named(change, words):
    found = misuse_of(Walk(change), WINDOWS, REQUEST)
    assert words in found and bool(found) == bool(words)
