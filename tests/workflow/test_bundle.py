"""results/deploy/: what production takes, as a run leaves it, and what the gate refuses to put into it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import greenlight
from greenlight.errors import UserError
from greenlight.files import read_json, sha256_of
from greenlight.judgement.expected import load_expected
from greenlight.judgement.seal import broken_seal
from greenlight.layout import Layout
from greenlight.run.bundle import write_bundle
from greenlight.run.withdrawal import withdraw
from greenlight.weights import weights_hash
from greenlight_forecasters import CHECKPOINTS
from tests.workflow.project import SMALL, copy_of

pytestmark = pytest.mark.slow
MADE = {"made": "2026-01-01T00:00:00Z", "commit": "abc"}
CHOSEN = {"toto": "static-default", "kronos": "upstream-eager"}


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    return copy_of(finished, tmp_path_factory.mktemp("bundle") / "project")


@pytest.fixture
def bundle(project):
    """A bundle of variants that were measured, whatever the gate said of them; (layout, manifest)."""
    layout = Layout(project.folder / "results")
    write_bundle(layout, "pass", (), CHOSEN, load_expected(layout.expected), MADE)
    return layout, read_json(layout.manifest)


def test_a_run_leaves_a_bundle_that_says_what_the_verdict_says(finished):
    manifest, decision = finished.read("deploy/manifest.json"), finished.read("decision.json")
    chosen = {model: entry["variant"] for model, entry in decision["models"].items() if entry["variant"]}
    assert broken_seal(manifest) is None
    assert manifest["gate"] == decision["gate"] and manifest["reasons"] == decision["reasons"]
    assert {model: entry["variant"] for model, entry in manifest["models"].items()} == chosen
    folder = finished.folder / "results"
    assert (folder / "deploy/decision.json").read_bytes() == (folder / "decision.json").read_bytes()
    assert not list(folder.glob(".deploy*"))


def test_the_scope_of_the_verdict_stands_wherever_the_decision_does(finished, bundle):
    evaluation, (_, manifest) = SMALL["evaluation"], bundle
    scope = {**{name: evaluation[name] for name in ("context_length", "horizon", "samples")}, "windows": [2]}
    verdict, decision = finished.read("verdict.json"), finished.read("decision.json")
    for model in SMALL["models"]:
        judged = verdict["models"][model]["decision"]["judged"] or "upstream-eager"
        # Threads stand in it where they were shown to be right, which the published Kronos is not at all times.
        passed = [
            (check["variant"], check["name"])
            for check in verdict["checks"]
            if check["model"] == model and check["status"] == "pass"
        ]
        threads = {"threads": 2} if (judged, "concurrent-calls") in passed else {}
        assert verdict["models"][model]["scope"] == decision["models"][model]["scope"] == {**scope, **threads}
        assert manifest["models"][model]["shapes"] == scope
    words = "contexts of 32 rows, horizon 12, 8 samples, 2 windows in a call"
    assert words in (finished.folder / "results/report.md").read_text()
    env = (finished.folder / "results/deploy.env").read_text()
    assert (decision["gate"] == "pass") == (words in env)


def test_every_file_is_listed_with_its_hash(bundle):
    layout, manifest = bundle
    found = {path.relative_to(layout.bundle).as_posix() for path in layout.bundle.rglob("*") if path.is_file()}
    cached = {f"cache/{name}": digest for name, digest in manifest["cache"].items()}
    assert found == {"manifest.json", *manifest["files"], *cached}
    assert all(sha256_of(layout.bundle / name) == digest for name, digest in {**manifest["files"], **cached}.items())
    assert any(name.startswith("inductor/") for name in manifest["cache"])
    own = layout.cache("toto", "static-default")
    assert not any(path.samefile(own / path.relative_to(layout.bundle_cache))
                   for path in layout.bundle_cache.rglob("*") if path.is_file())  # fmt: skip


def test_the_manifest_names_code_weights_settings_and_process(bundle):
    _, manifest = bundle
    toto = manifest["models"]["toto"]
    root = Path(greenlight.__file__).parents[1]
    assert "greenlight_forecasters/toto/static/engine.py" in toto["code"]
    assert not any(name.startswith("greenlight_forecasters/kronos/") for name in toto["code"])
    assert all(sha256_of(root / name) == digest for name, digest in toto["code"].items())
    assert toto["weights"]["model"] == {
        "source": "embedded", "revision": None, "sha256": weights_hash(CHECKPOINTS / "toto"),
    }  # fmt: skip
    assert set(manifest["models"]["kronos"]["weights"]) == {"model", "tokenizer"}
    evaluation = SMALL["evaluation"]
    assert toto["shapes"] == {
        **{name: evaluation[name] for name in ("context_length", "horizon", "samples")}, "windows": [2],
    }  # fmt: skip
    assert toto["call"] == {"seed": 7, "samples": 8, "windows_per_call": 2}
    assert (toto["device"], toto["threads"]) == ("cpu", 1) and "torch" in toto["packages"]
    assert toto["environment"]["OMP_NUM_THREADS"] == "1"
    assert not any("cache" in name.lower() or "TMP" in name for name in toto["environment"])


@pytest.mark.parametrize("model", CHOSEN)
def test_the_stored_forecast_is_of_the_stored_window(bundle, model):
    layout, manifest = bundle
    entry = manifest["models"][model]
    window = pq.read_table(layout.bundle / entry["window"]["file"])
    forecast = pq.read_table(layout.bundle / entry["forecast"]["file"])
    length, horizon = entry["window"]["context_length"], entry["window"]["horizon"]
    assert window.num_rows == length + horizon and forecast.num_rows == horizon
    assert np.array_equal(window.column("timestamp")[length:].to_numpy(), forecast.column("timestamp").to_numpy())
    assert np.array_equal(window.column("close")[length:].to_numpy(), forecast.column("actual").to_numpy())
    assert forecast.column("variant").unique().to_pylist() == [CHOSEN[model]]


def test_a_cache_of_another_variant_or_one_that_was_changed_is_refused(bundle):
    layout, _ = bundle
    file = next(path for path in (layout.cache("toto", "static-default") / "inductor").rglob("*") if path.is_file())
    kept = file.read_bytes()
    file.write_bytes(kept + b"x")
    try:
        with pytest.raises(UserError, match="not the compile cache that its record describes"):
            write_bundle(layout, "pass", (), CHOSEN, load_expected(layout.expected), MADE)
    finally:
        file.write_bytes(kept)
    assert read_json(layout.manifest)["gate"] == "pass", "what failed leaves the older bundle whole"
    assert not list(layout.root.glob(".deploy*"))


def test_a_bundle_that_is_taken_back_names_no_model(bundle):
    layout, _ = bundle
    withdraw(layout, "a run of today has begun and not finished", CHOSEN)
    manifest = json.loads(layout.manifest.read_text())
    assert broken_seal(manifest) is None
    assert (manifest["gate"], manifest["models"]) == ("not decided", {})
    assert manifest["reasons"] == ["a run of today has begun and not finished"]
    assert "GREENLIGHT_VERDICT=pass" not in layout.deploy.read_text()


def test_the_check_in_productions_environment_agrees_and_then_does_not(bundle, project):
    """As a process of its own: the cache of static-default hits, and both forecasts are the stored ones."""
    layout, _ = bundle

    def check():
        command = [sys.executable, "-m", "greenlight_forecasters.check", str(layout.bundle)]
        return subprocess.run(command, env=project.environment(), cwd=project.folder, capture_output=True, text=True)

    done = check()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == 1 and done.stdout.startswith("as judged: ")
    graphs = re.search(r"toto static-default: .* cache (\d+) of (\d+) graphs", done.stdout)
    assert graphs is not None and graphs[1] == graphs[2] != "0"
    file = project.folder / "workflow/greenlight_forecasters/toto/static/mixture.py"
    kept = file.read_text()
    file.write_text(kept + "\n# changed\n")
    try:
        done = check()
    finally:
        file.write_text(kept)
    assert done.returncode == 1 and "mixture.py is not what was judged" in done.stdout
