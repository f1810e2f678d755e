"""Training of the embedded checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenlight.weights import trained_until, weights_hash
from greenlight_forecasters import CHECKPOINTS
from tools import train_toto as train
from tools.training_data import describe, training_series

DATA = Path(__file__).parents[3] / "trainingdata"


@pytest.fixture(scope="module")
def series():
    return training_series(DATA)


def test_the_shipped_checkpoint_was_trained_on_the_shipped_rows(series):
    folder = CHECKPOINTS / "toto"
    training = json.loads((folder / "training.json").read_text())
    assert training["symbols"] == describe(series)
    assert (folder / "model.safetensors").stat().st_size <= 2_000_000
    assert trained_until(folder) == {symbol: one.trained_until for symbol, one in series.items()}


def test_the_same_seed_gives_the_same_bytes(series, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        toto, loss = train.train(series, steps=3, seed=seed)
        training = {"symbols": describe(series), "share": 0.65, "seed": seed, "steps": 3, "loss": loss}
        train.save(toto, training | {"threads": 1, "torch": "x"}, tmp_path / name)
    assert weights_hash(tmp_path / "a") == weights_hash(tmp_path / "b") != weights_hash(tmp_path / "c")
    card = (tmp_path / "a" / "README.md").read_text()
    assert "| GOOG | 680 | 2007-05-02T00:00:00Z |" in card and "3 steps" in card


def test_training_learns(series):
    _, early = train.train(series, steps=10, seed=0)
    _, late = train.train(series, steps=60, seed=0)
    assert late < early
