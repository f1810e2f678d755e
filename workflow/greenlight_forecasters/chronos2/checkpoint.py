"""Reading a Chronos-2 checkpoint into plain dimensions and tensors, without the published package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from greenlight.api import CONFIG, UserError, read_config, read_weights, resolve_checkpoint
from greenlight_forecasters import CHECKPOINTS

_ADAPTER = "adapter_config.json"
_ARCHITECTURE = "Chronos2Model"
# Norms inside layers have the configured epsilon; there is no other norm.
_BLOCK = "encoder.block"
_ATTENTION = ("q", "k", "v", "o")


@dataclass(frozen=True)
class Dimensions:
    """The parts of config.json that shape the network; names are those of the published configuration."""

    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    layer_norm_epsilon: float
    rope_theta: float
    activation: str
    patch: int
    context_length: int
    max_output_patches: int
    time_encoding_scale: int
    quantiles: tuple[float, ...]
    use_arcsinh: bool

    @property
    def context_patches(self) -> int:
        """Most patches of context that the model sees."""
        return -(-self.context_length // self.patch)

    @property
    def longest_horizon(self) -> int:
        """Most rows that one pass forecasts."""
        return self.max_output_patches * self.patch


def find(source: str, revision: str | None = None) -> Path:
    """The folder of a checkpoint; `UserError` as for `greenlight.api.resolve_checkpoint`."""
    return resolve_checkpoint(source, revision, embedded=CHECKPOINTS / "chronos-2", setting="models.chronos-2.source")


def read_dimensions(folder: Path) -> Dimensions:
    """The dimensions of a checkpoint; UserError where config.json is not Chronos-2's."""
    return dimensions_of(read_config(folder), str(folder / CONFIG))


def dimensions_of(config: dict[str, Any], where: str = CONFIG) -> Dimensions:
    """The dimensions in a configuration; UserError where it is not Chronos-2's.

    Args:
        where: the file, for error messages.
    """
    forecasting = config.get("chronos_config")
    architectures = config.get("architectures") or [_ARCHITECTURE]
    if not isinstance(forecasting, dict) or architectures != [_ARCHITECTURE]:
        raise UserError(
            f"{where}: architectures is {config.get('architectures')!r} and chronos_config is of type "
            f"{type(forecasting).__name__}; expected the configuration of a {_ARCHITECTURE}"
        )
    try:
        dimensions = _dimensions(config, forecasting)
        _check(config, forecasting, where)
    except (KeyError, TypeError) as error:
        raise UserError(f"{where}: {error} is missing or ill-formed; expected a Chronos-2 configuration") from error
    return dimensions


def _dimensions(config: dict[str, Any], forecasting: dict[str, Any]) -> Dimensions:
    length = forecasting["context_length"]
    return Dimensions(
        **{name: config[name] for name in ("d_model", "d_kv", "d_ff", "num_layers", "num_heads")},
        layer_norm_epsilon=config.get("layer_norm_epsilon", 1e-6),
        rope_theta=config.get("rope_theta", 10000.0),
        activation=config.get("feed_forward_proj", "relu"),
        patch=forecasting["input_patch_size"],
        context_length=length,
        max_output_patches=forecasting.get("max_output_patches", 1),
        time_encoding_scale=forecasting.get("time_encoding_scale") or length,
        quantiles=tuple(forecasting["quantiles"]),
        use_arcsinh=forecasting.get("use_arcsinh", False),
    )


def _check(config: dict[str, Any], forecasting: dict[str, Any], where: str) -> None:
    """Refuse what Chronos-2 as published never is, and our engine does not know."""
    patch = forecasting["input_patch_size"]
    for name, found, expected in (
        ("output_patch_size", forecasting["output_patch_size"], patch),
        ("input_patch_stride", forecasting["input_patch_stride"], patch),
        ("use_reg_token", forecasting.get("use_reg_token", False), True),
        ("feed_forward_proj", config.get("feed_forward_proj", "relu"), "relu"),
        ("context_length modulo input_patch_size", forecasting["context_length"] % patch, 0),
    ):
        if found != expected:
            raise UserError(f"{where}: {name} is {found!r}; Chronos-2, as run here, has {expected!r}")


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint; UserError for an adapter that has not been merged into its model."""
    if (folder / _ADAPTER).is_file():
        raise UserError(
            f"{folder / _ADAPTER}: the folder holds a LoRA adapter beside or instead of a model; merge it first "
            f"(peft: merge_and_unload, then save_pretrained to a folder of its own) and name that folder"
        )
    return read_weights(folder)


def published_names(dimensions: Dimensions) -> set[str]:
    """The parameter names of a published checkpoint."""
    names = {"shared.weight", "encoder.final_layer_norm.weight"}
    for block in ("input_patch_embedding", "output_patch_embedding"):
        for layer in ("hidden_layer", "output_layer", "residual_layer"):
            names |= {f"{block}.{layer}.{kind}" for kind in ("weight", "bias")}
    for index in range(dimensions.num_layers):
        layers = [f"{_BLOCK}.{index}.layer.{number}" for number in range(3)]
        names |= {f"{layer}.layer_norm.weight" for layer in layers}
        names |= {f"{layer}.self_attention.{name}.weight" for layer in layers[:2] for name in _ATTENTION}
        names |= {f"{layers[2]}.mlp.{name}.weight" for name in ("wi", "wo")}
    return names
