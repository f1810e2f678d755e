"""The published model with random weights, of given dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from greenlight_forecasters.chronos2 import LEVELS
from greenlight_forecasters.chronos2.published import Chronos2Model, build

PATCH = 16
PUBLISHED: dict[str, Any] = {
    "architectures": ["Chronos2Model"],
    "chronos_pipeline_class": "Chronos2Pipeline",
    "chronos_config": {
        "context_length": 8192,
        "input_patch_size": PATCH,
        "input_patch_stride": PATCH,
        "max_output_patches": 64,
        "output_patch_size": PATCH,
        "quantiles": list(LEVELS),
        "time_encoding_scale": 8192,
        "use_arcsinh": True,
        "use_reg_token": True,
    },
    "dropout_rate": 0.0,
    "feed_forward_proj": "relu",
    "layer_norm_epsilon": 1e-6,
    "rope_theta": 10000.0,
}
"""config.json of the published model, without its dimensions."""


def network(dimensions: Mapping[str, Any]) -> tuple[dict[str, Any], Chronos2Model]:
    """config.json and the published model."""
    config = {**PUBLISHED, **dimensions, "initializer_factor": 0.05}
    model = build(config)
    _let_quantiles_ascend(model.output_patch_embedding)
    return config, model


@torch.no_grad()
def _let_quantiles_ascend(head: nn.Module) -> None:
    """Give all levels of the last layers the same weights, and a bias that grows: what descends is refused."""
    for layer in (head.output_layer, head.residual_layer):
        for part in (layer.weight, layer.bias):
            levels = part.view(len(LEVELS), PATCH, -1)
            levels.copy_(levels[:1].clone().expand_as(levels))
    head.output_layer.bias.view(len(LEVELS), PATCH).add_(torch.linspace(-1, 1, len(LEVELS))[:, None])
