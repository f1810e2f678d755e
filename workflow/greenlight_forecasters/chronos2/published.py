"""The package `chronos-forecasting`, and its pipeline with a checkpoint's weights."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from greenlight.api import CONFIG, WEIGHTS, UserError, load_into, read_config
from greenlight_forecasters.chronos2.checkpoint import read_dimensions, read_tensors

with warnings.catch_warnings():
    # Optional packages that forecasting never uses are no news to whoever runs the gate.
    warnings.simplefilter("ignore")
    from chronos.chronos2 import Chronos2CoreConfig, Chronos2Model, Chronos2Pipeline
    from chronos.chronos2.layers import Chronos2LayerNorm
    from chronos.chronos_bolt import InstanceNorm

logging.getLogger("transformers").setLevel(logging.ERROR)

__all__ = ["Chronos2Model", "Chronos2Pipeline", "build", "in_double_precision", "load_published"]


def build(config: dict[str, Any], attention: str = "sdpa") -> Chronos2Model:
    """A published model of a configuration with random weights, float32 on the CPU, in training mode."""
    return Chronos2Model(Chronos2CoreConfig(**config, attn_implementation=attention))


def load_published(folder: Path, attention: str = "sdpa") -> Chronos2Pipeline:
    """The published pipeline with a checkpoint's weights, float32 on the CPU, in evaluation mode.

    `Chronos2Pipeline.from_pretrained` would read pickled weights too, and drops keys that it does not know with a
    warning; here weights are read from safetensors alone, and the key sets must be equal.

    Args:
        attention: `sdpa`, the published default, or `eager`.

    Raises:
        UserError: config.json or the weights do not fit the architecture.
    """
    read_dimensions(folder)
    config = read_config(folder)
    try:
        model = build(config, attention)
    except (TypeError, AssertionError, KeyError) as error:
        raise UserError(f"{folder / CONFIG}: the published Chronos-2 does not take it ({error})") from error
    load_into(model, read_tensors(folder), str(folder / WEIGHTS))
    return Chronos2Pipeline(model.eval())


class _LayerNorm(Chronos2LayerNorm):
    """The published norm without its rounding of the mean square to float32."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        mean = hidden_states.square().mean(-1, keepdim=True)
        return self.weight * (hidden_states * torch.rsqrt(mean + self.variance_epsilon))


class _InstanceNorm(InstanceNorm):
    """The published scaling without its rounding to float32."""

    def forward(self, x: torch.Tensor, loc_scale: Any = None) -> Any:
        if loc_scale is None:
            loc = torch.nan_to_num(torch.nanmean(x, dim=-1, keepdim=True), nan=0.0)
            scale = torch.nan_to_num((x - loc).square().nanmean(dim=-1, keepdim=True).sqrt(), nan=1.0)
            loc_scale = loc, torch.where(scale == 0, self.eps, scale)
        loc, scale = loc_scale
        scaled = (x - loc) / scale
        return torch.arcsinh(scaled) if self.use_arcsinh else scaled, loc_scale

    def inverse(self, x: torch.Tensor, loc_scale: Any, output_dtype: torch.dtype | None = None) -> torch.Tensor:
        loc, scale = loc_scale
        return (torch.sinh(x) if self.use_arcsinh else x) * scale + loc


_LIFTED = {Chronos2LayerNorm: _LayerNorm, InstanceNorm: _InstanceNorm}


def in_double_precision(model: Chronos2Model) -> Chronos2Model:
    """A published model in float64 throughout, in place.

    By itself it rounds to float32 in each norm, in scaling and at the end, whatever its weights are: no truth for
    float32 to be held to. The tables of time and of rotations stay as rounded as they are published: they are constants
    that the weights were trained with.
    """
    for module in model.modules():
        if type(module) in _LIFTED:
            module.__class__ = _LIFTED[type(module)]
    return model.double()
