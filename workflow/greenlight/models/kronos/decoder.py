"""The decode loop with static shapes: one shared prefix a series, a suffix a sample, one step a graph.

Words: a *series* is one stretch of known tokens that the model sees. A window of which the context does not
slide is one series. Where it slides, every shift of it is a series of its own, because dropping the oldest token
changes all later hidden states; the tokens that are drawn go through every series that is still to be asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenlight.models.kronos.layers import rotary_table, rotate
from greenlight.models.kronos.network import CROSS_HEADS, KronosNetwork
from greenlight.models.kronos.sampling import Filter, Sampling, draw, noise_size, split_noise


@dataclass(frozen=True)
class Shape:
    """The static sizes of a decoder.

    Attributes:
        windows: windows of a batch.
        slides: series a window.
        samples: samples a window.
        prefix: the most known tokens of a series.
        suffix: the most steps.
    """

    windows: int
    slides: int
    samples: int
    prefix: int
    suffix: int

    @property
    def series(self) -> int:
        """Series of a batch: the windows' slides, window by window."""
        return self.windows * self.slides

    def holds(self, other: Shape) -> bool:
        """Whether a decoder of this shape can run what asks for the other, at the same cost a step."""
        same = (self.windows, self.slides, self.samples) == (other.windows, other.slides, other.samples)
        return same and self.prefix >= other.prefix and self.suffix >= other.suffix


class Linear(nn.Module):
    """One product in place of several that share their input."""

    def __init__(self, *parts: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", torch.cat([part.weight for part in parts]))
        biases = [part.bias for part in parts if part.bias is not None]
        self.register_buffer("bias", torch.cat(biases) if biases else None)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return functional.linear(x, self.weight, self.bias)


class Cache(nn.Module):
    """Keys and values of one attention: a prefix that samples share, and each sample's suffix."""

    def __init__(self, shape: Shape, heads: int, size: int, like: Tensor) -> None:
        super().__init__()
        prefix = (shape.series, heads, shape.prefix, size)
        suffix = (shape.series, shape.samples, heads, shape.suffix, size)
        for name, dimensions in (("prefix", prefix), ("suffix", suffix)):
            for part in ("key", "value"):
                self.register_buffer(f"{name}_{part}", like.new_zeros(dimensions), persistent=False)

    def keep_prefix(self, key: Tensor, value: Tensor) -> None:
        """Keep keys and values [series, heads, prefix, size]."""
        self.prefix_key.copy_(key)
        self.prefix_value.copy_(value)

    def keep_token(self, key: Tensor, value: Tensor, slot: Tensor) -> None:
        """Keep those of one token, [series, samples, heads, size], at `slot` [1] of the suffix."""
        self.suffix_key.index_copy_(3, slot, key.unsqueeze(3))
        self.suffix_value.index_copy_(3, slot, value.unsqueeze(3))

    def read(self, series: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prefix keys and values, suffix keys and values; of all series, or of those in `series`."""
        parts = (self.prefix_key, self.prefix_value, self.suffix_key, self.suffix_value)
        return parts if series is None else tuple(part.index_select(0, series) for part in parts)


def attend(query: Tensor, cached: tuple[Tensor, Tensor, Tensor, Tensor], known: Tensor, drawn: Tensor) -> Tensor:
    """Attention of one token of each sample over the shared prefix and its own suffix, in one softmax.

    Args:
        query: [series, samples, heads, size].
        cached: see `Cache.read`.
        known: [series, prefix] bool, which prefix slots count.
        drawn: [suffix] bool, which suffix slots count.

    Returns:
        [series, samples, heads * size].
    """
    prefix_key, prefix_value, suffix_key, suffix_value = cached
    query = query * query.shape[-1] ** -0.5
    shared = query.transpose(1, 2) @ prefix_key.transpose(-1, -2)
    shared = shared.masked_fill(~known[:, None, None], float("-inf"))
    own = (query.unsqueeze(-2) * suffix_key).sum(-1).transpose(1, 2)
    own = own.masked_fill(~drawn, float("-inf"))
    largest = torch.maximum(shared.amax(-1, keepdim=True), own.amax(-1, keepdim=True))
    shared, own = (shared - largest).exp(), (own - largest).exp()
    total = shared.sum(-1) + own.sum(-1)
    mixed = (shared @ prefix_value).transpose(1, 2)
    mixed = mixed + (own.transpose(1, 2).unsqueeze(-1) * suffix_value).sum(-2)
    return (mixed / total.transpose(1, 2).unsqueeze(-1)).flatten(2)


class StaticBlock(nn.Module):
    """A transformer block over a cache of its own."""

    def __init__(self, block: nn.Module, shape: Shape) -> None:
        super().__init__()
        attention = block.self_attn
        self.heads = attention.heads
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.qkv = Linear(attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = Linear(attention.out_proj)
        self.gates = Linear(block.ffn.w1, block.ffn.w3)
        self.down = Linear(block.ffn.w2)
        self.cache = Cache(shape, attention.heads, attention.size, self.qkv.weight)

    def prefill(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """[series, prefix, width] to the same; cosine and sine [prefix, size]."""
        query, key, value = self._split(x).permute(2, 0, 3, 1, 4).unbind(0)
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        self.cache.keep_prefix(key, value)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self._finish(x, mixed.transpose(1, 2).flatten(2))

    def advance(
        self, x: Tensor, cosine: Tensor, sine: Tensor, slot: Tensor, known: Tensor, drawn: Tensor
    ) -> Tensor:
        """One token of each sample: [series, samples, width]; cosine and sine [series, 1, 1, size]."""
        query, key, value = self._split(x).unbind(2)
        self.cache.keep_token(rotate(key, cosine, sine), value, slot)
        mixed = attend(rotate(query, cosine, sine), self.cache.read(None), known, drawn)
        return self._finish(x, mixed)

    def _split(self, x: Tensor) -> Tensor:
        return self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))

    def _finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self.out(mixed)
        gate, value = self.gates(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * value)


class StaticDecoder(nn.Module):
    """Prefill, step and their parts over buffers that never move nor change shape.

    The host only fills the inputs and calls; nothing is read back before the end of the loop. Outputs
    of the loop lie in buffers too, so that no call can overwrite what an earlier one returned.
    """

    def __init__(self, network: KronosNetwork, shape: Shape, sampling: Sampling) -> None:
        super().__init__()
        self.shape, self.classes = shape, network.config.classes
        width, weight = network.config.d_model, network.head.proj_s1.weight
        self._tables(network)
        self.blocks = nn.ModuleList(StaticBlock(block, shape) for block in network.transformer)
        self.norm, self.cross_norm = network.norm, network.dep_layer.norm
        cross = network.dep_layer.cross_attn
        self.cross_kv = Linear(cross.k_proj, cross.v_proj)
        self.cross_out = Linear(cross.out_proj)
        self.cross_cache = Cache(shape, cross.heads, cross.size, weight)
        self.head_s1, self.head_s2 = Linear(network.head.proj_s1), Linear(network.head.proj_s2)
        self.filter = Filter(sampling, weight.device, weight.dtype)

        whole = {"device": weight.device, "dtype": torch.int64}
        windows, samples = shape.windows, shape.samples
        numbers = noise_size(samples, self.classes)
        buffers = {
            # Inputs. `asked`: which slide of each window is asked for the token of a step.
            "prefix_s1": torch.zeros(shape.series, shape.prefix, **whole),
            "prefix_s2": torch.zeros(shape.series, shape.prefix, **whole),
            "prefix_times": weight.new_zeros(shape.series, shape.prefix, width),
            "suffix_times": weight.new_zeros(windows, shape.suffix, width),
            "lengths": torch.ones(shape.series, **whole),
            "asked": torch.zeros(shape.suffix, **whole),
            "noise": torch.ones(windows, shape.suffix, numbers, device=weight.device),
            "forced": torch.zeros((), device=weight.device, dtype=torch.bool),
            # State and output: the drawn tokens, or those that are forced.
            "count": torch.zeros(1, **whole),
            "hidden": weight.new_zeros(shape.series, samples, width),
            "s1": torch.zeros(windows, samples, shape.suffix, **whole),
            "s2": torch.zeros(windows, samples, shape.suffix, **whole),
            # Constants.
            "first_series": torch.arange(windows, **whole) * shape.slides,
            "prefix_slots": torch.arange(shape.prefix, **whole),
            "suffix_slots": torch.arange(shape.suffix, **whole),
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)

    def _tables(self, network: KronosNetwork) -> None:
        """What depends on one token alone, for every token: its share of the embedding, its query."""
        embedding, cross = network.embedding, network.dep_layer.cross_attn
        first, second = embedding.fusion_proj.weight.chunk(2, dim=-1)
        s1, s2 = embedding.emb_s1.weight, embedding.emb_s2.weight
        tables = {
            "table_s1": s1 * embedding.scale @ first.T + embedding.fusion_proj.bias,
            "table_s2": s2 * embedding.scale @ second.T,
            "table_query": cross.q_proj(s1).unflatten(-1, (CROSS_HEADS, -1)),
        }
        frequencies = network.transformer[0].self_attn.rotary.inv_freq
        tables["cosine"], tables["sine"] = rotary_table(frequencies, self.shape.prefix + self.shape.suffix)
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def load(
        self, known: tuple[Tensor, ...], times: Tensor, length: int, first: int, asked: list[int], step: int
    ) -> None:
        """Fill the inputs of the series from `first` on.

        Args:
            known: s1 and s2 [windows, length] that the model sees.
            times: [windows, length + horizon, width], embedded stamps.
            length: known tokens of series 0.
            asked: the series that is asked at each step from `step` on.
        """
        slides = self.shape.slides
        for slide in range(slides):
            # Where fewer series are left than there is room, the last is repeated.
            start = min(first + slide, length - 1)
            rows = slice(slide, len(times) * slides, slides)
            for buffer, values in ((self.prefix_s1, known[0]), (self.prefix_s2, known[1]), (self.prefix_times, times)):
                buffer[rows, : length - start] = values[:, start:length]
            self.lengths[slide::slides] = length - start
        self.asked[step : step + len(asked)] = torch.tensor(asked, device=self.asked.device) - first

    def prefill(self) -> None:
        """Run the prefix of every series; afterwards `emit` gives the first token."""
        x = self.table_s1[self.prefix_s1] + self.table_s2[self.prefix_s2] + self.prefix_times
        cosine, sine = self.cosine[: self.shape.prefix], self.sine[: self.shape.prefix]
        for block in self.blocks:
            x = block.prefill(x, cosine, sine)
        x = self.norm(x)
        key, value = self.cross_kv(x).unflatten(-1, (2, CROSS_HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        self.cross_cache.keep_prefix(key, value)
        last = x.gather(1, (self.lengths - 1)[:, None, None].expand(-1, 1, x.shape[-1]))
        self.hidden.copy_(last.expand_as(self.hidden))
        self.count.zero_()

    def advance(self) -> None:
        """Run the latest token of every sample through every series."""
        slot, shape = self.count, self.shape
        s1, s2 = (tokens.index_select(2, slot).squeeze(2) for tokens in (self.s1, self.s2))
        x = self.table_s1[s1] + self.table_s2[s2] + self.suffix_times.index_select(1, slot)
        x = x.unsqueeze(1).expand(-1, shape.slides, -1, -1).flatten(0, 1)
        position = self.lengths + slot
        cosine, sine = self.cosine[position][:, None, None], self.sine[position][:, None, None]
        known, drawn = self._known(), self.suffix_slots <= slot
        for block in self.blocks:
            x = block.advance(x, cosine, sine, slot, known, drawn)
        x = self.norm(x)
        key, value = self.cross_kv(x).unflatten(-1, (2, CROSS_HEADS, -1)).unbind(2)
        self.cross_cache.keep_token(key, value, slot)
        self.hidden.copy_(x)
        self.count.add_(1)

    def emit(self) -> tuple[Tensor, Tensor]:
        """Draw the next tokens of every sample; the logits [windows, samples, classes] of s1 and of s2."""
        step = self.count
        series = None
        hidden, known = self.hidden, self._known()
        if self.shape.slides > 1:
            series = self.first_series + self.asked.index_select(0, step)
            hidden, known = hidden.index_select(0, series), known.index_select(0, series)
        noise = self.noise.index_select(1, step).squeeze(1)
        noise_s1, noise_s2 = split_noise(noise, self.shape.samples, self.classes)

        logits_s1 = self.head_s1(hidden)
        s1 = self._choose(self.s1, draw(self.filter(logits_s1), noise_s1), step)
        mixed = attend(self.table_query[s1], self.cross_cache.read(series), known, self.suffix_slots < step)
        logits_s2 = self.head_s2(self.cross_norm(hidden + self.cross_out(mixed)))
        self._choose(self.s2, draw(self.filter(logits_s2), noise_s2), step)
        return logits_s1, logits_s2

    def start(self) -> tuple[Tensor, Tensor]:
        """`prefill`, then `emit`: one graph."""
        self.prefill()
        return self.emit()

    def step(self) -> tuple[Tensor, Tensor]:
        """`advance`, then `emit`: one graph."""
        self.advance()
        return self.emit()

    def _known(self) -> Tensor:
        return self.prefix_slots < self.lengths[:, None]

    def _choose(self, tokens: Tensor, drawn: Tensor, step: Tensor) -> Tensor:
        """The token of a step, drawn or forced, [windows, samples]; it is kept in `tokens`."""
        forced = tokens.index_select(2, step).squeeze(2)
        chosen = torch.where(self.forced, forced, drawn)
        tokens.index_copy_(2, step, chosen.unsqueeze(2))
        return chosen
