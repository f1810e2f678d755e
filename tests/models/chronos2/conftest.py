"""Small random checkpoints of the real architecture, and the published code with their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from greenlight.files import write_json
from greenlight_forecasters.chronos2.published import build, in_double_precision, load_published
from tools.train_chronos2 import CONFIGURATION


def random_checkpoint(folder: Path, **changes: int) -> None:
    """Write a checkpoint of 2 layers with random weights, all of which matter to its forecasts."""
    small = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "initializer_factor": 0.4}
    config = CONFIGURATION | small | changes
    torch.manual_seed(0)
    model = build(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
            elif "norm" in name:
                parameter.uniform_(0.5, 1.5)
        for layer in (model.output_patch_embedding.output_layer, model.output_patch_embedding.residual_layer):
            layer.weight *= 0.1  # forecasts of a few standard deviations: what comes out goes through sinh
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    write_json(folder / "config.json", config)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A random checkpoint."""
    found = tmp_path_factory.mktemp("chronos2")
    random_checkpoint(found)
    return found


@pytest.fixture(scope="session")
def published(folder):
    """The published pipeline by dtype: float64 is its inner model without its rounding to float32."""
    double = load_published(folder)
    in_double_precision(double.model)
    return {torch.float32: load_published(folder), torch.float64: double}
