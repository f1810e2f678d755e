"""Contexts that grow from call to call."""

from __future__ import annotations

import pytest
import torch

from greenlight_forecasters.toto.static import TotoEngine
from tests.models.toto.published_toto import largest_difference, random_toto, save_checkpoint, walk

LIMITS = {torch.float32: 1e-5, torch.float64: 1e-12}


def engines(tmp_path, dtype, **changes):
    folder = save_checkpoint(*random_toto(sharpness=3.0, **changes), tmp_path)
    return lambda: TotoEngine.from_checkpoint(folder, dtype=dtype, windows_per_batch=2, samples_per_batch=4)


@pytest.mark.parametrize("dtype", LIMITS, ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("variates", "changes"),
    [(1, {}), (3, {}), (2, {"spacewise_every_n_layers": -1}), (2, {"spacewise_every_n_layers": 1})],
    ids=str,
)
def test_a_context_with_room_gives_what_one_of_its_length_gives(tmp_path, dtype, variates, changes):
    make = engines(tmp_path, dtype, num_layers=3, **changes)
    growing = make()
    series, truth = walk(1, 3, variates, 400), walk(2, 3, variates, 48).unflatten(-1, (3, 16))
    observed = torch.ones_like(series, dtype=torch.bool)
    observed[:, 0, 200:230] = False
    for length in (100, 130, 131, 390, 180, 400):
        part, seen = series[..., -length:], observed[..., -length:]
        exact = make()
        found = growing.teacher_forced(part, truth, observed=seen)
        assert largest_difference(found, exact.teacher_forced(part, truth, observed=seen)) <= LIMITS[dtype]
        paths = (engine.sample(part, 40, 4, [1, 2, 3], observed=seen) for engine in (growing, exact))
        torch.testing.assert_close(*paths, rtol=1e-3 if dtype == torch.float32 else 1e-9, atol=1e-3)
    assert len(growing._prefills) <= 4


def test_two_hundred_calls_with_a_growing_context_need_two_shapes(tmp_path):
    engine = engines(tmp_path, torch.float32, num_layers=3)()
    series = walk(1, 1, 1, 300)
    for length in range(100, 300):
        engine.sample(series[..., :length], 1, 2, [1])
    assert len(engine._prefills) == len(engine._decodes) == 2
