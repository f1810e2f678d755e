"""Finding and reading checkpoints, and what they were trained on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from greenlight import plugins, weights
from greenlight.api import LoadOptions
from greenlight.errors import MissingWeights, NotAsPlanned, UserError
from greenlight.files import write_json
from greenlight.run.children.common import load
from greenlight.run.jobs import Plan
from greenlight.settings import make_settings
from greenlight.weights import trained_until
from greenlight_forecasters import CHECKPOINTS
from tools.training_data import training_series

TOTO = {"embedded": CHECKPOINTS / "toto", "setting": "models.toto.source"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path):
    write_json(tmp_path / "config.json", {"width": 2})
    save_file({"a": torch.ones(2), "b": torch.zeros(3)}, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty Hugging Face cache and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_an_embedded_checkpoint_ships():
    assert weights.resolve_checkpoint("embedded", **TOTO) == CHECKPOINTS / "toto"


def test_local_folder(folder):
    assert weights.resolve_checkpoint(str(folder), **TOTO) == folder


def test_a_folder_that_lacks_a_file_is_named_with_it(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingWeights, match=r"models\.toto\.source: the folder .* lacks model\.safetensors"):
        weights.resolve_checkpoint(str(folder), **TOTO)


@pytest.mark.parametrize("source", ["/no/such/folder", "./weights", "a/b/c", "", "../x"])
def test_a_folder_that_is_not_there(source):
    with pytest.raises(MissingWeights, match=r"models\.toto\.source: there is no folder"):
        weights.resolve_checkpoint(source, **TOTO)


@pytest.mark.parametrize("revision", [None, "main", "v1", COMMIT[:8], COMMIT.upper()])
def test_a_hub_id_needs_a_commit(revision):
    with pytest.raises(UserError, match="commit of 40 hexadecimal digits"):
        weights.resolve_checkpoint("owner/name", revision, **TOTO)


def test_a_folder_has_no_revision(folder):
    with pytest.raises(UserError, match="local folder, which has no revision"):
        weights.resolve_checkpoint(str(folder), COMMIT, **TOTO)


def test_the_checkpoint_that_ships_has_no_revision():
    with pytest.raises(UserError, match="the checkpoint that ships, which has no revision"):
        weights.resolve_checkpoint("embedded", COMMIT, **TOTO)


def test_offline_without_the_files_says_what_to_download_to_where(offline):
    with pytest.raises(MissingWeights) as caught:
        weights.resolve_checkpoint("owner/name", COMMIT, **TOTO)
    message = str(caught.value)
    command = f"hf download owner/name config.json model.safetensors --revision {COMMIT} --local-dir weights/name"
    assert command in message and "set models.toto.source: weights/name" in message


def test_a_pinned_revision_in_the_cache_needs_no_network(offline, folder, tmp_path):
    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).write_bytes((folder / name).read_bytes())
    assert weights.resolve_checkpoint("owner/name", COMMIT, **TOTO) == snapshot


def test_reading(folder):
    assert weights.read_config(folder) == {"width": 2}
    assert set(weights.read_weights(folder)) == {"a", "b"}


@pytest.mark.parametrize("content", [b"", b"not json", b"[1]", b"\xff"])
def test_a_damaged_config_is_a_user_error(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json"):
        weights.read_config(folder)


@pytest.mark.parametrize("kept", [0, 4, 40, -1])
def test_damaged_weights_are_a_user_error(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"model\.safetensors: not readable as safetensors"):
        weights.read_weights(folder)


def test_key_sets_must_be_equal():
    weights.check_keys(["a", "x.freqs"], ["a", "y.freqs"], "f", ignore=["freqs"])
    with pytest.raises(UserError, match=r"^f: .*missing: b; unexpected: c"):
        weights.check_keys(["a", "c"], ["a", "b"], "f")
    with pytest.raises(UserError, match="and 92 more"):
        weights.check_keys([], [str(i) for i in range(100)], "f")


def test_the_hash_covers_both_files_and_nothing_else(folder):
    first = weights.weights_hash(folder)
    (folder / "README.md").write_text("x")
    assert weights.weights_hash(folder) == first
    write_json(folder / "config.json", {"width": 3})
    second = weights.weights_hash(folder)
    save_file({"a": torch.zeros(2), "b": torch.zeros(3)}, folder / "model.safetensors")
    assert len({first, second, weights.weights_hash(folder)}) == 3


def zero(folder):
    """Every weight set to zero, with the times of before."""
    path = folder / "model.safetensors"
    before = path.stat()
    save_file({name: torch.zeros_like(value) for name, value in weights.read_weights(folder).items()}, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def snapshot_of(folder, hub):
    """The files of a folder as a pinned revision in the Hugging Face cache."""
    snapshot = hub / "models--owner--name" / "snapshots" / COMMIT
    shutil.copytree(folder, snapshot)
    return snapshot


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_jobs_are_known_by_the_content_of_their_weights_whatever_the_source(source, folder, offline, tmp_path):
    used, name = folder, (str(folder), None)
    if source == "hub":
        used, name = snapshot_of(folder, tmp_path / "hub"), ("owner/name", COMMIT)

    def jobs():
        model = {"source": name[0], "revision": name[1]}
        settings = make_settings({"models": {"toto": model}})
        return dict(Plan(settings, {"A": Path(__file__)}, "cpu", "cpu").all_jobs())

    before = jobs()
    assert before == jobs()
    zero(used)
    after = jobs()
    trials = {name for name in before if name.split("/")[0] in ("weights", "compile", "predict", "probe", "time")}
    assert len(trials) > 8 and all(before[name] != after[name] for name in trials | {"expect"})
    write_json(used / "training.json", {"symbols": {}})
    assert jobs()["weights/toto"] != after["weights/toto"], "what was trained on decides which windows there are"


def test_a_trial_refuses_weights_that_are_not_the_planned_ones(tmp_path):
    used = tmp_path / "toto"
    shutil.copytree(CHECKPOINTS / "toto", used)
    request = {
        "model": "toto",
        "plugin": plugins.reference_of("toto"),
        "device": "cpu",
        "folders": {"model": str(used)},
        "checkpoints": {"model": weights.contents_of(used)},
        "code_run": {},
        "targets": dict.fromkeys(("upstream", "static")),
        "folders_of_code": {},
        "torch_state": {},
        "input": "prices",
        "settings": {"samples_per_batch": 8},
    }
    load(request, "static-eager")
    zero(used)
    with pytest.raises(NotAsPlanned, match=r"model\.safetensors \(model\): the run was planned with"):
        load(request, "static-eager")


def test_registry_refuses_unknown_names():
    with pytest.raises(UserError, match="no model 'prophet'"):
        plugins.model_of("prophet")
    with pytest.raises(UserError, match="no implementation 'turbo'"):
        plugins.load_forecaster("toto", "turbo", LoadOptions("embedded"))


def csv(folder, symbol, rows):
    days = np.datetime64("2024-01-01") + np.arange(rows)
    lines = [f"{day},{i + 1},{i + 2},{i + 0.5},{i + 1.5},{100 + i}" for i, day in enumerate(days)]
    (folder / f"{symbol}.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *lines]) + "\n")


def test_training_series_end_before_the_cut(tmp_path):
    csv(tmp_path, "A", 100)
    csv(tmp_path, "B", 40)
    series = training_series(tmp_path, 0.65)
    assert [len(series[symbol].values) for symbol in ("A", "B")] == [65, 26]
    assert series["A"].trained_until == np.datetime64("2024-03-05")
    digest = series["A"].sha256
    text = (tmp_path / "A.csv").read_text().splitlines()
    (tmp_path / "A.csv").write_text("\n".join(text[:-1]).replace(",100\n", ",101\n") + "\n")
    assert training_series(tmp_path, 0.65)["A"].sha256 != digest
    with pytest.raises(UserError, match="between 0 and 1"):
        training_series(tmp_path, 1.0)


def test_trained_until(tmp_path):
    assert trained_until(tmp_path) == {}
    write_json(tmp_path / "training.json", {"symbols": {"A": {"trained_until": "2024-03-05T00:00:00Z"}}})
    assert trained_until(tmp_path) == {"A": np.datetime64("2024-03-05T00:00:00", "ns")}
    (tmp_path / "training.json").write_text('{"symbols": {"A": {}}}')
    with pytest.raises(UserError, match=r"training\.json"):
        trained_until(tmp_path)
