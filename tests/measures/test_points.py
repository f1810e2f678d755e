"""What production makes of a forecast: median, mean, trimmed mean, of sample paths and of quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import trim_mean

from greenlight.api import DECILES
from greenlight.data.windows import practice_windows
from greenlight.measures.forecasts import forecast_table
from greenlight.measures.points import COLUMN, point_words, trimmed_mean, with_point


def test_what_a_point_forecast_is_called():
    assert [point_words(point) for point in ("median", "mean", "trimmed-mean 0.25")] == [
        "median",
        "mean",
        "mean without 25% at each end",
    ]


@pytest.mark.parametrize("trim", [0.04, 0.1, 0.25, 0.49])
@pytest.mark.parametrize("samples", [5, 24, 100])
def test_paths_are_trimmed_as_scipy_does(trim, samples):
    values = np.random.default_rng(3).standard_cauchy((4, 3, samples))
    np.testing.assert_allclose(trimmed_mean(values, trim), trim_mean(values, trim, axis=-1))


@pytest.mark.parametrize("trim", [0.02, 0.1, 0.15, 0.4])
def test_quantiles_are_trimmed_where_they_lie(trim):
    levels = (0.05, *DECILES, 0.95)
    symmetric = 7 + 4 * (np.array(levels) - 0.5)
    np.testing.assert_allclose(trimmed_mean(symmetric, trim, levels), 7.0)
    # Of a distribution whose quantile is the square of the level: the integral between two levels, by trapezoids.
    square = np.array(levels) ** 2
    grid = np.clip(np.linspace(trim, 1 - trim, 20_001), levels[0], levels[-1])
    np.testing.assert_allclose(trimmed_mean(square, trim, levels), np.interp(grid, levels, square).mean(), rtol=1e-3)


def test_a_table_gets_the_point_that_is_asked_for():
    windows = practice_windows(2, 20, 3, seed=1)
    paths = np.random.default_rng(1).lognormal(4, 1, (2, 20, 3))
    table = forecast_table("m", "v", windows, list(paths), {})
    found = {
        point: with_point(table, point).column(COLUMN).to_numpy() for point in ("median", "mean", "trimmed-mean 0.2")
    }
    by_step = paths.transpose(0, 2, 1).reshape(6, 20)
    np.testing.assert_allclose(found["median"], np.median(by_step, axis=1))
    np.testing.assert_allclose(found["mean"], by_step.mean(axis=1))
    np.testing.assert_allclose(found["trimmed-mean 0.2"], trim_mean(by_step, 0.2, axis=1), rtol=1e-6)
    quantiles = np.sort(paths[:, :9], axis=1)
    table = forecast_table("m", "v", windows, list(quantiles), {}, DECILES)
    found = with_point(table, "trimmed-mean 0.1", DECILES).column(COLUMN).to_numpy()
    expected = np.trapezoid(quantiles, DECILES, axis=1) / 0.8
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-6)
