"""Returns in place of prices: what a model is given, the prices that its paths imply, and the errors of both."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from greenlight.data.given import given_returns
from greenlight.data.returns import implied_prices, rows_for, window_of_returns
from greenlight.data.windows import CLOSE, FEATURES, practice_windows
from greenlight.measures.accuracy import score_windows, window_context
from greenlight.measures.forecasts import forecast_table
from greenlight.measures.points import with_point
from greenlight.measures.returns import with_returns

KINDS = ("returns", "log-returns")


def growth(returns, kind):
    return np.exp(returns) if kind == "log-returns" else 1 + returns


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_of_returns_has_those_of_each_price_and_loses_its_first_row(kind):
    (window,) = practice_windows(1, rows_for(20, kind), 4, seed=1)
    given = window_of_returns(window, kind)
    assert (given.context_length, given.horizon) == (20, 4) and given.context.min() < 0 and given.target.min() < 0
    rows = np.concatenate((window.context, window.future))
    for name in ("open", "high", "low", "close"):
        column = FEATURES.index(name)
        own = np.concatenate((given.context, given.future))[:, column]
        np.testing.assert_allclose(rows[:-1, column] * growth(own, kind), rows[1:, column], rtol=1e-14)
    np.testing.assert_array_equal(
        given.context[:, FEATURES.index("volume")], window.context[1:, FEATURES.index("volume")]
    )
    np.testing.assert_array_equal(given.timestamps, window.timestamps[1:])
    paths = given.target[None, None]
    np.testing.assert_allclose(implied_prices(paths, window.context[-1:, CLOSE], kind)[0, 0], window.target, rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecaster_is_given_returns_and_its_paths_become_prices(kind):
    seen = []

    def forecast(windows, samples, seed):
        seen.extend(windows)
        return np.stack([np.stack([window.context[-3:, window.column]] * samples) for window in windows])

    windows = practice_windows(2, rows_for(10, kind), 3, seed=2)
    plain = SimpleNamespace(forecast=forecast, probe=lambda given: {"mean": given[0].context}, shifts_with_prices=True)
    assert given_returns(plain, "prices").forecast is forecast
    wrapped = given_returns(plain, kind)
    assert wrapped.shifts_with_prices is False
    found = wrapped.forecast(windows, 2, 0)
    assert [len(window.context) for window in seen] == [10, 10]
    for window, paths in zip(windows, found, strict=True):
        closes = window.context[:, CLOSE]
        np.testing.assert_allclose(paths[1], closes[-1] * closes[-3:] / closes[-4], rtol=1e-12)
    np.testing.assert_array_equal(wrapped.probe(windows)["mean"], window_of_returns(windows[0], kind).context)


def test_a_forecaster_that_changes_the_returns_that_it_is_given_is_refused():
    def forecast(windows, samples, seed):
        windows[0].context[0] += 1
        return np.zeros((1, samples, 3))

    wrapped = given_returns(SimpleNamespace(forecast=forecast, probe=None), "returns")
    with pytest.raises(ValueError, match="changes the window that it is given, first PRACTICE0/0"):
        wrapped.forecast(practice_windows(1, 11, 3, seed=2), 2, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("point", ["median", "mean", "trimmed-mean 0.25"])
def test_errors_of_returns_are_those_of_the_paths_step_by_step(kind, point):
    random = np.random.default_rng(3)
    windows = practice_windows(3, 9, 4, seed=4)
    returns = 0.01 * random.standard_normal((len(windows), 8, 4))
    last = np.array([window.context[-1, CLOSE] for window in windows])
    paths = list(implied_prices(returns, last, kind))
    table = with_point(forecast_table("m", "v", windows, paths, {}), point)
    told = np.repeat(last, 4)
    shuffled = random.permutation(len(table))
    table = with_returns(table.take(pa.array(shuffled)), told[shuffled], kind, point)
    contexts = {(window.symbol, window.index): window_context(window.context[:, CLOSE]) for window in windows}
    scores, problems = score_windows(table, contexts, 4)
    assert not problems
    ordered = np.sort(returns, axis=1)
    chosen = {"median": np.median(ordered, axis=1), "mean": ordered.mean(axis=1)}
    expected = chosen.get(point, ordered[:, 2:6].mean(axis=1))
    actual = np.stack([window_of_returns(window, kind).target for window in windows])
    np.testing.assert_allclose(scores.column("returns_mae"), np.abs(actual - expected).mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(scores.column("returns_naive_mae"), np.abs(actual).mean(axis=1), rtol=1e-10)


def test_where_prices_are_given_there_is_no_error_of_returns():
    windows = practice_windows(2, 9, 4, seed=1)
    table = with_point(forecast_table("m", "v", windows, [np.ones((3, 4))] * 2, {}), "median")
    contexts = {(window.symbol, window.index): window_context(window.context[:, CLOSE]) for window in windows}
    scores, _ = score_windows(table, contexts, 4)
    assert scores.column("returns_mae").null_count == len(windows)
