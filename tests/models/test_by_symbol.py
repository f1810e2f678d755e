"""Settings of a model that differ by symbol: read, refused where they can't be meant, in keys, and in what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from greenlight.data.given import called_by_settings
from greenlight.data.stored import Prices
from greenlight.data.windows import practice_windows
from greenlight.errors import UserError
from greenlight.files import write_json
from greenlight.judgement.expected import load_expected
from greenlight.judgement.scope import scope_of, scope_words
from greenlight.layout import Layout
from greenlight.run.children import common
from greenlight.run.planning import make_plan
from greenlight.run.stages.expect import _model
from greenlight_forecasters.bundle import Entry
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.upstream import KronosUpstream
from tests.judgement.evidence_builder import KRONOS, Run
from tests.models.kronos.conftest import random_network, random_tokenizer

SYMBOLS = ["GOOG", "SIM_CALM", "SIM_TINY"]


def plan_of(by_symbol, model="kronos", **more):
    config = {
        "data_folder": "trainingdata",
        "symbols": SYMBOLS[:2],
        "symbols_per_job": 1,
        "evaluation": {"call": {"calls": 30}},
    } | more
    variants = {"variants": ["upstream-eager", "static-eager", "static-default"]}
    return make_plan({**config, "models": {model: variants | {"by_symbol": by_symbol}}}, [])[0]


FILES = {
    "own.csv": "symbol,temperature,top_k,top_p\nGOOG,0.8,,\nSIM_TINY, 1.2 ,4,0.5\n\nSIM_CALM,,,\n",
    "own.yaml": "GOOG: {temperature: 0.8}\nSIM_TINY: {temperature: 1.2, top_k: 4, top_p: 0.5}\nSIM_CALM: {top_k: 0}\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_names_settings_by_symbol_and_only_those_that_differ_count(tmp_path, name):
    (tmp_path / name).write_text(FILES[name])
    assert plan_of(str(tmp_path / name)).by_symbol == {"kronos": {"GOOG": {"temperature": 0.8}}}
    every = plan_of(str(tmp_path / name), symbols=SYMBOLS).by_symbol["kronos"]
    assert every["SIM_TINY"] == {"temperature": 1.2, "top_k": 4, "top_p": 0.5} and "SIM_CALM" not in every


REFUSED = {
    "an unknown setting": ("own.csv", "symbol,temprature\nGOOG,1\n", r"'temprature' is no .*temperature"),
    "samples": ("own.csv", "symbol,samples\nGOOG,8\n", r"line 2: 'samples' .*evaluation\.samples is one for all"),
    "an unknown symbol": ("own.yaml", "GOGO: {top_p: 0.5}\n", r"no prices of the symbol 'GOGO' .*GOOG"),
    "a symbol twice": ("own.csv", "symbol,top_k\nGOOG,1\nGOOG,2\n", r"line 3: the symbol 'GOOG' is named twice"),
    "a key twice": ("own.yaml", "GOOG: {top_k: 1}\nGOOG: {top_k: 2}\n", "'GOOG' stands twice"),
    "a wrong value": ("own.csv", "symbol,top_p\nGOOG,1.5\n", r"line 2: GOOG, top_p: .*less than or equal to 1.*'1\.5'"),
    "no settings": ("own.yaml", "GOOG: 0.8\n", "GOOG has 0.8; expected settings"),
    "a short line": ("own.csv", "symbol,top_p,top_k\nGOOG,1\n", "line 2: 2 cells, expected 3"),
    "no column of symbols": ("own.csv", "name,top_p\nGOOG,1\n", "line 1: the columns are name, top_p"),
    "another kind of file": ("own.txt", "", "neither .csv nor .yaml"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_t_be_meant_is_refused_by_name(tmp_path, name):
    file, text, words = REFUSED[name]
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=words):
        plan_of(str(tmp_path / file))


def test_a_missing_file_and_a_model_without_such_settings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"models\.kronos\.by_symbol: .*none\.csv can't be read"):
        plan_of(str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match=r"models\.toto\.by_symbol: the plug-in of toto has no settings"):
        plan_of({"GOOG": {"top_p": 0.5}}, model="toto")


def keys(plan):
    return {name: plan.key(name) for name, _ in plan.all_jobs()}


def test_a_symbol_s_settings_are_in_the_keys_of_what_reads_its_prices():
    before, first, second = (
        keys(plan_of(own)) for own in (None, {"GOOG": {"top_p": 0.5}}, {"SIM_CALM": {"top_p": 0.5}})
    )
    changed = {name for name in before if before[name] != second[name]}
    assert {f"predict/kronos/{v}/1" for v in ("upstream-eager", "static-eager", "static-default")} <= changed
    assert (
        not {"predict/kronos/static-eager/0", "time/kronos/static-default", "compile/kronos/static-default"} & changed
    )
    assert {"score/kronos", "replicate/kronos", "expect", "judge", "report"} <= changed
    changed = {name for name in before if before[name] != first[name]}
    assert {"predict/kronos/static-eager/0", "probe/kronos/static-eager", "time/kronos/static-default"} <= changed
    assert not {"predict/kronos/static-eager/1", "call/kronos/static-default", "weights/kronos"} & changed


@pytest.mark.parametrize("kind", [KronosUpstream, KronosStatic])
def test_each_window_is_drawn_with_its_symbol_s_settings(build, kind):
    plain, narrow = (build(kind, {"top_k": top_k, "temperature": t}) for top_k, t in ((0, 1.0), (1, 0.5)))
    windows = practice_windows(3, 32, 4, seed=4)
    own = (("temperature", 0.5), ("top_k", 1))
    mixed = [windows[0], replace(windows[1], settings=own), windows[2]]
    usual, other = plain.forecast(windows, 4, 3), narrow.forecast(windows, 4, 3)
    assert not np.allclose(usual[1], other[1], rtol=1e-4)
    expected = np.stack([usual[0], other[1], usual[2]])
    np.testing.assert_allclose(called_by_settings(plain).forecast(mixed, 4, 3), expected, rtol=1e-6)
    np.testing.assert_allclose(plain.forecast(windows, 4, 3), usual, rtol=1e-6)


@pytest.fixture
def build():
    from greenlight_forecasters.kronos.config import Settings

    return lambda kind, settings: kind(random_network(), random_tokenizer(), Settings(**settings))


def test_calls_keep_their_size_where_symbols_differ():
    sizes = []

    class Model:
        def forecast(self, windows, samples, seed):
            sizes.append(len(windows))
            return np.array([[[float(window.index)]] for window in windows])

        def with_settings(self, settings):
            import contextlib

            return contextlib.nullcontext()

    windows = [replace(w, index=i) for i, w in enumerate(practice_windows(3, 8, 1, seed=1))]
    windows[1] = replace(windows[1], settings=(("top_k", 1),))
    assert called_by_settings(Model()).forecast(windows, 1, 0)[:, 0, 0].tolist() == [0.0, 1.0, 2.0]
    assert sizes == [3, 3]


def test_the_windows_of_a_symbol_have_its_settings(monkeypatch):
    rows = 40
    times = np.datetime64("2024-01-01", "ns") + np.arange(rows) * np.timedelta64(1, "D")
    prices = Prices(times, np.ones((rows, 5)), times, np.full(rows, np.nan))
    monkeypatch.setattr(common, "load_series", lambda path: prices)
    job = plan_of({"GOOG": {"top_p": 0.5, "temperature": 0.8}}).job("predict", "kronos", "static-eager", 0)
    request = job | {"series": {"GOOG": "a", "OTHER": "b"}, "not_before": {}, "context_length": 16, "horizon": 4}
    assert {window.settings for window in common.windows_of(request, "OTHER")} == {()}
    assert {window.settings for window in common.windows_of(request, "GOOG")} == {
        (("temperature", 0.8), ("top_p", 0.5))
    }


def test_settings_by_symbol_stand_in_the_manifest_and_in_the_scope(tmp_path):
    plan, plain = plan_of(own := {"GOOG": {"top_p": 0.5}}), plan_of(None)
    layout = Layout(tmp_path)
    write_json(layout.weights("kronos"), {"hashes": {}})
    entries = [_model(layout, each.job("expect"), "kronos") for each in (plan, plain)]
    assert entries[0]["by_symbol"] == own and entries[0]["settings_hash"] != entries[1]["settings_hash"]
    Run(models={"kronos": KRONOS}).write(tmp_path)
    expected = load_expected(tmp_path / "expected.json")
    model = expected.models["kronos"].model_copy(update={"by_symbol": own})
    assert "by_symbol" not in scope_of(expected, "kronos", {})
    scope = scope_of(expected.model_copy(update={"models": {"kronos": model}}), "kronos", {})
    assert scope["by_symbol"] == own and scope_words(scope).endswith("; top_p of their own for GOOG")


def test_the_stored_window_of_a_bundle_has_its_symbol_s_settings(tmp_path):
    (window,) = practice_windows(1, 8, 2, seed=1)
    values = np.concatenate((window.context, window.future))
    np.savez(tmp_path / "check.npz", values=values, timestamps=window.timestamps.astype(np.int64), forecast=values)
    place = {"symbol": "GOOG", "index": 0, "context_length": 8, "horizon": 2}
    facts = {"check": {"file": "check.npz"}, "window": place, "shapes": {"by_symbol": {"GOOG": {"top_p": 0.5}}}}
    assert Entry(tmp_path, "kronos", facts).window()[0].settings == (("top_p", 0.5),)
    assert Entry(tmp_path, "kronos", facts | {"shapes": {}}).window()[0].settings == ()
