"""How calls are spread over few shapes, and what those cost."""

from __future__ import annotations

import itertools

import pytest
import torch

from greenlight.watch.observer import Observer
from greenlight_forecasters.chronos2.buckets import Bucket, batches, context_buckets, future_buckets, smallest
from greenlight_forecasters.chronos2.engine import Chronos2Engine


@pytest.mark.parametrize("count", [1, 2, 3, 5, 31, 33, 63, 64, 65, 130, 256])
@pytest.mark.parametrize("variates", [1, 3, 4, 8])
def test_every_window_is_in_one_batch(count, variates):
    found = batches([variates] * count)
    assert list(itertools.chain(*(windows for windows, _ in found))) == list(range(count))
    for windows, rows in found:
        assert len(windows) * variates <= rows <= 64
    assert sum(rows for _, rows in found) <= 2 * count * variates
    assert len({rows for _, rows in found}) <= 4


def test_windows_of_different_sizes():
    assert batches([1, 8, 3, 1]) == [(range(0, 4), 16)]
    assert batches([60, 8, 1]) == [(range(0, 1), 64), (range(1, 2), 8), (range(2, 3), 1)]


def test_rooms_hold_the_longest(folder):
    dimensions = Chronos2Engine.from_checkpoint(folder).dimensions
    assert context_buckets(dimensions) == [8, 16, 32, 64, 128, 256, 512]
    assert future_buckets(dimensions) == [3, 15, 64]
    assert smallest([3, 15, 64], 4) == 15
    with pytest.raises(ValueError, match="65 patches"):
        smallest([3, 15, 64], 65)


def test_a_bucket_in_words():
    assert Bucket(32, 32, 3, False).describe(16) == "32 series, contexts to 512 rows, horizons to 48"
    assert Bucket(4, 8, 15, True).describe(16) == (
        "4 series that see each other, contexts to 128 rows, horizons to 240"
    )


SWEEP = list(itertools.product((16, 100, 128, 129, 130, 144, 256), (1, 7, 32, 48), (1, 3, 4)))


def test_a_sweep_compiles_one_graph_a_bucket(folder):
    """What costs the published model 28 graphs: contexts, horizons and batches of every size."""
    engine, eager = (Chronos2Engine.from_checkpoint(folder) for _ in range(2))
    torch.compiler.reset()
    with Observer(kernels=False) as observer:
        engine.compile("default")
        for context, horizon, windows in SWEEP:
            contexts = 100 + torch.randn(windows, 1, context).cumsum(-1)
            contexts[:, :, :3] = torch.nan
            found = engine.quantiles(contexts, horizon)
            assert torch.allclose(found, eager.quantiles(contexts, horizon), rtol=1e-5)
        assert "4 series, contexts to 256 rows, horizons to 48" in engine.changes()["masked-buckets"]
        # 8 or 16 patches of context, 3 of horizon, 1 or 4 series
        assert len(engine.buckets) == len(observer.lowerings) == len(observer.attempts) == 4
        assert not observer.breaks and observer.counter("stats")["unique_graphs"] == 4
        for variates, context, horizon in ((2, 40, 3), (4, 90, 48), (3, 128, 17)):
            engine.quantiles(torch.rand(1, variates, context), horizon)
        assert len(engine.buckets) == len(observer.lowerings) == 6
    assert all(attempt.compiled and not attempt.recompile_guard for attempt in observer.attempts)


@pytest.mark.slow
def test_compiled_as_in_eager_mode(folder):
    engine, eager = (Chronos2Engine.from_checkpoint(folder) for _ in range(2))
    engine.compile("default")
    for variates in (1, 4):
        contexts = 100 + torch.randn(2, variates, 120).cumsum(-1)
        contexts[0, 0, 10:60] = torch.nan
        for _ in range(2):
            found, expected = (one.quantiles(contexts, 30) for one in (engine, eager))
            assert torch.allclose(found, expected, rtol=1e-5)
