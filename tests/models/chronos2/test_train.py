"""Training of the embedded checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenlight.weights import trained_until, weights_hash
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.chronos2 import LEVELS
from tools import train_chronos2 as train
from tools.training_data import describe, training_series

DATA = Path(__file__).parents[3] / "trainingdata"


@pytest.fixture(scope="module")
def series():
    return training_series(DATA)


def test_the_shipped_checkpoint_was_trained_on_the_shipped_rows(series):
    folder = CHECKPOINTS / "chronos-2"
    training = json.loads((folder / "training.json").read_text())
    assert training["symbols"] == describe(series)
    assert (folder / "model.safetensors").stat().st_size <= 2_000_000
    assert trained_until(folder) == {symbol: one.trained_until for symbol, one in series.items()}
    config = json.loads((folder / "config.json").read_text())
    assert config == train.CONFIGURATION and tuple(config["chronos_config"]["quantiles"]) == LEVELS


def test_the_same_seed_gives_the_same_bytes(series, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        model, loss = train.train(series, steps=3, seed=seed)
        training = {"symbols": describe(series), "share": 0.65, "seed": seed, "steps": 3, "loss": loss}
        train.save(model, training | {"threads": 1, "torch": "x"}, tmp_path / name)
    assert weights_hash(tmp_path / "a") == weights_hash(tmp_path / "b") != weights_hash(tmp_path / "c")
    card = (tmp_path / "a" / "README.md").read_text()
    assert "| GOOG | 680 | 2007-05-02T00:00:00Z |" in card and "3 steps" in card


def test_training_learns(series):
    _, early = train.train(series, steps=10, seed=0)
    _, late = train.train(series, steps=60, seed=0)
    assert late < early


def test_stretches_are_prices(series):
    """Every row of a group of four is a price of the same days: the highest is the highest, the lowest the lowest."""
    seen = {"together": 0, "gaps": 0}
    for batch, _ in zip(train.batches(series, seed=3), range(12), strict=False):
        assert batch.target.isfinite().all() and batch.context.nan_to_num(1.0).gt(0).all()
        seen["gaps"] += bool(batch.context.isnan().any())
        if batch.groups.bincount().max() == 4:
            seen["together"] += 1
            low, high = batch.target.unflatten(0, (-1, 4)).sort(dim=1).values[:, [0, 3]].unbind(1)
            columns = batch.target.unflatten(0, (-1, 4))
            assert columns[:, 1].allclose(high) and columns[:, 2].allclose(low)
    assert 0 < seen["together"] < 12 and 0 < seen["gaps"] < 12
