"""One prefill and the decode steps that share it, on buffers of fixed shape.

Everything that goes in or out is a buffer that is allocated before compilation: nothing is passed, nothing is
returned, so that CUDA graphs find every tensor at its address and no output of theirs can be overwritten unseen.
Whoever keeps a result copies it out of its buffer between the calls.

    prefill()  the context once per window: keys and values of the prefix, and the distribution of the first patch
    start()    begin a chunk of sample paths: draw their first patch
    decode()   feed each path its last patch, and draw the next one

Letters in shapes: W windows, V variates, C sample paths decoded at once, n patches of context, h heads, d their
width, p rows in a patch, k components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenlight.models.toto.static import scaler
from greenlight.models.toto.static.mixture import UNIFORMS, Mixture, draw, mean, mixture
from greenlight.models.toto.static.network import Layer, Network, rotary_tables, rotate


@dataclass(frozen=True)
class Shape:
    """What a plan is allocated and compiled for.

    Attributes:
        windows, variates: series in a batch.
        paths: sample paths of each window that are decoded at once.
        context: patches of context.
        steps: decode steps that the caches have room for.
        sampled: whether paths are drawn; otherwise the one path is the expected one.
    """

    windows: int
    variates: int
    paths: int
    context: int
    steps: int
    sampled: bool


class LayerCache(nn.Module):
    """Keys and values of one layer over time: of the prefix, shared by all paths, and of each path's suffix."""

    def __init__(self, shape: Shape, network: Network) -> None:
        super().__init__()
        heads, head_dim = network.dimensions.num_heads, network.dimensions.head_dim
        prefix = (shape.windows, shape.variates, heads, shape.context, head_dim)
        suffix = (shape.steps, shape.windows, shape.variates, shape.paths, heads, head_dim)
        for name, size in (
            ("prefix_keys", prefix),
            ("prefix_values", prefix),
            ("suffix_keys", suffix),
            ("suffix_values", suffix),
        ):
            zeros = torch.zeros(size, dtype=network.dtype, device=network.device)
            self.register_buffer(name, zeros, persistent=False)


class Plan(nn.Module):
    """Prefill and decoding of one shape."""

    def __init__(self, network: Network, shape: Shape, dtype: torch.dtype) -> None:
        """Allocate all buffers.

        Args:
            network: the weights; their dtype is that of the transformer.
            dtype: of series, distribution parameters and paths.
        """
        super().__init__()
        self.network, self.shape = network, shape
        dimensions = network.dimensions
        self._exponent = dimensions.scale_factor_exponent if dimensions.stabilize_with_global else None
        self._last_over_time = max((i for i, over_time in enumerate(dimensions.time_layers) if over_time), default=-1)
        patch, windows, variates, paths = dimensions.patch_size, shape.windows, shape.variates, shape.paths

        def buffer(name: str, *size: int, dtype: torch.dtype = dtype) -> None:
            self.register_buffer(name, torch.zeros(size, dtype=dtype, device=network.device), persistent=False)

        buffer("series", windows, variates, shape.context * patch)
        buffer("observed", windows, variates, shape.context * patch, dtype=torch.bool)
        buffer("groups", windows, variates, dtype=torch.int64)
        buffer("uniforms", UNIFORMS, windows, variates, paths, patch, dtype=torch.float32)
        buffer("patch", windows, variates, paths, patch)
        buffer("step", 1, dtype=torch.int64)
        buffer("bounds", 2, windows, variates, 1, dtype=torch.float64)
        for name in scaler.Running._fields:
            buffer(f"prefix_{name}", windows, variates, 1, dtype=torch.float64)
            buffer(f"running_{name}", windows, variates, paths, dtype=torch.float64)
        for moment, copies in (("first", 1), ("next", paths)):
            for name in Mixture._fields:
                of_patch = () if name.startswith("scaler_") else (patch, dimensions.k_components)
                buffer(f"{moment}_{name}", windows, variates, copies, *of_patch)
        tables = rotary_tables(shape.context + shape.steps, dimensions.head_dim, dtype)
        for name, table in zip(("query_cos", "query_sin", "key_cos", "key_sin"), tables, strict=True):
            self.register_buffer(name, table.to(network.device), persistent=False)
        self.caches = nn.ModuleDict(
            {str(index): LayerCache(shape, network) for index, layer in enumerate(network.layers) if layer.over_time}
        )

    def prefill(self) -> None:
        """Read `series`, `observed` and `groups`; fill the prefix caches and the distribution of the first patch."""
        patch = self.network.dimensions.patch_size
        scaled, loc, scale, running, bounds = scaler.scale_context(self.series, self.observed, patch, self._exponent)
        self._store("prefix_", scaler.Running(*(value[..., None] for value in running)))
        self.bounds.copy_(torch.stack(bounds)[..., None])
        hidden = self._embed(scaled.unflatten(-1, (-1, patch)))
        for index, layer in enumerate(self.network.layers):
            if index > self._last_over_time:
                # Nothing looks at earlier patches any more.
                hidden = hidden[:, :, -1:]
            if layer.over_time:
                attended = self._over_context(layer, self.caches[str(index)], hidden, index == self._last_over_time)
                hidden = hidden[:, :, -attended.shape[2] :] + attended
            else:
                hidden = hidden + self._over_variates(layer, hidden)
            hidden = hidden + layer.feed_forward(hidden)
        self._store("first_", self._distribution(hidden[:, :, -1:], loc[..., -1:], scale[..., -1:]))

    def start(self) -> None:
        """Read `uniforms`; begin new paths and put their first patch into `patch`."""
        self.step.zero_()
        for name in scaler.Running._fields:
            getattr(self, f"running_{name}").copy_(getattr(self, f"prefix_{name}"))
        self.patch.copy_(self._next_patch(self._loaded("first_", Mixture)))

    def decode(self) -> None:
        """Read `patch` and `uniforms`; keep the patch in the caches and put the one that follows into `patch`."""
        scaled, loc, scale, running = scaler.scale_patch(
            self.patch, self._loaded("running_", scaler.Running), (self.bounds[0], self.bounds[1])
        )
        self._store("running_", running)
        hidden = self._embed(scaled)
        for index, layer in enumerate(self.network.layers):
            if layer.over_time:
                hidden = hidden + self._over_past(layer, self.caches[str(index)], hidden)
            else:
                hidden = hidden + self._over_variates(layer, hidden)
            hidden = hidden + layer.feed_forward(hidden)
        distribution = self._distribution(hidden, loc, scale)
        self._store("next_", distribution)
        self.patch.copy_(self._next_patch(distribution))
        self.step.add_(1)

    def _embed(self, patches: Tensor) -> Tensor:
        return self.network.projection(patches.to(self.network.dtype))

    def _distribution(self, hidden: Tensor, loc: Tensor, scale: Tensor) -> Mixture:
        outputs = self.network.output(hidden).to(self.series.dtype)
        return mixture(outputs, loc, scale, self.network.dimensions.k_components)

    def _next_patch(self, distribution: Mixture) -> Tensor:
        return draw(distribution, self.uniforms) if self.shape.sampled else mean(distribution)

    def _over_context(self, layer: Layer, cache: LayerCache, hidden: Tensor, last_only: bool) -> Tensor:
        """Causal attention among the patches of the context, [W, V, n or 1, width]; fills the prefix cache.

        After the last layer over time only the last patch is looked at, so that it alone asks (`last_only`).
        """
        queries, keys, values = layer.queries_keys_values(hidden)
        count = hidden.shape[2]
        keys = rotate(keys, self.key_cos[:count, None], self.key_sin[:count, None])
        if last_only:
            queries = queries[:, :, -1:]
        positions = slice(count - queries.shape[2], count)
        queries = rotate(queries, self.query_cos[positions, None], self.query_sin[positions, None])
        queries, keys, values = (part.transpose(2, 3) for part in (queries, keys, values))
        cache.prefix_keys.copy_(keys)
        cache.prefix_values.copy_(values)
        attended = functional.scaled_dot_product_attention(
            queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), is_causal=not last_only
        )
        return layer.output(attended.transpose(1, 2).flatten(-2).unflatten(0, hidden.shape[:2]))

    def _over_past(self, layer: Layer, cache: LayerCache, hidden: Tensor) -> Tensor:
        """Attention of each path's newest patch to the prefix and to its own suffix, [W, V, C, width]."""
        queries, keys, values = layer.queries_keys_values(hidden)
        position = self.step + self.shape.context
        tables = (self.query_cos, self.query_sin, self.key_cos, self.key_sin)
        query_cos, query_sin, key_cos, key_sin = (table.index_select(0, position) for table in tables)
        queries = rotate(queries, query_cos, query_sin) * queries.shape[-1] ** -0.5
        cache.suffix_keys.index_copy_(0, self.step, rotate(keys, key_cos, key_sin)[None])
        cache.suffix_values.index_copy_(0, self.step, values[None])
        # [W, V, h, C, n] and [W, V, h, C, steps]: the prefix is one matrix for all paths, the suffix is each path's.
        to_prefix = queries.transpose(2, 3) @ cache.prefix_keys.transpose(-1, -2)
        to_suffix = (queries * cache.suffix_keys).sum(-1).permute(1, 2, 4, 3, 0)
        ahead = torch.arange(self.shape.steps, device=hidden.device) > self.step
        to_suffix = to_suffix.masked_fill(ahead, -torch.inf)
        weights = torch.cat((to_prefix, to_suffix), dim=-1).softmax(-1)
        on_prefix, on_suffix = weights.split((self.shape.context, self.shape.steps), dim=-1)
        from_prefix = (on_prefix @ cache.prefix_values).transpose(2, 3)
        from_suffix = on_suffix.permute(4, 0, 1, 3, 2)[..., None] * cache.suffix_values
        # What lies ahead is of an earlier chunk; its weight is 0, but 0 times a NaN would still poison.
        from_suffix = from_suffix.masked_fill(ahead.view(-1, 1, 1, 1, 1, 1), 0.0).sum(0)
        return layer.output((from_prefix + from_suffix).flatten(-2))

    def _over_variates(self, layer: Layer, hidden: Tensor) -> Tensor:
        """Attention among the variates of a group at the same patch, [W, V, n or C, width]."""
        if self.shape.variates == 1:
            return layer.output(layer.values(hidden))
        # [W, n or C, h, V, d]
        queries, keys, values = (part.permute(0, 2, 3, 1, 4) for part in layer.queries_keys_values(hidden))
        same_group = self.groups[:, None, :] == self.groups[:, :, None]
        mask = same_group[:, None, None].expand(-1, hidden.shape[2], -1, -1, -1)
        attended = functional.scaled_dot_product_attention(
            queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), attn_mask=mask.flatten(0, 1)
        )
        return layer.output(attended.unflatten(0, (hidden.shape[0], -1)).permute(0, 3, 1, 2, 4).flatten(-2))

    def _store(self, prefix: str, values: NamedTuple) -> None:
        for name, value in zip(values._fields, values, strict=True):
            getattr(self, prefix + name).copy_(value)

    def _loaded(self, prefix: str, kind: type[NamedTuple]) -> NamedTuple:
        return kind(*(getattr(self, prefix + name) for name in kind._fields))
