"""`evaluation.call.input`: Toto is given returns of prices, other models refuse them, and every trial depends on it."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.api import CLOSE, LoadOptions, given_returns
from greenlight.data.returns import rows_for, window_of_returns
from greenlight.data.windows import practice_windows
from greenlight.errors import UserError
from greenlight.run.planning import make_plan
from greenlight.settings import load_settings
from greenlight_forecasters.toto.static import TotoStatic

RETURNS = {"evaluation": {"call": {"input": "returns"}}}


def test_toto_forecasts_returns_and_the_prices_that_they_imply():
    windows = practice_windows(2, rows_for(48, "returns"), 6, seed=4)
    plain, wrapped = (TotoStatic.load(LoadOptions("embedded")) for _ in range(2))
    found = given_returns(wrapped, "returns").forecast(windows, 8, 3)
    returns = plain.forecast([window_of_returns(window, "returns") for window in windows], 8, 3)
    last = np.array([window.context[-1, CLOSE] for window in windows])
    np.testing.assert_allclose(found[..., 0], last[:, None] * (1 + returns[..., 0]), rtol=1e-12)
    np.testing.assert_allclose(found[..., 1:] / found[..., :-1] - 1, returns[..., 1:], atol=1e-12)
    assert returns.min() < 0


@pytest.mark.parametrize("model", ["kronos", "chronos-2"])
def test_models_of_candles_or_of_quantiles_can_t_be_given_returns(model):
    with pytest.raises(
        UserError, match=rf"input is 'returns', which can't be given to {model}: its plug-in takes prices"
    ):
        load_settings({"models": {"toto": {}, model: {}}, **RETURNS}, [])
    load_settings({"models": {"toto": {}}, **RETURNS}, [])


def test_every_stage_but_reading_weights_and_clearing_depends_on_what_models_are_given():
    config = {"data_folder": "trainingdata", "models": {"toto": {"variants": ["upstream-eager", "static-eager"]}}}
    plans = [make_plan(one, [])[0] for one in (config, config | RETURNS)]
    before, after = ({name: plan.key(name) for name, _ in plan.all_jobs()} for plan in plans)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] == after[name]} == {"weights/toto"}
