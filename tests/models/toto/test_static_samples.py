"""Sample paths of the static engine: their distribution, their seeds, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from greenlight_forecasters.toto.published import MaskedTimeseries, TotoForecaster
from greenlight_forecasters.toto.static import TotoEngine
from greenlight_forecasters.toto.static.mixture import Mixture, draw
from tests.models.toto.published_toto import random_toto, save_checkpoint, walk

HORIZON = 40
# The chance that a right implementation fails a test of distribution here is below this, over all its comparisons;
# with the fixed seeds it passes always or never.
ERROR_RATE = 1e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    toto, configuration = random_toto(seed=3, sharpness=4.0)
    return save_checkpoint(toto, configuration, tmp_path_factory.mktemp("toto"))


@pytest.fixture(scope="module")
def engine(folder):
    return TotoEngine.from_checkpoint(folder, dtype=torch.float64, windows_per_batch=4, samples_per_batch=16)


def test_draws_follow_the_mixture():
    generator = torch.Generator().manual_seed(0)
    df, loc = torch.tensor([2.05, 4.0, 80.0]), torch.tensor([-3.0, 0.0, 2.0])
    scale, weights = torch.tensor([0.5, 1.0, 0.2]), torch.tensor([0.3, 0.5, 0.2])
    count = 200_000
    one = Mixture(*(p.expand(1, 1, -1) for p in (df, loc, scale, weights)), torch.tensor([5.0]), torch.tensor([2.0]))
    prices = draw(one, torch.rand(3, count, 1, generator=generator))[:, 0].double().numpy()

    parts = list(zip(df.numpy(), loc.numpy(), scale.numpy(), weights.numpy(), strict=True))

    def cdf(x):
        scaled = (x - 5.0) / 2.0
        return sum(w * stats.t.cdf((scaled - m) / s, d) for d, m, s, w in parts)

    assert stats.kstest(prices, cdf).pvalue > ERROR_RATE
    assert stats.kstest(prices * 1.02, cdf).pvalue < ERROR_RATE, "the test would not see an error of 2%"
    tail = np.mean(np.abs(prices - 5.0) > 40.0)
    expected = cdf(-35.0) + 1.0 - cdf(45.0)
    assert stats.binomtest(int(tail * count), count, expected).pvalue > ERROR_RATE


def test_unusable_draws_become_zero():
    parameters = (torch.full((1, 1, 1), value) for value in (4.0, 0.0, 1.0, 1.0))
    one = Mixture(*parameters, torch.tensor([3e38]), torch.tensor([1.0]))
    assert draw(one, torch.full((3, 1, 1), 0.5)).item() == 0.0


def test_samples_are_distributed_as_upstreams(folder, engine):
    """Marginals of several rows of both patches, and of the path's change between patches, by Kolmogorov-Smirnov."""
    toto, _ = random_toto(seed=3, sharpness=4.0)
    series = walk(0, 1, 2, 96)
    samples = 1200
    torch.manual_seed(1)
    inputs = MaskedTimeseries(
        series=series.float(),
        padding_mask=torch.ones_like(series, dtype=torch.bool),
        id_mask=torch.zeros_like(series, dtype=torch.int),
        timestamp_seconds=torch.zeros_like(series, dtype=torch.int),
        time_interval_seconds=torch.zeros(1, 2, dtype=torch.int),
    )
    published = TotoForecaster(toto.model).forecast(inputs, HORIZON, samples, samples, use_kv_cache=False)
    expected = published.samples[0].permute(0, 2, 1).numpy()
    found = engine.sample(series, HORIZON, samples, [7])[0].numpy()
    comparisons = [(paths[v, :, row]) for paths in (found, expected) for v in (0, 1) for row in (0, 9, 15, 16, 30, 39)]
    comparisons += [
        paths[v, :, 16:32].mean(-1) - paths[v, :, :16].mean(-1) for paths in (found, expected) for v in (0, 1)
    ]
    ours, theirs = comparisons[:12] + comparisons[24:26], comparisons[12:24] + comparisons[26:]
    worst = min(stats.ks_2samp(a, b).pvalue for a, b in zip(ours, theirs, strict=True))
    assert worst > ERROR_RATE / len(ours)
    spread = ours[0].std()
    assert stats.ks_2samp(ours[0] + 0.4 * spread, theirs[0]).pvalue < ERROR_RATE, "the test would not see a shift"


def test_every_path_is_another_one(engine):
    paths = engine.sample(walk(1, 2, 1, 64), HORIZON, 50, [1, 2]).flatten(0, 2)
    assert len(torch.unique(paths, dim=0)) == 100
    assert (paths.diff(dim=-1) != 0).all()


def test_seed_is_honoured(engine):
    series = walk(2, 1, 1, 64)
    first = engine.sample(series, HORIZON, 20, [5])
    assert torch.equal(first, engine.sample(series, HORIZON, 20, [5]))
    assert not torch.equal(first, engine.sample(series, HORIZON, 20, [6]))


def test_results_do_not_depend_on_the_batch(engine):
    series, seeds = walk(3, 9, 2, 64), list(range(9))
    together = engine.sample(series, HORIZON, 20, seeds)
    backwards = engine.sample(series.flip(0), HORIZON, 20, seeds[::-1]).flip(0)
    alone = torch.cat([engine.sample(series[i : i + 1], HORIZON, 20, [i]) for i in range(9)])
    for other in (backwards, alone):
        torch.testing.assert_close(other, together, rtol=1e-9, atol=1e-9)


def test_results_do_not_depend_on_how_many_paths_are_decoded_at_once(folder, engine):
    series = walk(4, 2, 1, 64)
    wide = TotoEngine.from_checkpoint(folder, dtype=torch.float64, samples_per_batch=64)
    torch.testing.assert_close(
        wide.sample(series, HORIZON, 50, [1, 2]), engine.sample(series, HORIZON, 50, [1, 2]), rtol=1e-9, atol=1e-9
    )


def test_global_random_state_is_left_alone(engine):
    state = torch.get_rng_state()
    engine.sample(walk(5, 1, 1, 64), HORIZON, 5, [0])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("left", [torch.nan, torch.inf, 0.0])
def test_what_no_step_has_written_to_the_caches_is_not_seen(engine, left):
    """Room for steps to come is not cleared: it holds whatever lay there."""
    series = walk(0, 1, 1, 64)
    expected = engine.sample(series, 40, 8, [1])
    for decode in engine._decodes.values():
        for cache in decode.caches.values():
            cache.keys.fill_(left)
            cache.values.fill_(left)
    assert torch.equal(engine.sample(series, 40, 8, [1]), expected)


def test_a_poisoned_batch_poisons_no_other(engine):
    series = walk(6, 2, 1, 64)
    expected = engine.sample(series, HORIZON, 20, [1, 2])
    extreme = torch.full_like(series, 1e300)
    engine.sample(extreme, HORIZON, 20, [1, 2])
    assert torch.equal(engine.sample(series, HORIZON, 20, [1, 2]), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"series": torch.full((1, 1, 64), torch.nan)}, "not finite"),
        ({"observed": torch.ones(1, 1, 32, dtype=torch.bool)}, "expected observed"),
        ({"observed": torch.ones(1, 1, 64)}, "expected observed"),
        ({"groups": torch.zeros(1, 2)}, "expected groups"),
        ({"seeds": [1, 2]}, "2 seeds for 1 windows"),
        ({"horizon": 0}, "horizon is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"series": torch.zeros(1, 64)}, "expected series"),
    ],
)
def test_what_upstream_answers_silently_is_refused(engine, arguments, message):
    given = {"series": walk(0, 1, 1, 64), "horizon": 8, "samples": 4, "seeds": [0]} | arguments
    with pytest.raises(ValueError, match=message):
        engine.sample(**given)


def test_a_missing_value_that_is_nan_is_refused(engine):
    series = walk(0, 1, 1, 64)
    observed = torch.ones_like(series, dtype=torch.bool)
    series[..., 5], observed[..., 5] = torch.nan, False
    with pytest.raises(ValueError, match="even where they are marked as missing"):
        engine.mean(series, 8, observed=observed)
