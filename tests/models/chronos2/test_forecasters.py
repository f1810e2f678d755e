"""Chronos-2 through the gate's door: the published pipeline and our engine on the same windows, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from greenlight.api import CLOSE, LoadOptions, UserError
from greenlight.data.windows import practice_windows
from greenlight.files import write_json
from greenlight.weights import read_config
from greenlight_forecasters.chronos2 import LEVELS
from greenlight_forecasters.chronos2.plugin import MODEL, Chronos2Settings
from greenlight_forecasters.chronos2.published import load_published
from greenlight_forecasters.chronos2.static import Chronos2Static
from greenlight_forecasters.chronos2.upstream import Chronos2Upstream

CLASSES = (Chronos2Upstream, Chronos2Static)
WINDOWS = practice_windows(3, 90, 20, seed=1)


def load(kind, folder, dtype="float32", **settings):
    return kind.load(LoadOptions(str(folder), dtype=dtype, settings=settings))


def with_gaps(window):
    context = window.context.copy()
    context[10:40, CLOSE] = np.nan
    return replace(window, context=context)


@pytest.mark.parametrize("beside", [(), ("open", "high", "low")])
@pytest.mark.parametrize("gaps", [False, True])
def test_both_forecast_the_same_quantiles(folder, beside, gaps):
    windows = [with_gaps(one) for one in WINDOWS] if gaps else WINDOWS
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        upstream, static = (load(kind, folder, dtype, beside=beside) for kind in CLASSES)
        found, expected = (one.forecast(windows, 16, 0) for one in (static, upstream))
        assert expected.shape == (3, len(LEVELS), 20) and expected.dtype == np.float64
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
        probes = [one.probe(windows)["quantiles"] for one in (static, upstream)]
        assert probes[0].shape == (3, 1, len(LEVELS), 20)
        assert np.abs(probes[0] - probes[1]).max() <= tolerance * 100 * np.abs(probes[1]).max()


def test_upstream_is_the_published_call(folder):
    found = load(Chronos2Upstream, folder).forecast(WINDOWS, 16, 0)
    contexts = [torch.tensor(window.context[:, CLOSE]) for window in WINDOWS]
    quantiles, _ = load_published(folder).predict_quantiles(contexts, 20, quantile_levels=list(LEVELS))
    assert np.array_equal(found, torch.stack(quantiles)[:, 0].transpose(1, 2).double().numpy())


def test_columns_beside_close_matter_and_close_alone_is_forecast(folder):
    alone, beside = (load(Chronos2Static, folder, beside=names) for names in ((), ("open", "volume")))
    assert np.abs(alone.forecast(WINDOWS, 1, 0) - beside.forecast(WINDOWS, 1, 0)).max() > 1e-3


def test_the_future_is_not_seen(folder):
    blind = [replace(window, future=window.future * np.nan) for window in WINDOWS]
    for kind in CLASSES:
        forecaster = load(kind, folder)
        assert np.array_equal(forecaster.forecast(WINDOWS, 1, 0), forecaster.forecast(blind, 1, 0))


def test_published_attention_of_both_kinds(folder):
    found, expected = (
        load(Chronos2Upstream, folder, attention=kind).forecast(WINDOWS, 1, 0) for kind in ("eager", "sdpa")
    )
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_compiling_upstream_compiles_what_the_pipeline_calls(folder):
    forecaster = load(Chronos2Upstream, folder)
    forecaster.compile("default")
    pipeline = forecaster.pipeline
    assert isinstance(pipeline.model, torch._dynamo.OptimizedModule)
    assert pipeline.model._orig_mod is pipeline.inner_model


@pytest.mark.parametrize("kind", CLASSES)
def test_a_horizon_beyond_one_pass(folder, kind):
    with pytest.raises(UserError, match=r"horizon 1030: .* 1 to 1024 rows"):
        load(kind, folder).forecast(practice_windows(1, 40, 1030, seed=1), 1, 0)


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the checkpoint that a test may damage; the weights are a link."""
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    write_json(tmp_path / "config.json", read_config(folder))
    return tmp_path


@pytest.mark.parametrize("kind", CLASSES)
class TestRefused:
    def test_an_adapter_that_is_not_merged(self, kind, copied):
        write_json(copied / "adapter_config.json", {})
        with pytest.raises(UserError, match=r"adapter_config\.json: .* merge it first"):
            load(kind, copied)

    def test_pickled_weights(self, kind, copied):
        (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
        with pytest.raises(UserError, match=r"models\.chronos-2\.source: .* lacks model\.safetensors"):
            load(kind, copied)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("d_model", 48, "model.safetensors"),
            ("num_layers", 3, "missing: encoder.block.2"),
            ("feed_forward_proj", "gated-gelu", "feed_forward_proj is 'gated-gelu'"),
            ("architectures", ["ChronosBoltModelForForecasting"], "expected the configuration of a Chronos2Model"),
            ("chronos_config", None, "chronos_config is of type NoneType"),
            ("d_kv", None, "'d_kv' is missing"),
        ],
    )
    def test_another_configuration(self, kind, copied, key, value, message):
        config = read_config(copied) | {key: value}
        if key == "d_kv":
            del config[key]
        write_json(copied / "config.json", config)
        with pytest.raises(UserError, match=message):
            load(kind, copied)

    def test_other_quantiles_than_the_gate_compares(self, kind, copied):
        config = read_config(copied)
        config["chronos_config"]["quantiles"][0] = 0.02
        write_json(copied / "config.json", config)
        with pytest.raises(UserError, match=r"forecasts quantiles \(0\.02"):
            load(kind, copied).forecast(WINDOWS, 1, 0)


def test_the_plug_in():
    assert MODEL.forecast.levels == LEVELS and not MODEL.forecast.random
    settings = Chronos2Settings(beside=("open", "low"))
    assert settings.own() == {"beside": ["open", "low"], "attention": "sdpa"}
    assert {f"{name}-reduce-overhead" for name in ("upstream", "static")} <= set(MODEL.variants_of(settings))
    with pytest.raises(ValueError, match="named twice"):
        Chronos2Settings(beside=("open", "open"))
