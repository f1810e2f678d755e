"""Reading a Toto checkpoint into plain dimensions and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from greenlight.api import UserError, read_weights, resolve_checkpoint
from greenlight_forecasters import CHECKPOINTS

# Both namings of the feed-forward layers occur in checkpoints: xFormers' fused ones and plain ones.
_PLAIN_NAMES = {
    ".mlp.0.w12.": ".mlp.0.",
    ".mlp.0.w3.": ".mlp.2.",
}
# A buffer that is computed, not learned.
COMPUTED = ("rotary_emb.freqs",)
CAUSAL_PATCH_SCALER = "<class 'model.scaler.CausalPatchStdMeanScaler'>"
STUDENT_T_MIXTURE = "<class 'model.distribution.MixtureOfStudentTsOutput'>"


@dataclass(frozen=True)
class Dimensions:
    """The parts of config.json that shape the network; the names are those of the published `Toto`."""

    patch_size: int
    stride: int
    embed_dim: int
    num_layers: int
    num_heads: int
    mlp_hidden_dim: int
    spacewise_every_n_layers: int
    k_components: int
    spacewise_first: bool = True
    stabilize_with_global: bool = True
    scale_factor_exponent: float = 10.0

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.embed_dim // self.num_heads

    @property
    def time_layers(self) -> tuple[bool, ...]:
        """For each layer, whether it attends over time; the others attend over variates."""
        every = self.spacewise_every_n_layers
        if every == -1:
            return (True,) * self.num_layers
        space = 0 if self.spacewise_first else every - 1
        return tuple(layer % every != space for layer in range(self.num_layers))


def find(source: str, revision: str | None = None) -> Path:
    """The folder of a checkpoint; `UserError` as for `greenlight.api.resolve_checkpoint`."""
    return resolve_checkpoint(source, revision, embedded=CHECKPOINTS / "toto", setting="models.toto.source")


def read_dimensions(config: dict[str, Any], where: str) -> Dimensions:
    """Dimensions from config.json; UserError for a key that is missing or an architecture that Toto 1.0 is
    not.

    Args:
        where: the file, for error messages.
    """
    try:
        known = config | {"k_components": config["output_distribution_kwargs"]["k_components"]}
        named = [own.name for own in fields(Dimensions) if own.default is MISSING or own.name in known]
        dimensions = Dimensions(**{name: known[name] for name in named})
        scaler, outputs = config["scaler_cls"], config["output_distribution_classes"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{where}: {error} is missing; expected the config.json of a Toto 1.0 checkpoint") from error
    for name, found, expected in (
        ("scaler_cls", scaler, CAUSAL_PATCH_SCALER),
        ("output_distribution_classes", outputs, [STUDENT_T_MIXTURE]),
        ("stride", dimensions.stride, dimensions.patch_size),
    ):
        if found != expected:
            raise UserError(f"{where}: {name} is {found!r}; Toto 1.0, as run here, has {expected!r}")
    return dimensions


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint under the plain names (`mlp.0`, `mlp.2`), without computed buffers."""
    return plain_names(read_weights(folder))


def plain_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors under the plain names, without computed buffers."""
    named = {}
    for name, tensor in tensors.items():
        for fused, plain in _PLAIN_NAMES.items():
            name = name.replace(fused, plain)
        if not name.endswith(COMPUTED):
            named[name] = tensor
    return named
