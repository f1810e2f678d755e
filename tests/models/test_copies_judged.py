"""Edited copies of the published code under the gate: the usual edit passes, wrong ones fail with the right reason."""

from __future__ import annotations

import importlib
import json
import shutil

import pytest

from greenlight.code import places_of
from greenlight.files import json_text
from tests.models.kronos.test_kronos_published import KRONOS, MODULE
from tools.quick_run import QuickRun, trial_of
from tools.simulate import write_universe

CONFIG = {
    "trials": {"repeats": 1},
    "evaluation": {
        "context_length": 48,
        "horizon": 12,
        "windows": 2,
        "samples": 4,
        "probe_windows": 2,
        "extra_seconds": 0,
    },
}
ITEM = "int(self._layer_cache_map[layer_idx].item())"


def in_this_process(layout, job, module, request, **options):
    """Runs a child of a stage; its record says how it ended."""
    result = json.loads(json_text(importlib.import_module(module).run(request)))
    return trial_of(request, result)


@pytest.fixture
def checks(tmp_path):
    """Measures copies, given by name and folder, beside the reference; gives checks by (variant, name)."""
    write_universe(tmp_path / "prices", 3, rows=120, seed=3)

    def measure(model, copies):
        variants = ["upstream-eager", *(f"{name}-eager" for name in copies)]
        code = {name: str(folder) for name, folder in copies.items()}
        config = CONFIG | {"data_folder": str(tmp_path / "prices"), "results_folder": str(tmp_path / "results")}
        run = QuickRun(config | {"models": {model: {"variants": variants, "code": code}}}, in_this_process)
        run.begin()
        for variant in variants:
            run.measure(model, variant, ("predict", "probe"))
        return {(check.variant, check.name): check for check in run.judge().checks}

    return measure


def vendored(folder, old, new):
    """A copy of the installed package with one edit of its KV cache."""
    (installed,) = places_of("toto")
    shutil.copytree(installed, folder / "toto", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "toto" / "model" / "util.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return folder


@pytest.mark.slow
def test_a_vendored_toto_is_judged_by_what_its_edit_does(checks, tmp_path):
    usual = vendored(tmp_path / "usual", ITEM, "int(self._layer_cache_map[layer_idx])")
    # Each key of a decode step goes where that of the step before it lies.
    one_back = "self._keys[cache_idx, :, :, start_idx - int(start_idx > 0) : end_idx - int(start_idx > 0), :] = keys"
    wrong = vendored(tmp_path / "wrong", "self._keys[cache_idx, :, :, start_idx:end_idx, :] = keys", one_back)
    found = checks("toto", {"usual": usual, "wrong": wrong})
    for name in ("numerics", "forecasts-agree", "batch-equals-rows"):
        assert found["usual-eager", name].status == "pass", found["usual-eager", name].reason
    assert "equal to the bit" in found["usual-eager", "mae-not-worse"].reason
    assert found["wrong-eager", "numerics"].status == "fail" and found["wrong-eager", "numerics"].blocking
    assert "decode step" in found["wrong-eager", "numerics"].reason


@pytest.mark.slow
def test_a_fork_of_kronos_with_another_attention_scale_fails(checks, tmp_path):
    scale = "        for block in self.transformer:\n"
    scale += "            block.self_attn.q_proj.register_forward_hook(lambda module, given, out: 1.5 * out)\n"
    for name, added in (("same", ""), ("scaled", scale)):
        folder = tmp_path / name / "model"
        folder.mkdir(parents=True)
        (folder / "module.py").write_text(MODULE)
        mark = "        super().__init__(ModelConfig(**dimensions))\n"
        assert mark in KRONOS
        (folder / "kronos.py").write_text(KRONOS.replace(mark, mark + added))
    found = checks("kronos", {"same": tmp_path / "same", "scaled": tmp_path / "scaled"})
    for name in ("numerics", "forecasts-agree"):
        assert found["same-eager", name].status == "pass", found["same-eager", name].reason
    assert found["scaled-eager", "numerics"].status == "fail" and found["scaled-eager", "numerics"].blocking
    assert found["scaled-eager", "forecasts-agree"].status == "fail"
