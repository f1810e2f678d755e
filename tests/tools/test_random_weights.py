"""Checkpoints with random weights load as real ones do, and the same call writes the same bytes."""

from __future__ import annotations

import pytest

from greenlight.api import LoadOptions
from greenlight.errors import UserError
from greenlight.files import sha256_of
from greenlight.plugins import load_forecaster
from tools import random_weights


def test_they_load_and_are_the_same_bytes_again(tmp_path):
    names = ["toto:small", "kronos:mini", "kronos-tokenizer"]
    for folder in ("one", "two"):
        assert random_weights.main(["--folder", str(tmp_path / folder), *names]) == 0
    folders = ["toto-small", "kronos-mini", "kronos-tokenizer"]
    hashes = [[sha256_of(tmp_path / run / f / "model.safetensors") for f in folders] for run in ("one", "two")]
    assert hashes[0] == hashes[1] and len(set(hashes[0])) == 3

    here = tmp_path / "one"
    for model, settings in {
        "toto": {"samples_per_batch": 8},
        "kronos": {"tokenizer": str(here / "kronos-tokenizer")},
    }.items():
        size = "small" if model == "toto" else "mini"
        options = LoadOptions(source=str(here / f"{model}-{size}"), settings=settings)
        assert load_forecaster(model, "static", options).sizes()["parameters"] > 100_000


def test_a_model_that_there_is_not_is_named(tmp_path):
    with pytest.raises(UserError, match="no model 'prophet'"):
        random_weights.main(["--folder", str(tmp_path), "prophet:large"])
