"""`source: random:base`: seeded, known by content, loaded as real weights are, and never deployed."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from greenlight import random_weights
from greenlight.api import LoadOptions
from greenlight.errors import UserError
from greenlight.files import read_json, sha256_of
from greenlight.layout import Layout
from greenlight.plugins import installed_plugins, load_forecaster, model_of
from greenlight.random_weights import RandomWeights
from greenlight.run.checkpoints import folders_of_job
from greenlight.run.jobs import Plan
from greenlight.run.stages.weights import find_weights
from greenlight.settings import load_settings
from tests.models.kronos.conftest import random_window

RANDOM = {"source": "random:mini", "tokenizer": "random:base"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def plan_of(**kronos):
    return Plan(load_settings({"models": {"kronos": kronos}}, ["gate.yaml"]), {"A": None}, "cpu", "a processor")


def test_they_are_made_once_and_recorded_by_content(tmp_path):
    plan, layout = plan_of(**RANDOM), Layout(tmp_path)
    job = plan.job("weights", "kronos")
    assert job["sources"] == {"model": ["random:mini", None], "tokenizer": ["random:base", None]}
    folders = folders_of_job(job)
    find_weights(layout, job, argparse.Namespace())
    hashes = read_json(layout.weights("kronos"))["hashes"]
    assert set(hashes) == set(folders) == {"model", "tokenizer"} and hashes["model"] != hashes["tokenizer"]

    inodes = {folder: (folder / "model.safetensors").stat().st_ino for folder in folders.values()}
    assert plan_of(**RANDOM).job("weights", "kronos") == job
    assert inodes == {folder: (folder / "model.safetensors").stat().st_ino for folder in folders.values()}
    assert set(plan.plugin("kronos").random_sources(plan.model("kronos"))) == {"model", "tokenizer"}

    settings = {"tokenizer": str(folders["tokenizer"])}
    loaded = load_forecaster("kronos", "static", LoadOptions(str(folders["model"]), settings=settings))
    assert 4e6 < loaded.sizes()["parameters"] < 9e6  # the model has 4.1 million, and the tokenizer as many


def test_the_same_bytes_again_and_others_of_another_seed(tmp_path):
    asked = {"make": "greenlight_forecasters.kronos.random_weights:tokenizer",
             "dimensions": model_of("kronos").random_weights["tokenizer"].sizes["base"]}  # fmt: skip
    hashes = []
    for number, seed in enumerate((1, 1, 2)):
        (folder := tmp_path / str(number)).mkdir()
        random_weights.main(random_weights.json.dumps(asked | {"seed": seed}), str(folder))
        hashes.append(sha256_of(folder / "model.safetensors"))
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("name", sorted(installed_plugins()))
def test_each_model_of_ours_has_its_published_sizes(name):
    known = model_of(name).random_weights
    assert set(known) == set(model_of(name).checkpoints)
    assert set(known["model"].sizes) >= ({"mini", "small", "base"} if name == "kronos" else {"base"})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"source": "random:bass"}, "models.kronos.source: there is no 'random:bass' (did you mean 'random:base'?)"),
        ({"tokenizer": "random:mini"}, "models.kronos.tokenizer: there is no 'random:mini'"),
        ({"source": "random:base", "revision": "0" * 40}, "'random:base' has no revision"),
    ],
)
def test_what_can_t_be_meant_is_refused(settings, words):
    with pytest.raises(UserError) as caught:
        plan_of(**settings)
    assert words in str(caught.value)


def test_a_place_that_can_t_be_written_to_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    weights = RandomWeights("greenlight_forecasters.kronos.random_weights:tokenizer", {"base": {}})
    with pytest.raises(UserError, match=r"models\.kronos\.tokenizer: .* could not be made in .*Not a directory"):
        weights.made("random:base", "models.kronos.tokenizer")


def test_random_quantiles_ascend_as_those_of_a_trained_model_do():
    asked = model_of("chronos-2").random_weights["model"]
    folder = random_weights.folder_of(asked.made("random:small", "models.chronos-2.source"))
    for implementation in ("upstream", "static"):
        forecaster = load_forecaster("chronos-2", implementation, LoadOptions(str(folder)))
        quantiles = forecaster.forecast([random_window(symbol, 48, 20, 0) for symbol in "ABC"], 1, 0)
        assert (np.diff(quantiles, axis=1) > 0).all()
