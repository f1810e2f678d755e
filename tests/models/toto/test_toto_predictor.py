"""The predictor gives what the published `TotoForecaster` gives without its KV cache, on the same weights."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import stats

from greenlight.errors import UserError
from greenlight.watch.health import HealthRecorder
from greenlight_forecasters.deploy import accelerate
from greenlight_forecasters.engine.service import NotWarmed
from greenlight_forecasters.toto.published import MaskedTimeseries, TotoForecaster
from tests.models.toto.published_toto import random_toto, walk

SMALL = {"num_layers": 4, "spacewise_every_n_layers": 2, "sharpness": 3.0}
# As in test_static_samples.
ERROR_RATE = 1e-6


def forecaster(**changes):
    toto, _ = random_toto(seed=3, **SMALL | changes)
    return TotoForecaster(toto.model)


def masked(series, padding_mask=None, id_mask=None, **others):
    series = series.float()
    return MaskedTimeseries(
        series=series,
        padding_mask=torch.ones_like(series, dtype=torch.bool) if padding_mask is None else padding_mask,
        id_mask=torch.zeros_like(series, dtype=torch.int) if id_mask is None else id_mask,
        timestamp_seconds=torch.zeros_like(series, dtype=torch.int),
        time_interval_seconds=torch.zeros(series.shape[:-1], dtype=torch.int),
        **others,
    )


def gaps(series):
    mask = torch.ones_like(series, dtype=torch.bool)
    mask[..., 10:14] = False
    return mask


@pytest.mark.parametrize("length", [96, 100])
@pytest.mark.parametrize("horizon", [7, 16, 40])
@pytest.mark.parametrize("kind", ["one", "unbatched", "variates", "groups", "gaps"])
def test_the_mean_is_the_published_one(kind, horizon, length):
    published = forecaster()
    series = walk(1, 2, {"one": 1}.get(kind, 3), length)
    groups = torch.tensor([[0, 0, 1], [4, 2, 4]], dtype=torch.int)[..., None]
    inputs = {
        "one": lambda: masked(series),
        "unbatched": lambda: masked(series[0]),
        "variates": lambda: masked(series),
        "groups": lambda: masked(series, id_mask=groups.expand(-1, -1, length)),
        "gaps": lambda: masked(series, padding_mask=gaps(series)),
    }[kind]()
    expected = published.forecast(inputs, horizon, use_kv_cache=False)
    found = accelerate(published, mode="eager").forecast(inputs, horizon)
    assert found.samples is None and found.mean.dtype == expected.mean.dtype
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-4)


def test_samples_are_distributed_as_the_published_ones():
    published = forecaster()
    inputs = masked(walk(0, 1, 2, 96))
    torch.manual_seed(1)
    expected = published.forecast(inputs, 30, 1000, 1000, use_kv_cache=False)
    found = accelerate(published, mode="eager").forecast(inputs, 30, num_samples=1000, samples_per_batch=100)
    assert found.samples.shape == expected.samples.shape == (1, 2, 30, 1000)
    rows = [(variate, row) for variate in (0, 1) for row in (0, 7, 15, 16, 29)]
    worst = min(stats.ks_2samp(found.samples[0, v, r], expected.samples[0, v, r]).pvalue for v, r in rows)
    assert worst > ERROR_RATE / len(rows)
    for name in ("mean", "median", "std"):
        assert getattr(found, name).shape == getattr(expected, name).shape
    torch.testing.assert_close(found.mean, found.samples.mean(-1))
    torch.testing.assert_close(found.quantile(0.5), found.samples.quantile(0.5, dim=-1))


def test_torchs_seed_fixes_the_draws_and_batches_change_nothing():
    accelerated = accelerate(forecaster(), mode="eager")
    inputs = masked(walk(0, 2, 1, 64))
    found = []
    for seed, at_once in ((1, 10), (1, 3), (2, 10)):
        torch.manual_seed(seed)
        found.append(accelerated.forecast(inputs, 20, num_samples=12, samples_per_batch=at_once).samples)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found[0], found[2])


def test_what_can_not_be_honoured_is_refused():
    accelerated = accelerate(forecaster(), mode="eager")
    series = walk(0, 1, 2, 64)
    with pytest.raises(UserError, match="exogenous variables"):
        accelerated.forecast(masked(series, num_exogenous_variables=1), 8)
    with pytest.raises(UserError, match="exogenous variables"):
        accelerated.forecast(masked(series), 8, future_exogenous_variables=torch.zeros(1, 1, 8))
    changing = torch.zeros(1, 2, 64, dtype=torch.int)
    changing[..., 40:] = 1
    with pytest.raises(UserError, match="id_mask changes along a series"):
        accelerated.forecast(masked(series, id_mask=changing), 8)
    series[0, 0, 3] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        accelerated.forecast(masked(series), 8)
    half = forecaster()
    half.model.bfloat16()
    with pytest.raises(UserError, match="expected float32 or float64"):
        accelerate(half)
    assert accelerate(forecaster(), mode="eager", policy="refuse").forecast(masked(walk(0, 1, 1, 64)), 8)


def test_weights_of_the_users_own_model_that_change_are_noticed():
    published = forecaster()
    accelerated = accelerate(published, mode="eager")
    with torch.no_grad():
        published.model.unembed.weight.mul_(2.0)
    with pytest.raises(UserError, match=r"forecaster\.model\.unembed\.weight was written to"):
        accelerated.forecast(masked(walk(0, 1, 1, 64)), 8)


def test_many_threads_and_autocast():
    accelerated = accelerate(forecaster(), mode="eager")
    inputs = [masked(walk(number, 1, 1, 64)) for number in range(4)]
    expected = [accelerated.forecast(one, 20).mean for one in inputs]
    together = threading.Barrier(4)

    def run(_):
        together.wait()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return [accelerated.forecast(one, 20).mean for one in inputs]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(run, range(4)):
            assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.slow
def test_two_hundred_calls_with_a_growing_context_compile_four_graphs_and_are_exact():
    """As production calls it: a row ahead, samples, the context a row longer at each call.

    The first shape is warmed with a longer horizon and is not mentioned; the one that is not warmed is, once.
    """
    published = forecaster(num_layers=2)
    accelerated = accelerate(published, mode="default")
    series = walk(1, 1, 1, 300)
    mentioned = {}
    with HealthRecorder() as recorder:
        accelerated.warm_up(100, 9, samples=8)
        for length in range(100, 300):
            inputs = masked(series[..., :length])
            torch.manual_seed(length)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                found = accelerated.forecast(inputs, 1, num_samples=8)
            if said:
                mentioned[length] = [(one.category, "compiled within the call" in str(one.message)) for one in said]
            assert found.samples.shape[-1] == 8
            if length % 20 == 0:
                exact = accelerate(published, mode="eager")
                torch.manual_seed(length)
                expected = exact.forecast(inputs, 1, num_samples=8)
                np.testing.assert_allclose(found.samples, expected.samples, rtol=1e-4, atol=1e-4)
    assert recorder.record()["graphs"] <= 4
    assert list(mentioned.values()) == [[(NotWarmed, True)]] and min(mentioned) > 100, mentioned
