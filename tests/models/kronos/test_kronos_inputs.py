"""Inputs of every kind, metamorphic relations, and loading."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from greenlight.api import LoadOptions
from greenlight.errors import UserError
from greenlight.measures.forecasts import problem_with
from greenlight.settings import load_settings
from greenlight_forecasters.kronos.candles import prepare, stamps, with_amount
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.upstream import KronosUpstream

KINDS = pytest.mark.parametrize("kind", [KronosUpstream, KronosStatic])


@KINDS
@pytest.mark.parametrize("max_context", [64, 36])
def test_a_batch_equals_its_rows_in_any_order(build, walk, kind, max_context):
    forecaster = build(kind, {"max_context": max_context})
    windows = [walk(symbol) for symbol in "ABCD"]
    together = forecaster.forecast(windows, samples=3, seed=7)
    turned = forecaster.forecast(windows[::-1], samples=3, seed=7)[::-1]
    alone = np.concatenate([forecaster.forecast([window], samples=3, seed=7) for window in windows])
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    np.testing.assert_allclose(together, turned, rtol=1e-6)


@KINDS
def test_candles_are_cut_off_where_clip_says(build, walk, kind):
    windows = [walk(symbol) for symbol in "AB"]
    for clip in (5.0, 0.75):
        assert np.abs(prepare(windows, clip).values).max() <= clip
    assert np.abs(prepare(windows).values).max() > 1
    usual, narrow = (build(kind, {"clip": clip}) for clip in (5.0, 0.75))
    plain = build(kind)
    paths = [one.forecast(windows, 3, 7) for one in (plain, usual, narrow)]
    logits = [one.probe(windows)["s1_logits"] for one in (plain, usual, narrow)]
    for first, same, other in (paths, logits):
        np.testing.assert_array_equal(first, same)
        assert not np.array_equal(first, other)
    assert (plain.predictor().clip, narrow.predictor().clip) == (5.0, 0.75)


def test_clip_moves_both_implementations_alike(build, walk):
    upstream, static = (build(kind, {"clip": 0.75}) for kind in (KronosUpstream, KronosStatic))
    windows = [walk(symbol) for symbol in "AB"]
    np.testing.assert_allclose(static.forecast(windows, 3, 7), upstream.forecast(windows, 3, 7), rtol=1e-5)


@pytest.mark.parametrize("clip", [0, -1, float("inf"), float("nan")])
def test_a_clip_that_cuts_off_nothing_or_everything_is_refused(clip):
    with pytest.raises(UserError, match=r"models\.kronos\.clip: "):
        load_settings({"models": {"kronos": {"clip": clip}}}, [])


@KINDS
def test_the_seed_is_honoured(build, walk, kind):
    forecaster = build(kind)
    windows = [walk("A")]
    first = forecaster.forecast(windows, samples=4, seed=1)
    assert np.array_equal(first, forecaster.forecast(windows, samples=4, seed=1))
    assert not np.array_equal(first, forecaster.forecast(windows, samples=4, seed=2))
    assert len({tuple(path) for path in first[0]}) == 4, "samples are independent"


@KINDS
def test_the_future_is_never_read_by_a_forecast(build, walk, kind):
    forecaster, window = build(kind), walk("A")
    other = dataclasses.replace(window, future=np.full_like(window.future, np.nan))
    first, second = (forecaster.forecast([each], samples=2, seed=1) for each in (window, other))
    assert np.array_equal(first, second)


def test_scaled_prices_and_volumes_have_the_same_tokens(build, walk):
    forecaster, window = build(KronosUpstream), walk("A")
    expected = forecaster.sample(window, 3, seed=1)
    for prices, volume in ((4.0, 1.0), (1.0, 0.5), (1024.0, 8.0), (0.5, 2.0)):
        scaled = dataclasses.replace(window, context=window.context * [*[prices] * 4, volume])
        found = forecaster.sample(scaled, 3, seed=1)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@KINDS
def test_the_mean_of_prices_is_the_mean_of_normalised_values_in_prices(build, walk, kind):
    forecaster, window = build(kind), walk("A")
    paths = forecaster.forecast([window], samples=6, seed=1)
    candles = prepare([window])
    scale = candles.deviation[0, 3] + np.float32(1e-5)
    normalised = (paths[0] - candles.mean[0, 3]) / scale
    np.testing.assert_allclose(normalised.mean(0) * scale + candles.mean[0, 3], paths[0].mean(0), rtol=1e-6)


@KINDS
def test_unknown_volume_is_read_as_none(build, walk, kind):
    forecaster, window = build(kind), walk("A")
    context = window.context.copy()
    context[:, 4] = np.nan
    unknown = dataclasses.replace(window, context=context)
    context = window.context.copy()
    context[3, 4] = np.nan
    partly = dataclasses.replace(window, context=context)
    context = window.context.copy()
    context[:, 4] = 0.0
    zero = dataclasses.replace(window, context=context)
    paths = [forecaster.forecast([each], samples=2, seed=1) for each in (unknown, partly, zero)]
    assert np.isfinite(paths[0]).all()
    assert np.array_equal(paths[0], paths[1])
    assert np.array_equal(paths[0], paths[2])
    assert np.isfinite(forecaster.probe([unknown])["s1_logits"]).all()


@KINDS
def test_equal_prices_and_a_single_row_stay_at_the_price(build, walk, kind):
    forecaster = build(kind)
    flat = walk("A")
    flat = dataclasses.replace(flat, context=np.tile([61234.56] * 4 + [10.0], (40, 1)))
    single = walk("B", context=1)
    for window in (flat, single):
        paths = forecaster.forecast([window], samples=3, seed=1)
        assert np.isfinite(paths).all()
        low, high = window.context[-1, :4].min(), window.context[-1, :4].max()
        assert paths.min() > low * 0.999
        assert paths.max() < high * 1.001


BROKEN = {
    "coarse head": "head.proj_s1.weight",
    "fine head": "head.proj_s2.bias",
    "middle of the network": "transformer.1.ffn.w1.weight",
}


@KINDS
@pytest.mark.parametrize("sampling", [{"top_p": 0.9}, {"top_k": 3}, {"top_k": 1}], ids=str)
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("name", BROKEN.values(), ids=BROKEN)
def test_logits_that_are_no_numbers_give_no_forecast(build, walk, kind, sampling, value, name):
    def break_it(network):
        dict(network.named_parameters())[name].data.view(-1)[3] = value

    forecaster = build(kind, {"max_context": 44, **sampling}, alter=break_it)
    windows = [walk("A"), walk("B")]
    paths = forecaster.forecast(windows, samples=2, seed=1)
    assert np.isnan(paths).all()
    assert problem_with(paths, windows, 2).startswith("32 of 32 forecast values are NaN")


@KINDS
def test_a_tokenizer_that_is_broken_gives_no_forecast(build, walk, kind):
    forecaster = build(kind)
    forecaster.tokenizer.quant_embed.bias.data[0] = np.nan
    assert np.isnan(forecaster.forecast([walk("A")], samples=2, seed=1)).all()


def with_a_broken_token(build, kind, token):
    """A forecaster whose embedding of one coarse token is no number."""

    def break_it(network):
        network.embedding.emb_s1.weight.data[token] = np.nan

    return build(kind, bits=8, alter=break_it)


@KINDS
def test_a_broken_token_spoils_the_samples_that_draw_it_and_no_others(build, walk, kind):
    windows = [walk("A"), walk("B")]
    sound = build(kind, bits=8).forecast(windows, samples=4, seed=1)
    coarse = torch.stack([build(KronosUpstream, bits=8).sample(window, 4, seed=1)[0] for window in windows])
    token = next(int(t) for t in coarse[0, 0, 40:] if not (coarse[..., :40] == t).any())
    meets = (coarse == token).any(-1).numpy()
    assert not meets.all()
    paths = with_a_broken_token(build, kind, token).forecast(windows, samples=4, seed=1)
    assert np.array_equal(np.isnan(paths), np.broadcast_to(meets[..., None], paths.shape))
    np.testing.assert_array_equal(paths[~meets], sound[~meets])


def test_a_forecast_after_a_spoiled_one_is_as_if_that_had_never_been(build, walk):
    first, second = walk("A"), walk("C")
    coarse = [build(KronosUpstream, bits=8).sample(window, 2, seed=1)[0] for window in (first, second)]
    token = next(int(t) for t in coarse[0][0, 40:] if not (coarse[1] == t).any())
    static, fresh = (with_a_broken_token(build, KronosStatic, token) for _ in range(2))
    assert np.isnan(static.forecast([first], samples=2, seed=1)).any()
    found = static.forecast([second], samples=2, seed=1)
    assert np.isfinite(found).all()
    assert np.array_equal(found, fresh.forecast([second], samples=2, seed=1))


@KINDS
def test_a_horizon_beyond_the_context_is_refused(build, walk, kind):
    forecaster = build(kind, {"max_context": 16})
    with pytest.raises(UserError, match=r"max_context is 16 and the horizon 17"):
        forecaster.forecast([walk("A", 20, 17)], samples=1, seed=0)


@KINDS
def test_a_price_that_is_no_number_is_named(build, walk, kind):
    window = walk("A")
    context = window.context.copy()
    context[4, 3] = np.nan
    with pytest.raises(UserError, match=r"A/0: a price in its context is not a finite number, first at 2024-02-27T09"):
        build(kind).forecast([dataclasses.replace(window, context=context)], samples=1, seed=0)


def write_checkpoint(folder, module, **changes):
    """A checkpoint of the published layout."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**module.config.model_dump(), **changes}))
    save_file(module.state_dict(), folder / "model.safetensors")
    return str(folder)


@pytest.fixture
def pair(golden, tmp_path):
    """Folders of a model and its tokenizer."""
    return (
        write_checkpoint(tmp_path / "model", golden.network()),
        write_checkpoint(tmp_path / "tokenizer", golden.tokenizer()),
    )


@pytest.mark.parametrize("implementation", [KronosStatic, KronosUpstream])
def test_published_folders_load(golden, pair, implementation):
    model, tokenizer = pair
    settings = {"tokenizer": tokenizer, "max_context": 64, "top_k": 1}
    forecaster = implementation.load(LoadOptions(model, settings=settings))
    paths = forecaster.forecast([golden.window()], samples=1, seed=0)
    np.testing.assert_allclose(paths[0, 0], golden["greedy.growing"][:, 3].numpy(), rtol=1e-6)
    expected = sum(weight.numel() for weight in golden.network().parameters())
    assert forecaster.sizes()["parameters"] == expected


def test_a_tokenizer_of_another_model_is_refused(pair, tmp_path, make_tokenizer):
    other = write_checkpoint(tmp_path / "other", make_tokenizer(5))
    with pytest.raises(UserError, match=r"does not belong to this model.*\(5, 5\), the model \(6, 6\)"):
        KronosUpstream.load(LoadOptions(pair[0], settings={"tokenizer": other}))


def test_swapped_folders_are_refused(pair):
    with pytest.raises(UserError, match=r"tokenizer.config\.json: not a usable ModelConfig: n_layers"):
        KronosUpstream.load(LoadOptions(pair[1], settings={"tokenizer": pair[0]}))


def test_weights_that_do_not_fit_the_configuration_are_refused(golden, pair, tmp_path):
    deeper = write_checkpoint(tmp_path / "deeper", golden.network(), n_layers=4)
    with pytest.raises(UserError, match=r"missing: transformer\.3"):
        KronosUpstream.load(LoadOptions(deeper, settings={"tokenizer": pair[1]}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"temprature": 1}, "temprature"), ({"top_p": 0}, "top_p"), ({"temperature": -1}, "temperature")],
)
def test_settings_that_can_not_be_are_refused(pair, settings, words):
    with pytest.raises(UserError, match=words):
        KronosUpstream.load(LoadOptions(pair[0], settings={"tokenizer": pair[1], **settings}))


def test_stamps_are_the_wall_clocks(build, walk):
    """The published code reads minute, hour, weekday, day and month from the times as the file has them."""
    window = walk("A")
    tokyo = dataclasses.replace(window, wall=window.timestamps + np.timedelta64(9, "h"))
    found, utc = prepare([tokyo]).stamps[0], prepare([window]).stamps[0]
    assert np.array_equal(utc, stamps(window.timestamps))
    assert np.array_equal(found, stamps(window.timestamps + np.timedelta64(9, "h")))
    assert (found[:, 1] == (utc[:, 1] + 9) % 24).all() and (found[:, 3] != utc[:, 3]).any()
    forecaster = build(KronosUpstream)
    paths = [forecaster.forecast([each], samples=2, seed=1) for each in (window, tokyo)]
    assert not np.array_equal(*paths), "the clock reaches the model"


def test_the_amount_of_the_file_is_used_and_what_is_missing_is_volume_times_mean_price(walk):
    window = walk("A")
    rows = np.concatenate((window.context, window.future))
    usual = rows[:, 4] * rows[:, :4].mean(axis=1)
    given = usual * np.linspace(0.5, 2.0, len(rows))
    given[3] = np.nan
    found = with_amount(rows, len(window.context), given)[:, 5]
    expected = np.where(np.isnan(given), usual, given).astype(np.float32)
    assert np.array_equal(found, expected)
    candles = prepare([dataclasses.replace(window, amount=given)])
    np.testing.assert_allclose(candles.mean[0, 5], expected[: len(window.context)].mean(), rtol=1e-6)
    unknown = rows.copy()
    unknown[2, 4] = np.nan
    assert not with_amount(unknown, len(window.context), given)[:, 4:].any(), "no volume: both are 0, as published"
