"""The context of a batch of windows, run once whatever is decoded from it.

Everything that goes in or out is a buffer that is allocated before compilation: nothing is passed, nothing is
returned, so that CUDA graphs find every tensor at its address and no output of theirs can be overwritten unseen.
Whoever keeps a result copies it out of its buffer between the calls.

Letters in shapes, here and in `decode`: W windows, V variates, C sample paths decoded at once, n patches of context,
h heads, d their width, p rows in a patch, k components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenlight_forecasters.toto.static import scaler
from greenlight_forecasters.toto.static.mixture import Mixture, mixture
from greenlight_forecasters.toto.static.network import Layer, Network, rotary_tables, rotate


@dataclass(frozen=True)
class ContextShape:
    """What a prefill is allocated and compiled for: windows and variates of a batch, and patches of context.

    Attributes:
        masked: whether a context may be shorter. The rest then lies after it, where causal attention does not look,
            and is masked where something else does; `used` of the prefill says how long it is.
    """

    windows: int
    variates: int
    patches: int
    masked: bool = False


class Buffers(nn.Module):
    """A module whose buffers can be stored and loaded as a named tuple, under a prefix."""

    def allocate(self, name: str, *size: int, dtype: torch.dtype, device: torch.device) -> None:
        """Register a buffer of zeros."""
        self.register_buffer(name, torch.zeros(size, dtype=dtype, device=device), persistent=False)

    def allocate_mixture(self, prefix: str, *size: int, like: Tensor, parameters: tuple[int, int]) -> None:
        """Register a `Mixture` [*size, ...] whose parameters have the given (patch, components)."""
        for name in Mixture._fields:
            of_row = () if name.startswith("scaler_") else parameters
            self.allocate(prefix + name, *size, *of_row, dtype=like.dtype, device=like.device)

    def allocate_running(self, prefix: str, *size: int, device: torch.device) -> None:
        """Register the scaler's running sums, each [*size]."""
        for name in scaler.Running._fields:
            self.allocate(prefix + name, *size, dtype=torch.float64, device=device)

    def store(self, prefix: str, values: NamedTuple) -> None:
        """Copy a named tuple into the buffers."""
        for name, value in zip(values._fields, values, strict=True):
            getattr(self, prefix + name).copy_(value)

    def loaded(self, prefix: str, kind: type[NamedTuple]) -> NamedTuple:
        """The buffers as a named tuple."""
        return kind(*(getattr(self, prefix + name) for name in kind._fields))


class PrefixCache(nn.Module):
    """Keys and values [W, V, h, n, d] of one layer over time, shared by all paths that follow."""

    def __init__(self, shape: ContextShape, network: Network) -> None:
        super().__init__()
        heads, head_dim = network.dimensions.num_heads, network.dimensions.head_dim
        size = (shape.windows, shape.variates, heads, shape.patches, head_dim)
        for name in ("keys", "values"):
            zeros = torch.zeros(size, dtype=network.dtype, device=network.device)
            self.register_buffer(name, zeros, persistent=False)


class Prefill(Buffers):
    """The context's keys, values and scaler sums, and the distribution of the first patch after it.

    Reads the buffers `series`, `observed` [W, V, n * p], `groups` [W, V] and, where its shape is masked, `used` [1]:
    patches of the context. Writes the rest, among it `finite` [W]: whether all numbers of a window are.
    """

    def __init__(self, network: Network, shape: ContextShape, dtype: torch.dtype) -> None:
        """Allocate all buffers; `dtype` is that of series and distribution, the network's own may be smaller."""
        super().__init__()
        self.network, self.shape = network, shape
        dimensions, device = network.dimensions, network.device
        self._exponent = dimensions.scale_factor_exponent if dimensions.stabilize_with_global else None
        self._last_over_time = max((i for i, over_time in enumerate(dimensions.time_layers) if over_time), default=-1)
        batch, length = (shape.windows, shape.variates), shape.patches * dimensions.patch_size
        self.allocate("series", *batch, length, dtype=dtype, device=device)
        self.allocate("observed", *batch, length, dtype=torch.bool, device=device)
        self.allocate("groups", *batch, dtype=torch.int64, device=device)
        self.allocate("used", 1, dtype=torch.int64, device=device)
        self.used.fill_(shape.patches)
        self.allocate("finite", shape.windows, dtype=torch.bool, device=device)
        self.allocate("bounds", 2, *batch, 1, dtype=torch.float64, device=device)
        self.allocate_running("running_", *batch, 1, device=device)
        parameters = (dimensions.patch_size, dimensions.k_components)
        self.allocate_mixture("first_", *batch, 1, like=self.series, parameters=parameters)
        tables = rotary_tables(range(shape.patches), dimensions.head_dim, dtype)
        for name, table in zip(("query_cos", "query_sin", "key_cos", "key_sin"), tables, strict=True):
            self.register_buffer(name, table.to(device), persistent=False)
        self.caches = nn.ModuleDict(
            {
                str(index): PrefixCache(shape, network)
                for index, over_time in enumerate(dimensions.time_layers)
                if over_time
            }
        )

    def load(self, series: Tensor, observed: Tensor | None, groups: Tensor | None) -> None:
        """Fill the inputs of the first windows: [windows, V, length] twice, and [windows, V].

        A batch that is not full keeps whatever the rest of the buffers holds: windows do not see each other.
        """
        windows, length = len(series), series.shape[-1]
        self.series[:windows, :, :length] = series
        self.observed[:windows, :, :length] = True if observed is None else observed
        self.groups[:windows] = 0 if groups is None else groups
        if self.shape.masked:
            self.series[:windows, :, length:] = 0.0
            self.observed[:windows, :, length:] = False
            self.used.fill_(length // self.network.dimensions.patch_size)

    def run(self) -> None:
        """Fill the caches and the distribution of the first patch."""
        patch = self.network.dimensions.patch_size
        self.finite.copy_(torch.isfinite(self.series).flatten(1).all(-1))
        scaled, loc, scale, running, bounds = scaler.scale_context(self.series, self.observed, patch, self._exponent)
        self.store("running_", scaler.Running(*(value[..., None] for value in running)))
        self.bounds.copy_(torch.stack(bounds)[..., None])
        hidden = self.network.embed(scaled.unflatten(-1, (-1, patch)))
        for index, layer in enumerate(self.network.layers):
            if index > self._last_over_time:
                # Nothing looks at earlier patches any more.
                hidden = self._last(hidden, 2)
            if layer.over_time:
                last_only = index == self._last_over_time
                attended = self._over_time(layer, self.caches[str(index)], hidden, last_only)
                hidden = (self._last(hidden, 2) if last_only else hidden) + attended
            else:
                hidden = hidden + over_variates(layer, hidden, self.groups)
            hidden = hidden + layer.feed_forward(hidden)
        if self._last_over_time < 0:
            hidden = self._last(hidden, 2)
        outputs = self.network.output(hidden[:, :, -1:]).to(self.series.dtype)
        components = self.network.dimensions.k_components
        self.store("first_", mixture(outputs, self._last(loc, -1), self._last(scale, -1), components))

    def _last(self, values: Tensor, dim: int) -> Tensor:
        """What belongs to the last patch of the context, of values that have one for each patch, or for it alone."""
        if values.shape[dim] == 1:
            return values
        if self.shape.masked:
            return values.index_select(dim, self.used - 1)
        return values.narrow(dim, values.shape[dim] - 1, 1)

    def seen(self) -> Tensor:
        """Which patches of a masked shape are of the context, [n] bool."""
        return torch.arange(self.shape.patches, device=self.used.device) < self.used

    def _over_time(self, layer: Layer, cache: PrefixCache, hidden: Tensor, last_only: bool) -> Tensor:
        """Causal attention among the patches of the context, [W, V, n or 1, width]; fills the cache.

        After the last layer over time only the last patch is looked at, so that it alone asks (`last_only`).
        """
        queries, keys, values = layer.queries_keys_values(hidden)
        keys = rotate(keys, self.key_cos[:, None], self.key_sin[:, None])
        query_cos, query_sin = self.query_cos, self.query_sin
        if last_only:
            queries, query_cos, query_sin = (
                self._last(part, dim) for part, dim in ((queries, 2), (query_cos, 0), (query_sin, 0))
            )
        queries = rotate(queries, query_cos[:, None], query_sin[:, None])
        queries, keys, values = (part.transpose(2, 3) for part in (queries, keys, values))
        cache.keys.copy_(keys)
        cache.values.copy_(values)
        mask = self.seen()[None] if last_only and self.shape.masked else None
        attended = functional.scaled_dot_product_attention(
            queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), attn_mask=mask, is_causal=not last_only
        )
        return layer.output(attended.transpose(1, 2).flatten(-2).unflatten(0, hidden.shape[:2]))


def over_variates(layer: Layer, hidden: Tensor, groups: Tensor) -> Tensor:
    """Attention among the variates of a group at the same patch.

    Args:
        hidden: [W, V, tokens, width]; tokens are the patches of the context or the paths.
        groups: [W, V] integers.
    """
    if hidden.shape[1] == 1:
        return layer.output(layer.values(hidden))
    # [W, tokens, h, V, d]
    queries, keys, values = (part.permute(0, 2, 3, 1, 4) for part in layer.queries_keys_values(hidden))
    same_group = groups[:, None, :] == groups[:, :, None]
    mask = same_group[:, None, None].expand(-1, hidden.shape[2], -1, -1, -1)
    attended = functional.scaled_dot_product_attention(
        queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), attn_mask=mask.flatten(0, 1)
    )
    return layer.output(attended.unflatten(0, (hidden.shape[0], -1)).permute(0, 3, 1, 2, 4).flatten(-2))
