"""Contexts with missing rows: for models that take them, in keys, in what they see, in the scope and the bundle."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from greenlight.api import LoadOptions
from greenlight.data.stored import Prices
from greenlight.data.windows import Window, practice_windows, with_missing
from greenlight.errors import UserError
from greenlight.judgement.expected import load_expected
from greenlight.judgement.scope import scope_of, scope_words
from greenlight.measures.forecasts import QUANTILE_COLUMNS, problem_with
from greenlight.run import bundle
from greenlight.run.children import common
from greenlight.run.planning import make_plan
from greenlight.settings import load_settings
from greenlight_forecasters.bundle import Entry
from greenlight_forecasters.chronos2.static import Chronos2Static
from greenlight_forecasters.chronos2.upstream import Chronos2Upstream
from tests.judgement.evidence_builder import Run

MODELS = {"chronos-2": {"variants": ["upstream-eager", "static-eager"]}, "toto": {"variants": ["upstream-eager"]}}


def plan_of(missing, models=MODELS, **call):
    config = {"data_folder": "trainingdata", "symbols": ["GOOG"], "models": models}
    return make_plan(config | {"evaluation": {"call": {"missing": missing, "calls": 30} | call}}, [])[0]


def test_a_share_of_the_rows_is_missing_at_places_that_the_seed_gives():
    windows = practice_windows(2, 40, 4, seed=1)
    first, second = (with_missing(window, 0.1, 5) for window in windows)
    gone = np.isnan(first.context)
    assert gone.all(axis=1).sum() == gone.any(axis=1).sum() == 4 and not np.isnan(first.future).any()
    np.testing.assert_array_equal(first.context[~gone], windows[0].context[~gone])
    np.testing.assert_array_equal(gone, np.isnan(with_missing(windows[0], 0.1, 5).context))
    assert not np.array_equal(gone, np.isnan(second.context))
    assert not np.array_equal(gone, np.isnan(with_missing(windows[0], 0.1, 6).context))
    assert with_missing(windows[0], 0, 5) is windows[0] and not np.isnan(windows[0].context).any()


def test_only_models_that_take_missing_values_are_given_them_and_only_their_jobs_change():
    plans = [plan_of(missing) for missing in (0, 0.1)]
    before, after = ({name: plan.key(name) for name, _ in plan.all_jobs()} for plan in plans)
    changed = {name for name in before if before[name] != after[name]}
    trials = {name for name in before if name.split("/")[0] in ("predict", "probe", "call", "time", "repeat")}
    assert {name for name in trials & changed} == {name for name in trials if "chronos-2" in name}
    assert {"score/chronos-2", "expect", "judge"} <= changed and "score/toto" not in changed
    assert [plans[1].missing(model) for model in MODELS] == [0.1, 0.0]


@pytest.mark.parametrize(
    ("models", "call", "words"),
    [
        ({"toto": {}}, {"missing": 0.1}, "none of toto takes missing values"),
        ({"chronos-2": {}}, {"missing": 0.001}, "is no row"),
        ({"chronos-2": {}}, {"missing": 0.1, "input": "returns"}, "no return follows from a missing price"),
        ({"chronos-2": {}}, {"missing": 0.6}, r"evaluation\.call\.missing: "),
    ],
)
def test_what_can_t_be_meant_is_refused(models, call, words):
    with pytest.raises(UserError, match=words):
        load_settings({"models": models, "evaluation": {"call": call}}, [])


def test_windows_of_prices_and_made_ones_have_missing_rows(monkeypatch):
    times = np.datetime64("2024-01-01", "ns") + np.arange(60) * np.timedelta64(1, "D")
    prices = Prices(times, np.ones((60, 5)), times, np.full(60, np.nan))
    monkeypatch.setattr(common, "load_series", lambda path: prices)
    for share, count in ((0.25, 4), (0, 0)):
        request = plan_of(share).job("predict", "chronos-2", "static-eager", 0)
        request = request | {"series": {"GOOG": "a"}, "not_before": {}, "context_length": 16, "horizon": 4}
        windows = [*common.windows_of(request, "GOOG"), *common.made_windows(request, 2, 16, 4, 1)]
        assert {int(np.isnan(window.context[:, 3]).sum()) for window in windows} == {count}


def test_both_implementations_of_chronos_2_forecast_from_what_is_there():
    windows = [with_missing(window, 0.2, 1) for window in practice_windows(3, 48, 6, seed=4)]
    upstream, static = (kind.load(LoadOptions("embedded")) for kind in (Chronos2Upstream, Chronos2Static))
    found, expected = static.forecast(windows, 1, 0), upstream.forecast(windows, 1, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not np.allclose(expected, upstream.forecast(practice_windows(3, 48, 6, seed=4), 1, 0), rtol=1e-6)
    levels = tuple(np.round(np.linspace(0.1, 0.9, 9), 1))
    same = np.ones((3, 9, 6))
    assert "every forecast value is 1" in problem_with(same, windows, 1, levels)


def test_missing_rows_stand_in_the_scope(tmp_path):
    Run().write(tmp_path)
    expected = load_expected(tmp_path / "expected.json")
    model = expected.models["toto"].model_copy(update={"missing": 0.1})
    scope = scope_of(expected.model_copy(update={"models": {"toto": model}}), "toto", {})
    assert scope["missing"] == 0.1 and scope_words(scope).endswith("; 10% of the rows of a context missing")
    assert "missing" not in scope_of(expected, "toto", {})


def test_the_stored_window_of_a_bundle_is_what_the_model_was_given(tmp_path, monkeypatch):
    times = np.datetime64("2024-01-01", "ns") + np.arange(20) * np.timedelta64(1, "D")
    prices = Prices(times, np.arange(1.0, 101).reshape(20, 5), times, np.full(20, np.nan))
    forecast = pa.table({name: np.zeros(4) for name in ("step", "mean", *QUANTILE_COLUMNS)})
    monkeypatch.setattr(bundle, "load_series", lambda path: prices)
    monkeypatch.setattr(bundle, "read_parquet", lambda path: forecast)
    job = {"context_length": 16, "horizon": 4, "input": "prices", "missing": 0.25, "seed": 3}
    bundle._write_check(tmp_path, "GOOG", job)
    facts = {"check": {"file": "check.npz"}, "window": {"symbol": "GOOG", "index": 2, "horizon": 4}, "shapes": {}}
    window, _ = Entry(tmp_path, "chronos-2", facts).window()
    whole = Window("GOOG", 2, prices.values[:16], prices.values[16:], times)
    np.testing.assert_array_equal(window.context, with_missing(whole, 0.25, 3).context)
    assert np.isnan(window.context[:, 3]).sum() == 4
