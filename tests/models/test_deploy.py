"""Loading from a bundle, and the check of one; that a run's own bundle is taken is seen in workflow/test_bundle.py."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import greenlight_forecasters
from greenlight.api import LoadOptions, package_versions, processor_name, weights_hash
from greenlight.data.windows import practice_windows
from greenlight.errors import UserError
from greenlight.files import sha256_of
from greenlight.judgement.seal import seal
from greenlight.measures.forecasts import QUANTILE_COLUMNS, forecast_table
from greenlight.process import ProcessSettings
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.bundle import CACHES, Differs, read_bundle, use_cache
from greenlight_forecasters.check import check
from greenlight_forecasters.chronos2.plugin import LEVELS
from greenlight_forecasters.chronos2.static import Chronos2Static
from greenlight_forecasters.deploy import judged_process, load
from greenlight_forecasters.engine.service import BeyondScope
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.toto.published import MaskedTimeseries
from greenlight_forecasters.toto.static import TotoStatic
from greenlight_forecasters.toto.upstream import TotoUpstream
from tests.models.chronos2.conftest import random_checkpoint

ROOT = Path(greenlight_forecasters.__file__).parents[1]
MODEL_LEVELS = {"chronos-2": LEVELS}
CONTEXT, HORIZON, SAMPLES = 32, 6, 8
MODELS = {
    "kronos": (KronosStatic, {"max_context": 64}, {"model": "kronos", "tokenizer": "kronos-tokenizer"}),
    "toto": (TotoStatic, {}, {"model": "toto"}),
    "chronos-2": (Chronos2Static, {}, {"model": "chronos-2"}),
}


def entry_of(name, folder, source="embedded"):
    """A model's part of a manifest as the gate writes it; its window and forecast are written."""
    kind, settings, checkpoints = MODELS[name]
    window = practice_windows(1, CONTEXT, HORIZON, 3)[0]
    paths = kind.load(LoadOptions(source, settings=settings)).forecast([window], SAMPLES, 7)
    table = forecast_table(name, "static-eager", [window], paths, {}, MODEL_LEVELS.get(name, ()))
    (folder / name).mkdir(parents=True)
    np.savez(
        folder / name / "check.npz",
        values=np.concatenate([window.context, window.future]),
        timestamps=window.timestamps.astype(np.int64),
        forecast=np.stack([table.column(column).to_numpy() for column in ("mean", *QUANTILE_COLUMNS)]),
    )
    package = name.replace("-", "")
    code = [f"greenlight_forecasters/{package}/plugin.py", "greenlight_forecasters/engine/packed.py"]
    return {
        "variant": "static-eager", "implementation": "static", "mode": "eager", "precision": "float32",
        "settings": settings,
        "weights": {
            role: {
                "source": source, "revision": None,
                "sha256": weights_hash(CHECKPOINTS / place if source == "embedded" else Path(source)),
            }
            for role, place in checkpoints.items()
        },
        "code": {file: sha256_of(ROOT / file) for file in code}, "published": {}, "copy": None,
        "plugin": f"greenlight_forecasters.{package}.plugin:MODEL",
        "packages": dict(package_versions(("torch", "numpy"))),
        "device": "cpu", "device_name": processor_name(), "threads": 1, "environment": {},
        "shapes": {"context_length": CONTEXT, "horizon": HORIZON, "samples": SAMPLES, "windows": [1, 2]},
        "call": {"seed": 7, "samples": SAMPLES, "windows_per_call": 1},
        "check": {"file": f"{name}/check.npz"},
        "window": {"symbol": window.symbol, "index": 0, "context_length": CONTEXT, "horizon": HORIZON},
    }  # fmt: skip


def write(folder, models, gate="pass", **changes):
    """A manifest over the files that lie in a folder."""
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in folder.rglob("*.npz")}
    reasons = [] if gate == "pass" else ["toto: forecasts differ"]
    manifest = {"format": 2, "gate": gate, "reasons": reasons, "files": files, "cache": {}, "models": models} | changes
    (folder / "manifest.json").write_text(json.dumps(seal(manifest)))


@pytest.fixture(autouse=True)
def _caches_as_before(monkeypatch, tmp_path_factory):
    for variable in CACHES:
        monkeypatch.setenv(variable, str(tmp_path_factory.getbasetemp() / "caches"))


def test_the_cache_of_the_bundle_is_used_unless_another_is_named(tmp_path, monkeypatch):
    for part in CACHES.values():
        (tmp_path / part).mkdir()
    before = {variable: os.environ[variable] for variable in CACHES}
    use_cache(tmp_path)
    assert {variable: os.environ[variable] for variable in CACHES} == before
    for variable in CACHES:
        monkeypatch.delenv(variable)
    use_cache(tmp_path)
    assert {variable: os.environ[variable] for variable in CACHES} == {
        variable: str(tmp_path / part) for variable, part in CACHES.items()
    }


@pytest.fixture
def bundle(tmp_path):
    """(folder, models as in the manifest)"""
    models = {name: entry_of(name, tmp_path) for name in MODELS}
    write(tmp_path, models)
    return tmp_path, models


def test_what_was_judged_is_loaded_with_the_published_interface(bundle):
    kronos, toto, chronos = (load(bundle[0], name) for name in ("kronos", "toto", "chronos-2"))
    times = pd.Series(pd.date_range("2024-01-01", periods=38, freq="h"))
    frame = pd.DataFrame({name: 100.0 + np.arange(32) for name in ("open", "high", "low", "close")})
    found = kronos.predict(frame, times[:32], times[32:], pred_len=6, T=0.5, sample_count=2)
    assert found.shape == (6, 6) and np.isfinite(found.to_numpy()).all() and kronos.max_context == 64
    series = torch.arange(32.0)[None]
    inputs = MaskedTimeseries(series, series > -1, series.int() * 0, series.int(), torch.ones(1, dtype=torch.int))
    assert toto.forecast(inputs, 6, num_samples=4).samples.shape == (1, 1, 6, 4)
    quantiles, medians = chronos.predict_quantiles([series[0]], prediction_length=6, quantile_levels=[0.1, 0.5])
    assert quantiles[0].shape == (1, 6, 2) and torch.equal(medians[0], quantiles[0][..., 1])


def calls_of(name, predictor):
    """A call of a loaded predictor, by context, horizon, series and samples."""
    if name == "kronos":

        def call(context, horizon, series, samples):
            times = pd.Series(pd.date_range("2024-01-01", periods=context + horizon, freq="h"))
            frame = pd.DataFrame({name: 100.0 + np.arange(context) for name in ("open", "high", "low", "close")})
            lists = ([one] * series for one in (frame, times[:context], times[context:]))
            predictor.predict_batch(*lists, pred_len=horizon, sample_count=samples)

    elif name == "toto":

        def call(context, horizon, series, samples):
            rows = torch.arange(float(context)).expand(series, 1, -1).contiguous()
            ones = torch.ones(series, 1, dtype=torch.int)
            inputs = MaskedTimeseries(rows, rows > -1, rows.int() * 0, rows.int(), ones)
            predictor.forecast(inputs, horizon, num_samples=samples)

    else:

        def call(context, horizon, series, samples):
            predictor.predict([torch.arange(float(context))] * series, prediction_length=horizon)

    return call


@pytest.mark.parametrize("name", MODELS)
def test_a_call_beyond_what_was_judged_is_named_once(bundle, name):
    predictor = load(bundle[0], name)
    call, within = calls_of(name, predictor), {"context": CONTEXT, "horizon": HORIZON, "series": 2, "samples": SAMPLES}
    with warnings.catch_warnings():
        warnings.simplefilter("error", BeyondScope)
        call(**within)
        call(CONTEXT, HORIZON - 1, 1, SAMPLES - 1)
    beyond = {
        "context": (CONTEXT - 1, "a context of 31 rows, and 32 were judged"),
        "horizon": (HORIZON + 1, "7 rows to forecast, and at most 6"),
        "series": (3, "3 series, and at most 2"),
        "samples": (SAMPLES + 1, "9 samples, and at most 8"),
    }
    for what, (asked, words) in beyond.items():
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            call(**within | {what: asked})
            call(**within | {what: asked})
        said = [str(one.message) for one in found if issubclass(one.category, BeyondScope)]
        if (name, what) == ("chronos-2", "samples"):
            assert not said
        else:
            assert len(said) == 1 and words in said[0]


def test_a_bundle_that_agrees_says_so_in_one_line(bundle):
    command = [sys.executable, "-m", "greenlight_forecasters.check", str(bundle[0])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("as judged: kronos static-eager: loaded in") and done.stdout.count("\n") == 1
    assert "; toto static-eager: loaded in" in done.stdout
    assert "judged with context 32, horizon 6, 8 samples, 1 or 2 windows in a call" in done.stdout


def change_code(folder, models):
    models["toto"]["code"]["greenlight_forecasters/engine/packed.py"] = "0" * 64


def change_weights(folder, models):
    models["toto"]["weights"]["model"]["sha256"] = "0" * 64


def change_torch(folder, models):
    models["toto"]["packages"]["torch"] = "2.1.0"


def change_published(folder, models):
    models["toto"]["published"] = {"toto": "0" * 64}


def change_device(folder, models):
    models["toto"]["device_name"] = "another processor"


DIFFERENCES = {
    change_code: r"code in \S*packed\.py is not what was judged",
    change_weights: r"weights of model in \S* are not what was judged",
    change_published: r"the code of the package toto in \S*toto is not what was judged",
    change_torch: r"torch is \S+, and was 2\.1\.0 when it was judged",
    change_device: "the device is .*, and was another processor",
}


@pytest.mark.parametrize("change", DIFFERENCES, ids=lambda change: change.__name__)
def test_what_is_not_as_it_was_judged_is_refused_by_name(bundle, change):
    folder, models = bundle
    change(*bundle)
    write(folder, models)
    with pytest.raises(UserError, match=DIFFERENCES[change]):
        load(folder, "toto")
    with pytest.warns(Differs, match=DIFFERENCES[change]):
        load(folder, "toto", differences="warn")
    agrees, line = check(folder)
    assert not agrees and "toto static-eager: " in line and "NOT AS JUDGED" in line


STATE = {"inference_mode": True, "autocast": "bfloat16", "sdpa": ["flash", "efficient", "math"]}


def test_the_state_of_torch_that_was_judged_is_held_against_the_process(bundle, monkeypatch):
    folder, models = bundle
    models["toto"] |= {"process": STATE, "precision": "autocast-bf16"}
    write(folder, {"toto": models["toto"]})
    monkeypatch.delenv("GREENLIGHT_TOTO_PROCESS", raising=False)
    every = r"attention may be by .*cudnn.* here, and by efficient or flash or math when it was judged"
    with pytest.raises(UserError, match=every):
        load(folder, "toto")
    judged = judged_process(folder, "toto")
    try:
        judged.set_up()
        predictor = load(folder, "toto")
        call = calls_of("toto", predictor)
        with warnings.catch_warnings():
            warnings.simplefilter("error", BeyondScope)
            call(CONTEXT, HORIZON, 1, SAMPLES)  # in whatever state: an engine leaves it for its own calls
        agrees, line = check(folder)
        assert agrees, line
        assert "called as judged, with inference mode, autocast bfloat16, attention by flash or efficient or" in line
        monkeypatch.setenv("GREENLIGHT_TOTO_PROCESS", "{}")
        agrees, line = check(folder)
        assert not agrees and "is of a verdict on another state of torch, {}" in line
        monkeypatch.setenv("GREENLIGHT_TOTO_PROCESS", json.dumps(STATE, sort_keys=True))
        assert check(folder)[0]
    finally:
        ProcessSettings(sdpa=("flash", "efficient", "math", "cudnn")).set_up()


def test_a_process_with_coarser_products_than_were_judged_is_refused(bundle):
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(UserError, match="float32 products are at 'high' here, and were at 'highest'"):
            load(bundle[0], "toto")
    finally:
        torch.set_float32_matmul_precision("highest")


def test_another_forecast_is_no_agreement(bundle):
    folder, models = bundle
    with np.load(folder / "kronos/check.npz") as arrays:
        stored = dict(arrays)
    for factor, agrees in ((1 + 1e-7, True), (1.0001, False), (np.nan, False)):
        np.savez(folder / "kronos/check.npz", **stored | {"forecast": stored["forecast"] * factor})
        write(folder, {"kronos": models["kronos"]})
        assert check(folder)[0] is agrees


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda folder, models: (folder / "manifest.json").unlink(), "this is no bundle"),
        (lambda folder, models: (folder / "manifest.json").write_text("{"), "this is no bundle"),
        (lambda folder, models: (folder / "toto/check.npz").write_bytes(b""), "is missing or was changed"),
        (lambda folder, models: write(folder, {}, gate="fail"), "the gate says 'fail', so nothing .*: toto: forecasts"),
        (lambda folder, models: write(folder, models, format=1), "its format is 1"),
        (lambda folder, models: write(folder, {}), "there is no model 'toto' in this bundle"),
    ],
)
def test_what_is_no_bundle_of_a_pass_is_refused(bundle, break_it, words):
    break_it(*bundle)
    with pytest.raises(UserError, match=words):
        load(bundle[0], "toto")


def test_a_manifest_that_was_changed_is_refused(bundle):
    path = bundle[0] / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["models"]["toto"]["mode"] = "default"
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="does not match its content_sha256"):
        read_bundle(bundle[0])
    assert hashlib.sha256(b"").hexdigest() not in manifest["files"].values()


def test_what_has_no_predictor_or_is_not_known_here_is_refused(bundle, monkeypatch):
    folder, models = bundle
    models["kronos"] |= {"variant": "fork-eager", "implementation": "fork"}
    write(folder, models)
    with pytest.raises(UserError, match="has no implementation fork here"):
        load(folder, "kronos")
    models["toto"] |= {"variant": "upstream-eager", "implementation": "upstream"}
    write(folder, models)
    monkeypatch.delattr(TotoUpstream, "predictor")
    with pytest.raises(UserError, match="upstream-eager, whose class TotoUpstream has no method `predictor`"):
        load(folder, "toto")


def test_reading_a_bundle_imports_no_torch_nor_what_the_gate_needs():
    code = (
        "import sys, greenlight_forecasters.check, greenlight_forecasters.deploy\n"
        "assert not {'torch', 'pandas', 'pyarrow', 'snakemake', 'jinja2', 'matplotlib'} & set(sys.modules)\n"
        "import greenlight_forecasters.toto.predictor, greenlight_forecasters.chronos2.predictor\n"
        "assert not {'pandas', 'pyarrow', 'snakemake', 'jinja2', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_compiled_code_is_found_in_the_bundles_cache_and_missed_where_the_process_is_another(tmp_path):
    # Of the models, the one that compiles the fewest graphs, with one layer.
    random_checkpoint(tmp_path / "weights", num_layers=1)
    entry = entry_of("chronos-2", tmp_path, str(tmp_path / "weights"))
    entry |= {"variant": "static-default", "mode": "default"}
    for part in CACHES.values():
        (tmp_path / "cache" / part).mkdir(parents=True)
    write(tmp_path, {"chronos-2": entry})
    environment = {variable: str(tmp_path / "cache" / part) for variable, part in CACHES.items()}
    fill = (
        "import sys, pathlib; from greenlight_forecasters.bundle import read_bundle\n"
        "entry = read_bundle(pathlib.Path(sys.argv[1]))['chronos-2']\n"
        "entry.forecaster().forecast([entry.window()[0]], 8, 7)\n"
    )
    own = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", fill, str(tmp_path)], env=own | environment, check=True)
    found = {}
    for threads in ("1", "2"):
        command = [sys.executable, "-m", "greenlight_forecasters.check", str(tmp_path)]
        done = subprocess.run(command, env=own | {"OMP_NUM_THREADS": threads}, capture_output=True, text=True)
        found[threads] = (done.returncode, done.stdout)
    assert found["1"][0] == 0 and re.search(r"cache ([1-9]\d*) of \1 graphs", found["1"][1]), found
    assert found["2"][0] == 1 and "this process has 2 threads" in found["2"][1], found
    assert "Set OMP_NUM_THREADS=1 here, or judge with `threads: 2` in the configuration" in found["2"][1], found
