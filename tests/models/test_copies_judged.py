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
        "horizon": 9,  # of more than one patch of Toto's
        "windows": 1,
        "samples": 4,
        "probe_windows": 2,
        "extra_seconds": 0,
        "call": {"concurrency": 1},
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


def vendored(folder, old, new, file="util.py"):
    """A copy of the installed package with one edit, of its KV cache unless another file is named."""
    (installed,) = places_of("toto")
    shutil.copytree(installed, folder / "toto", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "toto" / "model" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return folder


def fork(folder, added=""):
    """A copy of a stand-in for the published code of Kronos, with lines at the end of its network's __init__."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "module.py").write_text(MODULE)
    mark = "        super().__init__(ModelConfig(**dimensions))\n"
    assert mark in KRONOS
    (folder / "model" / "kronos.py").write_text(KRONOS.replace(mark, mark + added))
    return folder


# An upper or lower edge of what each position sees, a row of keys from where it is due; the first is always seen.
MASKS = {"later": "tril(1)", "before": "tril(-1)"}


def assert_they_fail(found, *names):
    for name in names:
        check = found[f"{name}-eager", "numerics"]
        assert check.status == "fail" and check.blocking, (name, check.reason)


@pytest.mark.slow
def test_a_vendored_toto_is_judged_by_what_its_edit_does(checks, tmp_path):
    usual = vendored(tmp_path / "usual", ITEM, "int(self._layer_cache_map[layer_idx])")
    # Each key of a decode step goes where that of the step before it lies.
    one_back = "self._keys[cache_idx, :, :, start_idx - int(start_idx > 0) : end_idx - int(start_idx > 0), :] = keys"
    wrong = vendored(tmp_path / "wrong", "self._keys[cache_idx, :, :, start_idx:end_idx, :] = keys", one_back)
    start = "        q_dim_start, q_dim_end = seq_pos_offset, seq_pos_offset + seq_len\n"
    masked = {}
    for name, edge in MASKS.items():
        mask = (
            "        if self.attention_axis == AttentionAxis.TIME:\n"
            f"            seen = torch.ones(k.shape[2], k.shape[2]).{edge}\n"
            "            seen[:, 0] = 1\n"
            "            attention_mask = seen.log().to(q)\n"
        )
        masked[name] = vendored(tmp_path / name, start, mask + start, "attention.py")
    found = checks("toto", {"usual": usual, "wrong": wrong, **masked})
    for name in ("numerics", "forecasts-agree", "batch-equals-rows"):
        assert found["usual-eager", name].status == "pass", found["usual-eager", name].reason
    assert "equal to the bit" in found["usual-eager", "mae-not-worse"].reason
    assert_they_fail(found, "wrong", *MASKS)
    assert "decode step" in found["wrong-eager", "numerics"].reason
    for name in MASKS:
        assert found[f"{name}-eager", "forecasts-agree"].status == "fail", name


@pytest.mark.slow
def test_a_fork_of_kronos_with_another_attention_scale_or_mask_fails(checks, tmp_path):
    scale = "        for block in self.transformer:\n"
    scale += "            block.self_attn.q_proj.register_forward_hook(lambda module, given, out: 1.5 * out)\n"
    attend = (
        "        def attend(self, query, key, value, causal):\n"
        "            seen = torch.ones(query.shape[2], key.shape[2]).tril(1).log().to(query)\n"
        "            mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, seen)\n"
        "            return self.out_proj(mixed.transpose(1, 2).flatten(2))\n\n"
        "        for block in self.transformer:\n"
        "            block.self_attn.attend = attend.__get__(block.self_attn)\n"
    )
    # The token of a step, alone in its call, does not see the last hidden state.
    cross = (
        "        def short(module, given):\n"
        "            query, context = given\n"
        "            return query, context[:, :-1] if query.shape[1] == 1 else context\n\n"
        "        self.dep_layer.cross_attn.register_forward_pre_hook(short)\n"
    )
    edits = {"same": "", "scaled": scale, "later": attend, "cross": cross}
    found = checks("kronos", {name: fork(tmp_path / name, added) for name, added in edits.items()})
    for name in ("numerics", "forecasts-agree"):
        assert found["same-eager", name].status == "pass", found["same-eager", name].reason
    assert_they_fail(found, "scaled", "later", "cross")
    assert found["scaled-eager", "forecasts-agree"].status == "fail"
