"""The static engine computes what the published code computes without its cache."""

from __future__ import annotations

import pytest
import torch

from greenlight_forecasters.toto.static import TotoEngine
from tests.models.toto.published_toto import largest_difference, random_toto, save_checkpoint, uncached, walk

PATCH = 16
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Makes (published float64 backbone, engine of a dtype) on the same weights."""
    known = {}

    def make(dtype, **changes):
        key = (dtype, tuple(sorted(changes.items())))
        if key not in known:
            toto, configuration = random_toto(**changes)
            folder = save_checkpoint(toto, configuration, tmp_path_factory.mktemp("toto"))
            engine = TotoEngine.from_checkpoint(folder, dtype=dtype, windows_per_batch=3, samples_per_batch=4)
            known[key] = toto.double().model, engine
        return known[key]

    return make


def assert_exact(pair, dtype, series, truth, observed=None, groups=None, **changes):
    backbone, engine = pair(dtype, **changes)
    expected = uncached(backbone, series, truth, observed, groups)
    found = engine.teacher_forced(series, truth, observed=observed, groups=groups)
    assert largest_difference(found, expected) <= TOLERANCE[dtype]


def patches(seed, series, count):
    """What follows each series: `count` patches of a walk that goes on from its last value."""
    steps = walk(seed, *series.shape[:2], count * PATCH) * series.diff(dim=-1).abs().mean()
    return (
        (steps + series[..., -1:]).float().double().unflatten(-1, (count, PATCH))
        if count
        else steps.unflatten(-1, (0, PATCH))
    )


@DTYPES
@pytest.mark.parametrize("sharpness", [1.0, 6.0])
@pytest.mark.parametrize("variates", [1, 3, 8])
def test_variates_and_sharp_attention(pair, dtype, variates, sharpness):
    series = walk(variates, 2, variates, 192)
    assert_exact(pair, dtype, series, patches(1, series, 4), sharpness=sharpness)


@DTYPES
def test_groups_keep_variates_apart(pair, dtype):
    series = walk(5, 3, 4, 96)
    groups = torch.tensor([[0, 0, 1, 1], [7, 2, 7, 2], [1, 2, 3, 4]])
    assert_exact(pair, dtype, series, patches(2, series, 2), groups=groups)
    _, engine = pair(dtype)
    together = engine.teacher_forced(series, patches(2, series, 2))
    apart = engine.teacher_forced(series, patches(2, series, 2), groups=groups)
    assert largest_difference(apart, together) > 1e-3


@DTYPES
@pytest.mark.parametrize("context", [1, 15, 64, 100, 129, 1000, 4096])
def test_contexts_also_where_not_whole_patches(pair, dtype, context):
    series = walk(context, 1, 1, context) + 3.0
    truth = walk(9, 1, 1, 2 * PATCH).unflatten(-1, (2, PATCH)) if context == 1 else patches(3, series, 2)
    assert_exact(pair, dtype, series, truth)


@DTYPES
@pytest.mark.parametrize("horizon", [1, 16, 17, 96, 336, 720])
def test_horizons(pair, dtype, horizon):
    series = walk(4, 1, 2, 128)
    assert_exact(pair, dtype, series, patches(horizon, series, -(-horizon // PATCH) - 1), sharpness=3.0)


@DTYPES
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_scales(pair, dtype, scale):
    series = (walk(6, 2, 2, 128) * scale).float().double()
    assert_exact(pair, dtype, series, patches(4, series, 3))


@DTYPES
@pytest.mark.parametrize("kind", ["constant", "zero", "jumps", "missing", "missing start"])
def test_kinds_of_series(pair, dtype, kind):
    series = walk(8, 2, 2, 160)
    observed = None
    if kind == "constant":
        series = torch.full_like(series, 12.5)
    elif kind == "zero":
        series = torch.zeros_like(series)
    elif kind == "jumps":
        series[..., 70:] += 1000.0
        series[..., 140] = -5000.0
    else:
        # Missing as published: some number under a False mask.
        observed = torch.ones_like(series, dtype=torch.bool)
        observed[:, 0, slice(40, 75) if kind == "missing" else slice(0, 80)] = False
        series = torch.where(observed, series, 0.0)
    truth = walk(10, 2, 2, 3 * PATCH).unflatten(-1, (3, PATCH)) + series[..., -1:, None]
    assert_exact(pair, dtype, series, truth.float().double(), observed)


@DTYPES
@pytest.mark.parametrize(
    "changes",
    [
        {"spacewise_first": True},
        {"spacewise_every_n_layers": -1},
        {"spacewise_every_n_layers": 1},
        {"stabilize_with_global": False},
        {"scale_factor_exponent": 0.1},
    ],
    ids=lambda changes: "-".join(f"{k}={v}" for k, v in changes.items()),
)
def test_architectures(pair, dtype, changes):
    series = walk(11, 2, 3, 96)
    series[..., 60:] *= 4.0
    assert_exact(pair, dtype, series, patches(5, series, 2), **changes)


@pytest.mark.parametrize("variates", [1, 3])
@pytest.mark.parametrize("horizon", [7, 16, 50])
def test_mean_path_is_the_published_uncached_one(pair, variates, horizon):
    backbone, engine = pair(torch.float64, sharpness=3.0)
    from greenlight_forecasters.toto.published import MaskedTimeseries, TotoForecaster

    series = walk(variates + horizon, 2, variates, 90)
    inputs = MaskedTimeseries(
        series=series,
        padding_mask=torch.ones_like(series, dtype=torch.bool),
        id_mask=torch.zeros_like(series, dtype=torch.int),
        timestamp_seconds=torch.zeros_like(series, dtype=torch.int),
        time_interval_seconds=torch.zeros(2, variates, dtype=torch.int),
    )
    expected = TotoForecaster(backbone).forecast(inputs, horizon, use_kv_cache=False).mean
    torch.testing.assert_close(engine.mean(series, horizon), expected, rtol=1e-12, atol=1e-12)


def test_bfloat16_keeps_prices_exact(pair, tmp_path):
    toto, configuration = random_toto()
    folder = save_checkpoint(toto, configuration, tmp_path)
    half = TotoEngine.from_checkpoint(folder, dtype=torch.bfloat16)
    series = (walk(12, 2, 1, 96) + 30000.0).float().double()
    found = half.teacher_forced(series, patches(6, series, 2))
    expected = uncached(toto.double().model, series, patches(6, series, 2))
    for name in ("scaler_loc", "scaler_scale"):
        torch.testing.assert_close(getattr(found, name).double(), getattr(expected, name), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(found.loc.double(), expected.loc, rtol=0.0, atol=0.1)
