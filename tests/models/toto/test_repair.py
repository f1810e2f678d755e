"""The repair of the published KV cache: what was wrong, that it is right afterwards, and that nothing else changed."""

from __future__ import annotations

import types

import pytest
import torch

from greenlight.watch.health import HealthRecorder
from greenlight_forecasters.toto.published import MaskedTimeseries, TotoForecaster
from greenlight_forecasters.toto.repair import repair_kv_cache
from tests.models.toto.published_toto import random_toto, walk

HORIZON = 48


def model(**changes):
    toto, _ = random_toto(seed=1, sharpness=6.0, **changes)
    return toto.double()


def forecast(toto, *, cached, samples=None, horizon=HORIZON):
    series = walk(0, 2, 2, 96)
    inputs = MaskedTimeseries(
        series=series,
        padding_mask=torch.ones_like(series, dtype=torch.bool),
        id_mask=torch.zeros_like(series, dtype=torch.int),
        timestamp_seconds=torch.zeros_like(series, dtype=torch.int),
        time_interval_seconds=torch.zeros(series.shape[:2], dtype=torch.int),
    )
    torch.manual_seed(0)
    found = TotoForecaster(toto.model).forecast(inputs, horizon, samples, samples or 10, use_kv_cache=cached)
    return found.mean if samples is None else found.samples


def difference(a, b):
    return ((a - b).abs() / b.abs().clamp_min(1.0)).amax(dim=(0, 1))


def centre_at(toto, centre):
    """Only the xPos centre of the published rotary embedding changes, to a constant."""

    def get_scale(self, t):
        power = (t - centre) / self.scale_base
        scale = self.scale ** power[..., None]
        return torch.cat((scale, scale), dim=-1)

    rotary = toto.model.transformer.rotary_emb
    rotary.get_scale = types.MethodType(get_scale, rotary)
    return toto


def test_upstreams_cached_decoding_is_not_its_uncached_one_and_the_xpos_centre_is_why():
    """If the first assertion fails, toto-ts has repaired its cache: the repair's third part can go."""
    wrong = difference(forecast(model(), cached=True), forecast(model(), cached=False))
    assert wrong[16:].max() > 1e-6, (
        "toto-ts now decodes with its cache as without: see docs/toto.md and retire the repair"
    )
    assert wrong[:16].max() < 1e-12, "the first patch does not use what the cache holds"
    mended = centre_at(model(), centre=0)
    assert difference(forecast(mended, cached=True), forecast(mended, cached=False)).max() < 1e-12
    # The centre is irrelevant to the uncached run: it is the same for query and key.
    assert difference(forecast(mended, cached=False), forecast(model(), cached=False)).max() < 1e-12


def test_repaired_cached_decoding_is_the_uncached_one():
    expected = forecast(model(), cached=False)
    assert difference(forecast(repair_kv_cache(model()), cached=True), expected).max() < 1e-12


@pytest.mark.parametrize("samples", [None, 8])
@pytest.mark.parametrize("cached", [True, False])
def test_but_for_the_centre_every_bit_stays(cached, samples):
    repaired = repair_kv_cache(model(), constant_centre=False)
    assert torch.equal(
        forecast(repaired, cached=cached, samples=samples), forecast(model(), cached=cached, samples=samples)
    )
    assert torch.equal(
        forecast(repair_kv_cache(model()), cached=cached, samples=samples),
        forecast(centre_at(model(), centre=0), cached=cached, samples=samples),
    )


def test_backbone_alone_can_be_repaired():
    toto = model()
    assert repair_kv_cache(toto.model) is toto.model
    assert torch.equal(forecast(toto, cached=True), forecast(repair_kv_cache(model()), cached=True))


def test_state_dict_keeps_its_names():
    before, after = model().state_dict(), repair_kv_cache(model()).state_dict()
    assert list(before) == list(after)


def test_a_full_cache_is_an_error():
    toto = repair_kv_cache(model())
    cache = toto.model.allocate_kv_cache(1, 1, 32, torch.device("cpu"), torch.float64)
    tokens = torch.zeros(1, 4, 3, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="holds 2 tokens"):
        cache.append(0, (tokens, tokens))


def test_a_compiled_model_is_refused():
    with pytest.raises(TypeError, match="not yet compiled"):
        repair_kv_cache(torch.compile(model().model))


def test_graph_breaks_of_cached_attention_go_away():
    def breaks(toto):
        torch._dynamo.reset()
        attention = torch.compile(toto.model.transformer.layers[0].attention, backend="eager")
        cache = toto.model.allocate_kv_cache(1, 1, 96, torch.device("cpu"), torch.float64)
        hidden = torch.ones(1, 1, 4, 32, dtype=torch.float64)
        with HealthRecorder() as recorder, torch.no_grad():
            for tokens in (4, 1, 1):
                attention(0, hidden[:, :, :tokens], None, cache)
        return recorder.record()["graph_breaks"]

    assert len(breaks(model())) > 0
    assert breaks(repair_kv_cache(model())) == []
