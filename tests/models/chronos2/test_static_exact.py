"""The static engine against the published code, on the same random weights: every shape, with values missing."""

from __future__ import annotations

import math

import pytest
import torch

from greenlight_forecasters.chronos2.engine import Chronos2Engine
from greenlight_forecasters.chronos2.published import load_published
from greenlight_forecasters.engine.linear import PackedLinear
from tests.models.chronos2.conftest import random_checkpoint

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
# windows, variates, context, horizon
SHAPES = [
    (1, 1, 16, 1),
    (1, 1, 17, 48),
    (3, 1, 512, 30),
    (5, 4, 130, 49),
    (2, 8, 200, 240),
    (9, 3, 77, 17),
    (33, 2, 96, 16),
    (256, 1, 20, 7),
    (1, 2, 1000, 300),
    (1, 1, 2048, 1024),
    (1, 1, 8192, 30),
]


@pytest.fixture(scope="module")
def engines(folder):
    return {dtype: Chronos2Engine.from_checkpoint(folder, dtype=dtype) for dtype in TOLERANCE}


def prices(windows, variates, length, missing=0.1):
    generator = torch.Generator().manual_seed(length)
    found = 100 + torch.randn(windows, variates, length, generator=generator, dtype=torch.float64).cumsum(-1)
    found[torch.rand(found.shape, generator=generator) < missing] = torch.nan
    if missing and length > 64:
        found[0, 0, : length // 2] = torch.nan  # whole patches
    return found


def reference(pipeline, contexts, horizon):
    """The published quantiles [windows, variates, levels, horizon]."""
    if pipeline.model.dtype == torch.float32:
        found, _ = pipeline.predict_quantiles(list(contexts), horizon, pipeline.quantiles)
        return torch.stack(found).transpose(2, 3)
    windows, variates, _ = contexts.shape
    with torch.no_grad():
        found = pipeline.model(
            context=contexts.flatten(0, 1),
            group_ids=torch.arange(windows).repeat_interleave(variates),
            num_output_patches=math.ceil(horizon / 16),
        ).quantile_preds
    return found.unflatten(0, (windows, variates))[..., :horizon]


def difference(found, expected):
    """Of the largest number that is expected."""
    assert found.shape == expected.shape and expected.isfinite().all()
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_as_published(engines, published, shape, dtype):
    *size, horizon = shape
    contexts = prices(*size)
    expected = reference(published[dtype], contexts, horizon)
    assert difference(engines[dtype].quantiles(contexts, horizon), expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("missing", [0.0, 0.95])
def test_with_nothing_or_nearly_all_missing(engines, published, missing):
    contexts = prices(4, 2, 160, missing)
    contexts[1, 0] = torch.nan if missing else 7.0  # unknown altogether, or always the same
    for dtype, tolerance in TOLERANCE.items():
        expected = reference(published[dtype], contexts, 20)
        assert difference(engines[dtype].quantiles(contexts, 20), expected) <= tolerance


def test_what_is_called_published_in_float64_is_the_published_function(folder, published):
    contexts = prices(3, 4, 130)
    rounded = load_published(folder)
    rounded.model.double()
    found, expected = (reference(one, contexts, 40) for one in (published[torch.float64], rounded))
    assert 0 < difference(found, expected) < 1e-5


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_windows_do_not_see_each_other(engines, dtype):
    contexts = prices(7, 3, 150)
    together = engines[dtype].quantiles(contexts, 33)
    alone = torch.cat([engines[dtype].quantiles(one[None], 33) for one in contexts])
    assert difference(together, alone) <= TOLERANCE[dtype]
    others = contexts.clone()
    others[1:] = 5.0
    assert torch.equal(engines[dtype].quantiles(others, 33)[0], together[0])


def test_variates_of_a_window_see_each_other(engines):
    contexts = prices(2, 3, 100)
    others = contexts.clone()
    others[0, 1] *= -1
    found, expected = (engines[torch.float64].quantiles(one, 5) for one in (others, contexts))
    assert difference(found[0, 0], expected[0, 0]) > 1e-6
    assert torch.equal(found[1], expected[1])


def test_what_an_earlier_call_left_behind_changes_nothing(folder):
    used, fresh = (Chronos2Engine.from_checkpoint(folder) for _ in range(2))
    used.quantiles(prices(16, 4, 128, 0.0) * 1e4, 48)
    contexts = prices(11, 4, 90)
    assert torch.equal(used.quantiles(contexts, 3), fresh.quantiles(contexts, 3))


def test_layers_so_large_that_they_are_packed(tmp_path):
    random_checkpoint(tmp_path, d_ff=1 << 13)
    engine, pipeline = Chronos2Engine.from_checkpoint(tmp_path), load_published(tmp_path)
    assert any(isinstance(module, PackedLinear) for module in engine.network.modules())
    contexts = prices(2, 2, 100)
    assert difference(engine.quantiles(contexts, 20), reference(pipeline, contexts, 20)) <= 1e-5


def test_a_longer_context_than_the_models_is_cut(engines, published):
    contexts = prices(1, 1, 8200)
    assert torch.equal(
        engines[torch.float32].quantiles(contexts, 4), engines[torch.float32].quantiles(contexts[..., -8192:], 4)
    )
    expected = reference(published[torch.float32], contexts, 4)
    assert difference(engines[torch.float32].quantiles(contexts, 4), expected) <= 1e-5
