"""What a child of a stage loads for a variant in TF32 or bfloat16, and what it lets pass as rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from greenlight.data.windows import practice_windows
from greenlight.process import ProcessSettings
from greenlight.run.children.common import load
from greenlight.run.children.forecast import reproducibility
from greenlight.watch.precision import in_tf32
from greenlight.weights import contents_of
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.toto.static import TotoStatic

REQUEST = {
    "model": "toto",
    "plugin": "greenlight_forecasters.toto.plugin:MODEL",
    "folders": {"model": str(CHECKPOINTS / "toto")},
    "checkpoints": {"model": contents_of(CHECKPOINTS / "toto")},
    "code_run": {},
    "targets": dict.fromkeys(("upstream", "static")),
    "folders_of_code": {},
    "torch_state": {},
    "input": "prices",
    "device": "cpu",
    "settings": {},
    "seed": 3,
    "samples": 16,
    "mode": "eager",
    "timed_windows": 1,
}


def allowed():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


class Watched:
    """Remembers whether TF32 was allowed while it was called."""

    def forecast(self, windows, samples, seed):
        self.seen = allowed()
        if not windows:
            raise ValueError("nothing to forecast")
        return np.zeros((len(windows), samples, 1))

    probe = forecast


@pytest.mark.parametrize("method", ["forecast", "probe"])
def test_tf32_is_allowed_for_the_call_and_for_nothing_beside_it(method):
    before, watched = allowed(), in_tf32(Watched())
    assert before[0] is False

    getattr(watched, method)([1], 2, 0)
    assert watched.seen == (True, True)
    assert allowed() == before

    with pytest.raises(ValueError, match="nothing to forecast"):
        getattr(watched, method)([], 2, 0)
    assert allowed() == before


@pytest.mark.parametrize("method", ["forecast", "probe"])
def test_a_variant_is_called_as_the_process_calls_and_what_it_is_held_to_in_float32(method, monkeypatch):
    seen = []

    def state(self, windows, *rest):
        autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        kernels = torch.backends.cuda.flash_sdp_enabled()
        seen.append((torch.is_inference_mode_enabled(), autocast, torch.get_float32_matmul_precision(), kernels))

    monkeypatch.setattr(TotoStatic, method, state)
    request = REQUEST | {"torch_state": {"inference_mode": True, "sdpa": ["math"]}}
    ProcessSettings(sdpa=("math",)).set_up()
    try:
        for variant, dtype in (
            ("static-eager-autocast-bf16-matmul-medium", None),
            ("static-eager", None),
            ("static-eager-autocast-fp16", "float32"),
            ("static-eager", "float64"),
        ):
            getattr(load(request, variant, dtype), method)([])
    finally:
        ProcessSettings(sdpa=("flash", "efficient", "math", "cudnn")).set_up()
    assert seen == [
        (True, torch.bfloat16, "medium", False),
        (True, None, "highest", False),
        (True, None, "highest", False),
        (True, None, "highest", True),
    ]


def test_published_code_under_autocast_rounds_as_bfloat16_does():
    windows = practice_windows(2, 64, 12, seed=1)
    plain, rounded = (
        load(REQUEST, variant).probe(windows)["loc"] for variant in ("upstream-eager", "upstream-eager-autocast-bf16")
    )
    scale = np.abs(plain).mean()
    assert 1e-4 * scale < np.abs(rounded - plain).mean() < 0.3 * scale


def test_each_precision_is_what_its_name_says():
    """Forecasts with the same random numbers: bfloat16 rounds them, TF32 needs a CUDA device, float64 is neither."""
    windows = practice_windows(4, 64, 12, seed=1)
    plain, rounded, tf32, exact = (
        load(REQUEST, variant, dtype).probe(windows)["loc"]
        for variant, dtype in (
            ("static-eager", None),
            ("static-eager-bf16", None),
            ("static-eager-tf32", None),
            ("static-eager-bf16", "float64"),
        )
    )
    scale = np.sqrt(np.mean(exact**2))

    assert np.abs(plain - exact).max() < 1e-5 * scale
    assert 1e-4 * scale < np.abs(rounded - exact).max() < 0.1 * scale
    assert np.array_equal(plain, tf32)


class OneWrongRow:
    """Forecasts the second of several windows as if it were the first."""

    def __init__(self, forecaster):
        self.forecaster = forecaster
        self.scales_with_prices = self.shifts_with_prices = True

    def forecast(self, windows, samples, seed):
        paths = self.forecaster.forecast(windows, samples, seed)
        if len(windows) > 1:
            paths[1] = paths[0]
        return paths


def test_a_batch_may_round_in_bfloat16_and_may_not_mix_rows_up():
    forecaster, windows = load(REQUEST, "static-eager-bf16"), practice_windows(3, 64, 12, seed=1)
    found = reproducibility(forecaster, windows, REQUEST | {"precision": "bf16"})
    strict = reproducibility(forecaster, windows, REQUEST | {"precision": "float32"})
    mixed = reproducibility(OneWrongRow(forecaster), windows, REQUEST | {"precision": "bf16"})

    for name in ("batch_equals_rows", "order_irrelevant"):
        assert found[name]["max_abs_difference"] <= found[name]["tolerance"] == 0.10
    assert found["affine"]["max_relative_difference"] <= found["affine"]["tolerance"] == 0.10
    assert strict["batch_equals_rows"]["max_abs_difference"] > strict["batch_equals_rows"]["tolerance"] == 0.01
    assert mixed["batch_equals_rows"]["max_abs_difference"] > 1
