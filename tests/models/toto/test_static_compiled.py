"""The static engine compiles whole, for all horizons, and computes the same."""

from __future__ import annotations

import pytest
import torch

from greenlight.watch.health import HealthRecorder
from greenlight.watch.readiness import ReadinessRecorder
from greenlight_forecasters.toto.static import TotoEngine
from tests.models.toto.published_toto import largest_difference, random_toto, save_checkpoint, uncached, walk

SMALL = {"num_layers": 2, "spacewise_every_n_layers": 2}


@pytest.fixture
def models(tmp_path):
    """Makes (published float64 backbone, eager engine, engine to compile) of some number of variates."""
    torch._dynamo.reset()
    toto, configuration = random_toto(sharpness=3.0, **SMALL)
    folder = save_checkpoint(toto, configuration, tmp_path)
    engines = [TotoEngine.from_checkpoint(folder, windows_per_batch=2) for _ in range(2)]
    engines[1].compile("default")
    return toto.double().model, *engines


@pytest.mark.slow
def test_three_graphs_no_breaks_and_no_recompiles_over_all_horizons(models):
    published, eager, engine = models
    series, truth = walk(0, 3, 1, 64), walk(1, 3, 1, 48).unflatten(-1, (3, 16))
    with HealthRecorder() as recorder:
        engine.sample(series, 20, 8, [1, 2, 3])
        recorder.end_of_warm_up()
        for horizon in (1, 16, 17, 100, 192):
            engine.sample(series, horizon, 8, [1, 2, 3])
        found = engine.teacher_forced(series, truth)
    health = recorder.record()
    assert health["graphs"] == 3 and health["engaged"]
    assert health["graph_breaks"] == [] and health["eager_frames"] == []
    assert health["recompiles_after_warm_up"] == health["compilations_after_warm_up"] == 0
    assert largest_difference(found, uncached(published, series, truth)) <= 1e-5
    torch.testing.assert_close(
        engine.sample(series, 40, 8, [1, 2, 3]), eager.sample(series, 40, 8, [1, 2, 3]), rtol=1e-3, atol=1e-3
    )


@pytest.mark.slow
def test_graphs_are_ready_for_cuda_graphs(models):
    """No value goes to the host, and nothing is written to but buffers; also with variates, and for the mean."""
    published, _, engine = models
    series, truth = walk(0, 3, 3, 64), walk(1, 3, 3, 48).unflatten(-1, (3, 16))
    with ReadinessRecorder(kernels=False) as recorder:
        found = engine.teacher_forced(series, truth)
        engine.mean(series, 40)
    readiness = recorder.record()
    assert readiness["ready"] is True and readiness["graphs"] == 5, readiness
    assert largest_difference(found, uncached(published, series, truth)) <= 1e-5
