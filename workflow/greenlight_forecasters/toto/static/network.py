"""Toto's transformer as plain blocks, with its two linear outputs folded into one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenlight_forecasters.toto.checkpoint import Dimensions

# xPos: an exponential decay with relative distance (Sun et al., arXiv:2212.10554), constants of rotary-embedding-torch.
_ROTARY_BASE = 10000.0
_XPOS_SCALE_BASE = 512
_NORM_EPSILON = 1e-8


class RMSNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich, arXiv:1910.07467) with the published epsilon."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return hidden / torch.sqrt((hidden * hidden).mean(-1, keepdim=True) + _NORM_EPSILON) * self.scale


class Layer(nn.Module):
    """Weights of a transformer layer: pre-norm attention over time or over variates, pre-norm SwiGLU.

    What attention sees differs between prefill and decoding, so attention itself is in `prefill` and `decode`.
    """

    def __init__(self, dimensions: Dimensions, over_time: bool) -> None:
        super().__init__()
        width, hidden = dimensions.embed_dim, dimensions.mlp_hidden_dim
        self.over_time = over_time
        self.heads = dimensions.num_heads
        self.attention_norm = RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward_norm = RMSNorm(width)
        self.gate_and_value = nn.Linear(width, 2 * hidden)
        self.down = nn.Linear(hidden, width)

    def queries_keys_values(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three tensors [..., heads, head_dim] of normalised hidden states [..., width]."""
        projected = self.qkv(self.attention_norm(hidden))
        return projected.unflatten(-1, (3, self.heads, -1)).unbind(-3)

    def values(self, hidden: Tensor) -> Tensor:
        """The values alone, [..., width]."""
        return self.qkv(self.attention_norm(hidden))[..., 2 * hidden.shape[-1] :]

    def feed_forward(self, hidden: Tensor) -> Tensor:
        """SwiGLU (Shazeer, arXiv:2002.05202) of normalised hidden states [..., width]."""
        gate, value = self.gate_and_value(self.feed_forward_norm(hidden)).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * value)


class Network(nn.Module):
    """All weights of Toto: patch projection, layers, and one output layer for the distribution's parameters."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.projection = nn.Linear(dimensions.patch_size, dimensions.embed_dim)
        self.layers = nn.ModuleList(Layer(dimensions, over_time) for over_time in dimensions.time_layers)
        # The published unembedding to patch x width and the four heads on it, which are linear one after the other.
        self.output = nn.Linear(dimensions.embed_dim, dimensions.patch_size * 4 * dimensions.k_components)

    @property
    def dtype(self) -> torch.dtype:
        """What the transformer computes in."""
        return self.layers[0].attention_norm.scale.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.layers[0].attention_norm.scale.device

    @classmethod
    def from_published(cls, dimensions: Dimensions, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> Network:
        """The network with a checkpoint's weights, in evaluation mode and without gradients.

        Args:
            tensors: under the published names, already checked against the published key set.
        """
        network = cls(dimensions).to(dtype)
        state = {
            "projection.weight": tensors["model.patch_embed.projection.weight"],
            "projection.bias": tensors["model.patch_embed.projection.bias"],
        }
        for index in range(dimensions.num_layers):
            source, target = f"model.transformer.layers.{index}", f"layers.{index}"
            state[f"{target}.attention_norm.scale"] = tensors[f"{source}.norm1.scale"]
            state[f"{target}.feed_forward_norm.scale"] = tensors[f"{source}.norm2.scale"]
            for kind in ("weight", "bias"):
                state[f"{target}.qkv.{kind}"] = _heads_first(tensors[f"{source}.attention.wQKV.{kind}"], dimensions)
                state[f"{target}.output.{kind}"] = tensors[f"{source}.attention.wO.{kind}"]
                state[f"{target}.gate_and_value.{kind}"] = tensors[f"{source}.mlp.0.{kind}"]
                state[f"{target}.down.{kind}"] = tensors[f"{source}.mlp.2.{kind}"]
        state["output.weight"], state["output.bias"] = _folded_output(dimensions, tensors)
        network.load_state_dict(state)
        return network.requires_grad_(False).eval()

    def embed(self, patches: Tensor) -> Tensor:
        """Hidden states [..., width] of scaled patches [..., patch]."""
        return self.projection(patches.to(self.dtype))


def published_names(dimensions: Dimensions) -> set[str]:
    """The parameter names of a published checkpoint, with the plain names of the feed-forward layers."""
    names = {"model.patch_embed.projection", "model.unembed"}
    names |= {f"model.output_distribution.{head}" for head in _HEADS}
    layers = [f"model.transformer.layers.{index}" for index in range(dimensions.num_layers)]
    for layer in layers:
        names |= {f"{layer}.{name}" for name in ("attention.wQKV", "attention.wO", "mlp.0", "mlp.2")}
    linear = {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}
    return linear | {f"{layer}.{norm}.scale" for layer in layers for norm in ("norm1", "norm2")}


_HEADS = ("df", "loc_proj", "scale_proj", "mixture_weights")


def _heads_first(tensor: Tensor, dimensions: Dimensions) -> Tensor:
    """wQKV's output runs over (qkv, head_dim, heads); ours over (qkv, heads, head_dim), as wO's input does."""
    parts = tensor.unflatten(0, (3, dimensions.head_dim, dimensions.num_heads))
    return parts.transpose(1, 2).flatten(0, 2)


def _folded_output(dimensions: Dimensions, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The product of the unembedding and the heads, formed in float64: its output runs over (patch, head, component).

    Each row of the patch has its own slice [width, width] of the unembedding; the heads are the same for all rows.
    """
    heads = torch.cat([tensors[f"model.output_distribution.{head}.weight"] for head in _HEADS]).double()
    head_bias = torch.cat([tensors[f"model.output_distribution.{head}.bias"] for head in _HEADS]).double()
    width = dimensions.embed_dim
    unembed = tensors["model.unembed.weight"].double().view(dimensions.patch_size, width, width)
    unembed_bias = tensors["model.unembed.bias"].double().view(dimensions.patch_size, width)
    weight = (heads @ unembed).flatten(0, 1)
    bias = (unembed_bias @ heads.T + head_bias).flatten()
    return weight, bias


def rotary_tables(positions: range, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotations of queries and keys by position: (query cos, query sin, key cos, key sin), [positions, head_dim].

    The xPos scale is in the tables. Its exponent is the position itself: any constant centre cancels in the product
    of query and key (the published code's centre moves, which is its KV cache's error). Pairs (2i, 2i + 1) rotate
    together, yet the published scale is repeated block-wise, so that the two get different scales.
    """
    # The published frequencies and scales are rounded to float32 before use; the rest is exact to float64.
    even = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu")
    frequencies = (1.0 / (_ROTARY_BASE ** (even / head_dim))).double()
    scales = ((even + 0.4 * head_dim) / (1.4 * head_dim)).double()
    position = torch.tensor(positions, dtype=torch.float64, device="cpu")[:, None]
    angles = (position * frequencies).repeat_interleave(2, dim=-1)
    growth = (scales ** (position / _XPOS_SCALE_BASE)).repeat(1, 2)
    tables = angles.cos() * growth, angles.sin() * growth, angles.cos() / growth, angles.sin() / growth
    return tuple(table.to(dtype) for table in tables)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (2i, 2i + 1) of the last dimension; cos and sin broadcast against `heads`."""
    first, second = heads.unflatten(-1, (-1, 2)).unbind(-1)
    rotated = heads * cos + torch.stack((-second, first), dim=-1).flatten(-2) * sin
    return rotated.to(heads.dtype)
