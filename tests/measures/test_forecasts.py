"""Forecast tables of quantiles, and what can't be a forecast."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from greenlight.api import DECILES
from greenlight.data.windows import practice_windows
from greenlight.measures.forecasts import QUANTILE_COLUMNS, forecast_table, problem_with

LEVELS = (0.01, 0.05, *DECILES, 0.95, 0.99)


@pytest.fixture
def windows():
    return practice_windows(2, 20, 3, seed=1)


def quantiles(levels=LEVELS, centre=100.0):
    """[windows, levels, horizon] of normal distributions that widen."""
    z = np.array([NormalDist().inv_cdf(level) for level in levels])
    return centre + np.array([1.0, 2.0])[:, None, None] * z[:, None] * np.arange(1, 4)


def test_a_table_of_quantiles_has_the_deciles_and_their_mean(windows):
    given = quantiles()
    table = forecast_table("m", "v", windows, list(given), {}, LEVELS)
    for level, name in zip(DECILES, QUANTILE_COLUMNS, strict=True):
        expected = given[:, LEVELS.index(level)].ravel()
        np.testing.assert_array_equal(table.column(name).to_numpy(), expected)
    np.testing.assert_allclose(table.column("mean").to_numpy(), 100.0)
    # The mean of an exponential distribution with mean 1 is told by its quantiles but for what lies beyond the last.
    skewed = np.repeat(-np.log1p(-np.array(LEVELS))[:, None], 3, axis=1)
    mean = forecast_table("m", "v", windows[:1], [skewed], {}, LEVELS).column("mean").to_numpy()
    assert 0.95 < mean[0] < 1.02


def test_quantiles_are_a_forecast(windows):
    assert problem_with(quantiles(), windows, 16, LEVELS) == ""


def test_quantiles_of_a_model_whose_quantiles_may_cross(windows):
    crossed = quantiles()
    crossed[0, [0, 1], 1] = crossed[0, [1, 0], 1]
    assert "cross at 1 places" in problem_with(crossed, windows, 16, LEVELS)
    assert problem_with(crossed, windows, 16, LEVELS, crossing=True) == ""
    crossed[1] = crossed[1, ::-1]
    assert problem_with(crossed, windows, 16, LEVELS, True) == "window PRACTICE1/0: its quantiles descend"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda q: q[:, :-1], "expected (2, 13, 3) (windows, levels, horizon)"),
        (lambda q: q.astype(np.float32), "float32"),
        (lambda q: np.where(q == q[1, 3, 2], np.nan, q), "first at window PRACTICE1/0, step 3"),
        (lambda q: q[:, ::-1], "quantiles cross at 72 places, first at window PRACTICE0/0, step 1: that of 0.01"),
        (lambda q: np.repeat(q[:, 6:7], 13, axis=1) + np.arange(3), "all 13 quantiles are equal in 2 of 2 windows"),
    ],
)
def test_what_can_t_be_is_told(windows, change, words):
    assert words in problem_with(change(quantiles()), windows, 16, LEVELS)
