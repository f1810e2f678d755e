"""Which price is asked for is the one that each model forecasts; closing prices stay what they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from greenlight.api import CLOSE, FEATURES, LoadOptions
from greenlight.data.windows import cut_windows, practice_windows
from greenlight.errors import UserError
from greenlight.settings import load_settings
from greenlight_forecasters.chronos2.static import Chronos2Static
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.upstream import KronosUpstream
from greenlight_forecasters.toto.static import TotoStatic
from greenlight_forecasters.toto.upstream import TotoUpstream

OPEN, HIGH, LOW = (FEATURES.index(name) for name in ("open", "high", "low"))
DRIFT = Path(__file__).parents[1] / "plugins" / "drift.py"


def asked_for(column, windows):
    return [replace(window, column=column) for window in windows]


def swapped(window, column):
    """The window in which another column stands in the place of the closing price."""
    order = list(range(len(FEATURES)))
    order[CLOSE], order[column] = column, CLOSE
    return replace(window, context=window.context[:, order], future=window.future[:, order])


def test_windows_have_the_price_that_is_asked_for_as_their_target():
    values = np.arange(100.0).reshape(20, 5)
    times = np.datetime64("2024-01-01", "ns") + np.arange(20) * np.timedelta64(1, "D")
    shape = {"context_length": 8, "horizon": 3, "count": 2}
    for window in cut_windows("A", times, values, **shape, column=HIGH):
        np.testing.assert_array_equal(window.target, window.future[:, HIGH])
    np.testing.assert_array_equal(cut_windows("A", times, values, **shape)[0].target, values[14:17, CLOSE])
    assert {window.column for window in practice_windows(2, 8, 3, 1, LOW)} == {LOW}


@pytest.mark.parametrize("kind", [TotoUpstream, TotoStatic, Chronos2Static])
def test_a_model_of_one_price_is_given_that_price(kind):
    forecaster = kind.load(LoadOptions("embedded"))
    windows = practice_windows(2, 48, 6, seed=4)
    found, expected = (
        forecaster.forecast(given, 8, 3)
        for given in (asked_for(LOW, windows), [swapped(window, LOW) for window in windows])
    )
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, forecaster.forecast(windows, 8, 3))
    found, expected = (
        forecaster.probe(given) for given in (asked_for(LOW, windows), [swapped(window, LOW) for window in windows])
    )
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_chronos_2_sees_other_columns_beside_the_price_that_is_asked_for():
    plain, beside = (
        Chronos2Static.load(LoadOptions("embedded", settings={"beside": names})) for names in ((), ("open", "low"))
    )
    windows = asked_for(OPEN, practice_windows(2, 48, 6, seed=4))
    assert not np.array_equal(plain.forecast(windows, 1, 0), beside.forecast(windows, 1, 0))
    only = Chronos2Static.load(LoadOptions("embedded", settings={"beside": ("low",)}))
    np.testing.assert_array_equal(only.forecast(windows, 1, 0), beside.forecast(windows, 1, 0))


def test_kronos_gives_that_price_of_the_candles_that_it_draws():
    windows = practice_windows(2, 32, 4, seed=4)
    upstream, static = (kind.load(LoadOptions("embedded")) for kind in (KronosUpstream, KronosStatic))
    candles = np.concatenate([upstream.paths(window, 6, 3) for window in windows])
    for column in (OPEN, HIGH, CLOSE):
        asked = asked_for(column, windows)
        np.testing.assert_array_equal(upstream.forecast(asked, 6, 3), candles[..., column])
        np.testing.assert_allclose(static.forecast(asked, 6, 3), candles[..., column], rtol=1e-5)


def test_a_plug_in_that_forecasts_closing_prices_only_is_not_asked_for_others():
    config = {"models": {"drift-1": {"plugin": f"{DRIFT}:MODEL"}}}
    load_settings(config, [])
    with pytest.raises(UserError, match="target is 'open', and the plug-in of drift-1 forecasts close only"):
        load_settings(config | {"evaluation": {"call": {"target": "open"}}}, [])
