"""Published Toto models with random weights, and their uncached float64 run: the truth of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import pad

from greenlight.files import write_json
from greenlight_forecasters.toto.checkpoint import CAUSAL_PATCH_SCALER, STUDENT_T_MIXTURE
from greenlight_forecasters.toto.published import Toto, TotoBackbone
from greenlight_forecasters.toto.static.mixture import Mixture

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


@torch.no_grad()
def uncached(
    backbone: TotoBackbone,
    series: Tensor,
    truth: Tensor,
    observed: Tensor | None = None,
    groups: Tensor | None = None,
) -> Mixture:
    """Teacher-forced distributions of the published backbone without a cache, one forward for each step.

    Args:
        series: [windows, variates, length], padded on the left with zeros under a False mask to whole patches.
        truth: [windows, variates, patches, patch].

    Returns:
        Fields [windows, variates, patches + 1, ...], as `TotoEngine.teacher_forced` returns them.
    """
    patch = backbone.patch_embed.patch_size
    observed = torch.ones_like(series, dtype=torch.bool) if observed is None else observed
    groups = torch.zeros(series.shape[:2], dtype=torch.int64) if groups is None else groups
    padding = (-series.shape[-1] % patch, 0)
    inputs = pad(series, padding).to(next(backbone.parameters()).dtype)
    observed = pad(observed, padding)
    prefix = inputs.shape[-1]
    steps = []
    for step in range(truth.shape[2] + 1):
        if step:
            inputs = torch.cat((inputs, truth[:, :, step - 1].to(inputs)), dim=-1)
            observed = torch.cat((observed, torch.ones_like(truth[:, :, step - 1], dtype=torch.bool)), dim=-1)
        ids = groups[..., None].expand(inputs.shape)
        output = backbone(inputs, observed, ids, None, prefix)
        components = output.distribution.component_distribution
        weights = output.distribution.mixture_distribution.probs
        last = [part[:, :, -patch:] for part in (components.df, components.loc, components.scale, weights)]
        steps.append([*last, output.loc[..., -1], output.scale[..., -1]])
    return Mixture(*(torch.stack(field, dim=2) for field in zip(*steps, strict=True)))


def largest_difference(found: Mixture, expected: Mixture) -> float:
    """The largest difference of any parameter, relative where the parameter is above 1; infinite for NaN."""
    worst = 0.0
    for name, value, truth in zip(Mixture._fields, found, expected, strict=True):
        assert value.shape == truth.shape, name
        scale = truth.double().abs()
        # The scaler's figures are in the unit of the series: always relative.
        scale = scale.clamp_min(1e-30) if name == "scaler_scale" else scale.clamp_min(1.0)
        if name == "scaler_loc":
            scale = torch.maximum(scale, expected.scaler_scale.double())
        difference = ((value.double() - truth.double()).abs() / scale).max().item()
        worst = max(worst, difference if np.isfinite(difference) else np.inf)
    return worst


def walk(seed: int, *shape: int) -> Tensor:
    """Random walks along the last dimension, float64 values that float32 holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).cumsum(-1).float().double()
