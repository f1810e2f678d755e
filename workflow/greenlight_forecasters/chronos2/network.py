"""Chronos-2's weights as plain blocks: products over the same input joined, what is constant computed once.

Letters in shapes, here and in `engine`: R rows (a row is one variate of one window), N patches of context, M patches to
forecast, T = N + 1 + M tokens, p rows of prices in a patch, h heads, d their width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenlight_forecasters.chronos2.checkpoint import Dimensions


class Norm(nn.Module):
    """Root mean square norm, as T5 has it."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return self.weight * (hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + self.epsilon))


class Residual(nn.Module):
    """The published residual block: two layers with ReLU between them, plus a linear layer beside them.

    The first and the one beside have the same input, so that they are one product.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.sizes = (hidden, outputs)
        self.first = nn.Linear(inputs, hidden + outputs)
        self.second = nn.Linear(hidden, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """features [..., inputs] to [..., outputs]."""
        hidden, beside = self.first(features).split(self.sizes, dim=-1)
        return self.second(functional.relu(hidden)) + beside


class Block(nn.Module):
    """One layer: attention over time, attention among the rows of a group at each token, feed-forward.

    Attributes:
        time_all, time_query, time_keys_values: queries, keys and values as one product; in the last layer, where only
            some tokens ask, as two.
        alone: the values and the output of the attention among rows as one product, for rows that attend to
            themselves only: their attention is 1.
    """

    def __init__(self, dimensions: Dimensions, last: bool) -> None:
        super().__init__()
        self.last = last
        width, inner = dimensions.d_model, dimensions.num_heads * dimensions.d_kv
        self.heads = dimensions.num_heads
        self.time_norm, self.group_norm, self.forward_norm = (
            Norm(width, dimensions.layer_norm_epsilon) for _ in range(3)
        )
        if last:
            self.time_query = nn.Linear(width, inner, bias=False)
            self.time_keys_values = nn.Linear(width, 2 * inner, bias=False)
        else:
            self.time_all = nn.Linear(width, 3 * inner, bias=False)
        self.time_output = nn.Linear(inner, width, bias=False)
        self.group_all = nn.Linear(width, 3 * inner, bias=False)
        self.group_output = nn.Linear(inner, width, bias=False)
        self.alone = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, dimensions.d_ff, bias=False)
        self.down = nn.Linear(dimensions.d_ff, width, bias=False)

    def over_time(self, hidden: Tensor, asking: int, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The tokens after attention to all tokens: [R, T, width], of the last layer the last `asking` of them.

        Args:
            hidden: [R, T, width].
            bias: [R, 1, 1, T], minus infinity at tokens that nobody looks at.
            cos, sin: [T, d].
        """
        normed = self.time_norm(hidden)
        if self.last:
            hidden, own_cos, own_sin = hidden[:, -asking:], cos[-asking:], sin[-asking:]
            products = self.time_query(normed[:, -asking:]), *self.time_keys_values(normed).chunk(2, dim=-1)
        else:
            own_cos, own_sin = cos, sin
            products = self.time_all(normed).chunk(3, dim=-1)
        queries, keys, values = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in products)
        queries, keys = rotate(queries, own_cos, own_sin), rotate(keys, cos, sin)
        attended = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=1.0)
        return hidden + self.time_output(attended.transpose(1, 2).flatten(-2))

    def among_rows(self, hidden: Tensor, bias: Tensor | None) -> Tensor:
        """hidden [R, tokens, width] after attention among the rows of each group at the same token.

        Args:
            bias: [tokens, 1, R, R], minus infinity at rows that a row does not look at; None if all rows are alone.
        """
        normed = self.group_norm(hidden)
        if bias is None:
            return hidden + self.alone(normed)
        parts = self.group_all(normed).unflatten(-1, (3, self.heads, -1)).permute(2, 1, 3, 0, 4)  # [3, tokens, h, R, d]
        attended = functional.scaled_dot_product_attention(*parts, attn_mask=bias, scale=1.0)
        return hidden + self.group_output(attended.permute(2, 0, 1, 3).flatten(-2))

    def feed_forward(self, hidden: Tensor) -> Tensor:
        """hidden [R, tokens, width] after the feed-forward layer."""
        return hidden + self.down(functional.relu(self.up(self.forward_norm(hidden))))


class Network(nn.Module):
    """All weights of Chronos-2, and its tables.

    Attributes:
        context_times: [most N, p], the time encoding of a patch by how many patches are between it and the end.
        future: [most M, width], the embedding of each patch to forecast: nothing is known of it but its time.
        cos, sin: [most T, d], rotations by position.
    """

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.dimensions = dimensions
        width, patch = dimensions.d_model, dimensions.patch
        self.register = nn.Parameter(torch.zeros(width))
        self.embedding = Residual(3 * patch, dimensions.d_ff, width)
        last = dimensions.num_layers - 1
        self.blocks = nn.ModuleList(Block(dimensions, number == last) for number in range(dimensions.num_layers))
        self.norm = Norm(width, dimensions.layer_norm_epsilon)
        self.head = Residual(width, dimensions.d_ff, len(dimensions.quantiles) * patch)

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return self.register.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.register.device

    @classmethod
    def from_published(
        cls, dimensions: Dimensions, tensors: Mapping[str, Tensor], dtype: torch.dtype, device: torch.device
    ) -> Network:
        """The network with a checkpoint's weights, in evaluation mode and without gradients.

        Args:
            tensors: under the published names, already checked against the published key set.

        Raises:
            RuntimeError: shapes that do not fit the dimensions.
        """
        with torch.device("cpu"):
            network = cls(dimensions).to(dtype)
        state = {"register": tensors["shared.weight"][1], "norm.weight": tensors["encoder.final_layer_norm.weight"]}
        state |= _residual("embedding", "input_patch_embedding", tensors)
        state |= _residual("head", "output_patch_embedding", tensors)
        for index in range(dimensions.num_layers):
            last = index == dimensions.num_layers - 1
            state |= _block(f"blocks.{index}", f"encoder.block.{index}.layer", tensors, last)
        network.load_state_dict(state)
        return network.to(device).requires_grad_(False).eval()._with_tables()

    def _with_tables(self) -> Network:
        """Compute the tables, once the weights are there and on their device."""
        most, patch = self.dimensions, self.dimensions.patch
        scale = most.time_encoding_scale
        back = torch.arange(-most.context_patches * patch, 0, dtype=torch.float32, device=self.device)
        ahead = torch.arange(0, most.longest_horizon, dtype=torch.float32, device=self.device)
        times = (back.div(scale).unflatten(0, (-1, patch)).flip(0), ahead.div(scale).unflatten(0, (-1, patch)))
        context_times, future_times = (one.to(self.dtype) for one in times)
        future = self.embedding(functional.pad(future_times, (0, 2 * patch)))
        tokens = most.context_patches + 1 + most.max_output_patches
        cos, sin = rotary_tables(tokens, most, self.device)
        tables = {
            "context_times": context_times,
            "future": future,
            "cos": cos.to(self.dtype),
            "sin": sin.to(self.dtype),
        }
        for name, table in tables.items():
            self.register_buffer(name, table.contiguous(), persistent=False)
        return self


def rotary_tables(positions: int, dimensions: Dimensions, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [positions, d] float32, rounded as the published code rounds them, whatever it computes in."""
    even = torch.arange(0, dimensions.d_kv, 2, dtype=torch.int64, device="cpu").to(torch.float32)
    frequencies = (1.0 / (dimensions.rope_theta ** (even / dimensions.d_kv))).to(device)
    angles = torch.arange(positions, device=device).to(torch.float32)[:, None] * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + d / 2) of the last dimension; cos and sin broadcast against `heads`."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cos + torch.cat((-second, first), dim=-1) * sin


def _residual(name: str, published: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {}
    for kind in ("weight", "bias"):
        first, beside = (tensors[f"{published}.{layer}.{kind}"] for layer in ("hidden_layer", "residual_layer"))
        state[f"{name}.first.{kind}"] = torch.cat([first, beside])
        state[f"{name}.second.{kind}"] = tensors[f"{published}.output_layer.{kind}"]
    return state


def _block(name: str, published: str, tensors: Mapping[str, Tensor], last: bool) -> dict[str, Tensor]:
    time, group = (
        {key: tensors[f"{published}.{layer}.self_attention.{key}.weight"] for key in "qkvo"} for layer in (0, 1)
    )
    weights = {
        "time_norm": tensors[f"{published}.0.layer_norm.weight"],
        "time_output": time["o"],
        "group_norm": tensors[f"{published}.1.layer_norm.weight"],
        "group_all": torch.cat([group["q"], group["k"], group["v"]]),
        "group_output": group["o"],
        "alone": group["o"].double() @ group["v"].double(),
        "forward_norm": tensors[f"{published}.2.layer_norm.weight"],
        "up": tensors[f"{published}.2.mlp.wi.weight"],
        "down": tensors[f"{published}.2.mlp.wo.weight"],
    }
    if last:
        weights |= {"time_query": time["q"], "time_keys_values": torch.cat([time["k"], time["v"]])}
    else:
        weights["time_all"] = torch.cat([time["q"], time["k"], time["v"]])
    return {f"{name}.{key}.weight": weight for key, weight in weights.items()}
