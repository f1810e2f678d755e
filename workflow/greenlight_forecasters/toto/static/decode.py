"""Sample paths that follow a prefill, a patch at a time, on a static cache.

    start()  begin a chunk of paths: draw their first patch
    step()   feed each path its last patch, and draw the next one

The step is a tensor, the cache has room for a fixed number of steps and is written in place, so that one graph serves
every step of every horizon. For buffers and letters see `prefill`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from greenlight_forecasters.toto.static import scaler
from greenlight_forecasters.toto.static.mixture import UNIFORMS, Mixture, draw, mean, mixture
from greenlight_forecasters.toto.static.network import Layer, Network, rotary_tables, rotate
from greenlight_forecasters.toto.static.prefill import Buffers, Prefill, PrefixCache, over_variates


@dataclass(frozen=True)
class PathShape:
    """What decoding is allocated and compiled for, beside the prefill's shape.

    Attributes:
        paths: sample paths of each window that are decoded at once.
        steps: decode steps that the caches have room for.
        sampled: whether paths are drawn; otherwise the one path is the expected one.
    """

    paths: int
    steps: int
    sampled: bool


class SuffixCache(nn.Module):
    """Keys and values [steps, W, V, C, h, d] of one layer over time, each path's own."""

    def __init__(self, prefill: Prefill, shape: PathShape) -> None:
        super().__init__()
        network, context = prefill.network, prefill.shape
        heads, head_dim = network.dimensions.num_heads, network.dimensions.head_dim
        size = (shape.steps, context.windows, context.variates, shape.paths, heads, head_dim)
        for name in ("keys", "values"):
            # What no step has written is masked, and on a CPU it takes no memory as long as nothing touches it.
            room = torch.empty(size, dtype=network.dtype, device=network.device)
            self.register_buffer(name, room, persistent=False)


class Decode(Buffers):
    """Paths of one shape.

    Reads the prefill's buffers and `uniforms` [3, W, V, C, p]; `patch` [W, V, C, p] is each path's last patch, and
    `next_` the distribution that it was drawn from, after a step.
    """

    def __init__(self, prefill: Prefill, shape: PathShape) -> None:
        """Allocate all buffers."""
        super().__init__()
        self.prefill, self.shape = prefill, shape
        network: Network = prefill.network
        dimensions, device = network.dimensions, network.device
        patch, dtype = dimensions.patch_size, prefill.series.dtype
        batch = (prefill.shape.windows, prefill.shape.variates, shape.paths)
        self.allocate("uniforms", UNIFORMS, *batch, patch, dtype=torch.float32, device=device)
        self.allocate("patch", *batch, patch, dtype=dtype, device=device)
        self.allocate("position", 1, dtype=torch.int64, device=device)
        self.allocate_running("running_", *batch, device=device)
        self.allocate_mixture("next_", *batch, like=self.patch, parameters=(patch, dimensions.k_components))
        # Where the context may be shorter, the tables begin at 0, and are read from its end on.
        first = 0 if prefill.shape.masked else prefill.shape.patches
        positions = range(first, prefill.shape.patches + shape.steps)
        tables = rotary_tables(positions, dimensions.head_dim, dtype)
        for name, table in zip(("query_cos", "query_sin", "key_cos", "key_sin"), tables, strict=True):
            self.register_buffer(name, table.to(device), persistent=False)
        self.caches = nn.ModuleDict({index: SuffixCache(prefill, shape) for index in prefill.caches})

    def start(self) -> None:
        """Begin new paths and put their first patch into `patch`."""
        self.position.zero_()
        self.store("running_", self.prefill.loaded("running_", scaler.Running))
        self.patch.copy_(self._next_patch(self.prefill.loaded("first_", Mixture)))

    def step(self) -> None:
        """Keep `patch` in the caches and put the one that follows into `patch`."""
        network: Network = self.prefill.network
        bounds = self.prefill.bounds
        scaled, loc, scale, running = scaler.scale_patch(
            self.patch, self.loaded("running_", scaler.Running), (bounds[0], bounds[1])
        )
        self.store("running_", running)
        hidden = network.embed(scaled)
        for index, layer in enumerate(network.layers):
            if layer.over_time:
                prefix, suffix = self.prefill.caches[str(index)], self.caches[str(index)]
                hidden = hidden + self._over_past(layer, prefix, suffix, hidden)
            else:
                hidden = hidden + over_variates(layer, hidden, self.prefill.groups)
            hidden = hidden + layer.feed_forward(hidden)
        outputs = network.output(hidden).to(self.patch.dtype)
        distribution = mixture(outputs, loc, scale, network.dimensions.k_components)
        self.store("next_", distribution)
        self.patch.copy_(self._next_patch(distribution))
        self.position.add_(1)

    def _next_patch(self, distribution: Mixture) -> Tensor:
        return draw(distribution, self.uniforms) if self.shape.sampled else mean(distribution)

    def _over_past(self, layer: Layer, prefix: PrefixCache, suffix: SuffixCache, hidden: Tensor) -> Tensor:
        """Attention of each path's newest patch to the prefix and to its own suffix, [W, V, C, width]."""
        queries, keys, values = layer.queries_keys_values(hidden)
        tables = (self.query_cos, self.query_sin, self.key_cos, self.key_sin)
        masked = self.prefill.shape.masked
        row = self.position + self.prefill.used if masked else self.position
        query_cos, query_sin, key_cos, key_sin = (table.index_select(0, row) for table in tables)
        queries = rotate(queries, query_cos, query_sin) * queries.shape[-1] ** -0.5
        suffix.keys.index_copy_(0, self.position, rotate(keys, key_cos, key_sin)[None])
        suffix.values.index_copy_(0, self.position, values[None])
        # [W, V, h, C, n] and [W, V, h, C, steps]: the prefix is one matrix for all paths, the suffix is each path's.
        to_prefix = queries.transpose(2, 3) @ prefix.keys.transpose(-1, -2)
        if masked:
            to_prefix = to_prefix.masked_fill(~self.prefill.seen(), -torch.inf)
        to_suffix = (queries * suffix.keys).sum(-1).permute(1, 2, 4, 3, 0)
        ahead = torch.arange(self.shape.steps, device=hidden.device) > self.position
        to_suffix = to_suffix.masked_fill(ahead, -torch.inf)
        weights = torch.cat((to_prefix, to_suffix), dim=-1).softmax(-1)
        on_prefix, on_suffix = weights.split((to_prefix.shape[-1], self.shape.steps), dim=-1)
        from_prefix = (on_prefix @ prefix.values).transpose(2, 3)
        from_suffix = on_suffix.permute(4, 0, 1, 3, 2)[..., None] * suffix.values
        # What lies ahead is of an earlier chunk; its weight is 0, but 0 times a NaN would still poison.
        from_suffix = from_suffix.masked_fill(ahead.view(-1, 1, 1, 1, 1, 1), 0.0).sum(0)
        return layer.output((from_prefix + from_suffix).flatten(-2))
