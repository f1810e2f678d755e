"""Published Toto models with random weights, and their uncached float64 run: the truth of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from greenlight.files import write_json
from greenlight_forecasters.toto.checkpoint import CAUSAL_PATCH_SCALER, STUDENT_T_MIXTURE
from greenlight_forecasters.toto.published import Toto
from tools.toto_exactness import largest_difference, uncached, walk

__all__ = ["CONFIGURATION", "largest_difference", "random_toto", "save_checkpoint", "uncached", "walk"]

CONFIGURATION: dict[str, Any] = {
    "patch_size": 16,
    "stride": 16,
    "embed_dim": 32,
    "num_layers": 6,
    "num_heads": 4,
    "mlp_hidden_dim": 48,
    "dropout": 0.1,
    "spacewise_every_n_layers": 3,
    "spacewise_first": False,
    "scaler_cls": CAUSAL_PATCH_SCALER,
    "output_distribution_classes": [STUDENT_T_MIXTURE],
    "output_distribution_kwargs": {"k_components": 5},
    "use_memory_efficient_attention": False,
    "stabilize_with_global": True,
    "scale_factor_exponent": 10.0,
}


def random_toto(seed: int = 0, sharpness: float = 1.0, **changes: Any) -> tuple[Toto, dict[str, Any]]:
    """A published model with random weights, and its configuration.

    Args:
        sharpness: factor on the weights of queries and keys: attention that is nearly uniform hides errors.
        changes: to CONFIGURATION.
    """
    configuration = CONFIGURATION | changes
    torch.manual_seed(seed)
    toto = Toto(**configuration).eval()
    with torch.no_grad():
        for name, parameter in toto.named_parameters():
            if name.endswith("scale"):
                parameter.uniform_(0.5, 1.5)
            if name.endswith("wQKV.weight"):
                parameter[: 2 * configuration["embed_dim"]] *= sharpness
    return toto, configuration


def save_checkpoint(toto: Toto, configuration: dict[str, Any], folder: Path) -> Path:
    """Write config.json and model.safetensors as published."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.contiguous() for name, t in toto.state_dict().items() if "rotary_emb" not in name}
    save_file(tensors, folder / "model.safetensors")
    write_json(folder / "config.json", configuration)
    return folder
