"""The decode loop with static shapes: one shared prefix a series, a suffix a sample, one step a graph.

Words: a *series* is one stretch of known tokens that the model sees. A window of which the context does not
slide is one series. Where it slides, every shift of it is a series of its own, because dropping the oldest token
changes all later hidden states; the tokens that are drawn go through every series that is still to be asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from greenlight_forecasters.engine.attention import causal_attention
from greenlight_forecasters.engine.sums import few_rows
from greenlight_forecasters.kronos.joined import JoinedBlock, JoinedNetwork
from greenlight_forecasters.kronos.layers import rotary_table, rotate
from greenlight_forecasters.kronos.sampling import Filter, Sampling, noise_size, sound, split_noise

# Drawn tokens that go through a later series at once; the suffix of a shape is a multiple of it.
REPLAYED = 8


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

    def keep_tokens(self, key: Tensor, value: Tensor, slots: Tensor) -> None:
        """Keep those of drawn tokens, [series, samples, tokens, heads, size], at `slots` [tokens] of the suffix."""
        self.suffix_key.index_copy_(3, slots, key.transpose(2, 3))
        self.suffix_value.index_copy_(3, slots, value.transpose(2, 3))

    def read(self, series: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prefix keys and values, suffix keys and values; of all series, or of those in `series`."""
        parts = (self.prefix_key, self.prefix_value, self.suffix_key, self.suffix_value)
        return parts if series is None else tuple(part.index_select(0, series) for part in parts)


def attend(
    query: Tensor,
    cached: tuple[Tensor, Tensor, Tensor, Tensor],
    known: Tensor | None,
    drawn: Tensor,
    as_sums: bool = False,
) -> Tensor:
    """Attention of drawn tokens over the shared prefix and their own sample's suffix, in one softmax.

    Args:
        query: [series, samples, tokens, heads, size].
        cached: see `Cache.read`.
        known: [series, prefix] bool, which prefix slots count; None for all.
        drawn: [tokens, suffix] bool, which suffix slots count.
        as_sums: whether few queries meet the prefix in sums, which on a GPU take half as long as its products.

    Returns:
        [series, samples, tokens, heads * size].
    """
    prefix_key, prefix_value, suffix_key, suffix_value = cached
    query = query * query.shape[-1] ** -0.5
    by_head = query.permute(0, 3, 1, 2, 4)
    rows = by_head.shape[2:4]
    shared = _product(by_head.flatten(2, 3), prefix_key.transpose(-1, -2), as_sums).unflatten(2, rows)
    if known is not None:
        shared = shared.masked_fill(~known[:, None, None, None], float("-inf"))
    if rows[1] > 1:
        own = query.transpose(2, 3) @ suffix_key.transpose(-1, -2)
    else:
        # For one token a sum is less work than a product of each sample.
        own = (query.transpose(2, 3) * suffix_key).sum(-1).unsqueeze(-2)
    own = own.transpose(1, 2).masked_fill(~drawn, float("-inf"))
    weights = torch.cat((shared, own), dim=-1).softmax(-1)
    shared, own = weights.split((prefix_key.shape[-2], suffix_key.shape[-2]), dim=-1)
    own = own.transpose(1, 2)
    mixed = own @ suffix_value if rows[1] > 1 else (own.transpose(-1, -2) * suffix_value).sum(-2, keepdim=True)
    mixed = mixed + _product(shared.flatten(2, 3), prefix_value, as_sums).unflatten(2, rows).transpose(1, 2)
    return mixed.transpose(2, 3).flatten(3)


def _product(left: Tensor, right: Tensor, as_sums: bool) -> Tensor:
    """[..., rows, inner] times [..., inner, columns]."""
    return (left.unsqueeze(-1) * right.unsqueeze(-3)).sum(-2) if as_sums else left @ right


class StaticBlock(nn.Module):
    """A transformer block over a cache of its own."""

    def __init__(self, block: JoinedBlock, shape: Shape) -> None:
        super().__init__()
        self.weights = block
        self.cache = Cache(shape, block.heads, block.size, block.norm1.weight)

    def prefill(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """[series, prefix, width] to the same; cosine and sine [prefix, size]."""
        query, key, value = self.weights.split(x).permute(2, 0, 3, 1, 4).unbind(0)
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        self.cache.keep_prefix(key, value)
        return self.weights.finish(x, causal_attention(query, key, value).flatten(2))

    def advance(self, x: Tensor, cosine: Tensor, sine: Tensor, slots: Tensor, known: Tensor, drawn: Tensor) -> Tensor:
        """Drawn tokens: [series, samples, tokens, width]; cosine and sine [series, 1, tokens, 1, size]."""
        query, key, value = self.weights.split(x).unbind(3)
        self.cache.keep_tokens(rotate(key, cosine, sine), value, slots)
        mixed = attend(rotate(query, cosine, sine), self.cache.read(None), known, drawn, x.is_cuda and few_rows(x))
        return self.weights.finish(x, mixed)


class StaticDecoder(nn.Module):
    """Prefill and steps over buffers that never move nor change shape.

    Step k runs the token before it, the last known one for step 0, and draws the next. The host fills the
    inputs (`load`) and calls; nothing is read back before the end of the loop, and results lie in buffers: nothing is
    passed, nothing is returned.
    """

    def __init__(self, weights: JoinedNetwork, shape: Shape, sampling: Sampling) -> None:
        super().__init__()
        self.shape, self.classes, self.weights = shape, weights.classes, weights
        like = weights.norm.weight
        self.blocks = nn.ModuleList(StaticBlock(block, shape) for block in weights.blocks)
        self.cross_cache = Cache(shape, weights.cross_heads, weights.cross_size, like)
        self.filter = Filter(sampling, like.device, like.dtype)
        for name, tensor in self._state(like).items():
            self.register_buffer(name, tensor, persistent=False)

    def _state(self, weight: Tensor) -> dict[str, Tensor]:
        shape, width = self.shape, self.weights.width
        whole = {"device": weight.device, "dtype": torch.int64}
        numbers = noise_size(shape.samples, self.classes)
        cosine, sine = rotary_table(self.weights.blocks[0].frequencies, shape.prefix + shape.suffix)
        return {
            # Inputs. `asked`: which slide of each window is asked for the token of a step.
            "prefix_s1": torch.zeros(shape.series, shape.prefix, **whole),
            "prefix_s2": torch.zeros(shape.series, shape.prefix, **whole),
            "prefix_times": weight.new_zeros(shape.series, shape.prefix, width),
            "times": weight.new_zeros(shape.windows, shape.suffix, width),
            "lengths": torch.zeros(shape.series, **whole),
            "asked": torch.zeros(shape.suffix, **whole),
            "noise": torch.ones(shape.windows, shape.suffix, numbers, device=weight.device, dtype=torch.float32),
            "forced": torch.zeros((), device=weight.device, dtype=torch.bool),
            # State: whether a sample's logits were finite so far; the step; the last known token followed by the
            # drawn ones (or by those that are forced).
            "usable": torch.ones(shape.windows, shape.samples, device=weight.device, dtype=torch.bool),
            "count": torch.zeros(1, **whole),
            "s1": torch.zeros(shape.windows, shape.samples, shape.suffix + 1, **whole),
            "s2": torch.zeros(shape.windows, shape.samples, shape.suffix + 1, **whole),
            # Results: the logits of the step, of each window's first sample; s2 given the s1 that was drawn or forced.
            "logits_s1": weight.new_zeros(shape.windows, self.classes[0]),
            "logits_s2": weight.new_zeros(shape.windows, self.classes[1]),
            # Constants.
            "cosine": cosine,
            "sine": sine,
            "first_series": torch.arange(shape.windows, **whole) * shape.slides,
            "prefix_slots": torch.arange(shape.prefix, **whole),
            "suffix_slots": torch.arange(shape.suffix, **whole),
            "chunk": torch.arange(REPLAYED, **whole),
        }

    def begin(self, usable: Tensor, forced: bool) -> None:
        """Before the first `load` of a batch: which windows have sound tokens [windows], whether tokens are forced."""
        self.usable.fill_(True)
        self.usable[: len(usable)] = usable[:, None]
        self.forced.fill_(forced)

    def clear(self) -> None:
        """Forget all keys and values: a masked slot counts with the weight 0, and 0 times NaN is NaN."""
        for module in self.modules():
            if isinstance(module, Cache):
                for buffer in module.buffers(recurse=False):
                    buffer.zero_()

    def load(self, known: tuple[Tensor, ...], times: Tensor, first: int, asked: dict[int, int]) -> None:
        """Fill the inputs of the series from `first` on, but for noise and forced tokens.

        Args:
            known: s1 and s2 [windows, length] that the model sees.
            times: [windows, length + horizon, width], embedded stamps.
            asked: the series that is asked, by step.
        """
        windows, length = known[0].shape
        horizon, slides = times.shape[1] - length, self.shape.slides
        self.times[:windows, :horizon] = times[:, length - 1 : -1]
        for buffer, tokens in zip((self.s1, self.s2), known, strict=True):
            buffer[:windows, :, 0] = tokens[:, -1:]
        prefixes = (self.prefix_s1, self.prefix_s2, self.prefix_times)
        for slide in range(slides):
            # Where fewer series are left than there is room, the last is repeated.
            start = min(first + slide, length - 1)
            rows = slice(slide, windows * slides, slides)
            for buffer, values in zip(prefixes, (*known, times), strict=True):
                buffer[rows, : length - 1 - start] = values[:, start : length - 1]
            self.lengths[slide::slides] = length - 1 - start
        # At once: each number on its own would be a launch.
        self.asked[list(asked)] = torch.tensor([series - first for series in asked.values()]).to(self.asked)

    def prefill(self) -> None:
        """Run the prefix of every series, and begin at step 0."""
        x = self.weights.table_s1[self.prefix_s1] + self.weights.table_s2[self.prefix_s2] + self.prefix_times
        cosine, sine = self.cosine[: self.shape.prefix], self.sine[: self.shape.prefix]
        for block in self.blocks:
            x = block.prefill(x, cosine, sine)
        key, value = self._cross(self.weights.norm(x)).permute(2, 0, 3, 1, 4).unbind(0)
        self.cross_cache.keep_prefix(key, value)
        self.count.zero_()

    def replay(self) -> None:
        """Run the next REPLAYED tokens, which are there already, through every series.

        Slots past the drawn tokens are filled with what is no part of the series; their steps fill them anew.
        """
        self._run(self.count + self.chunk)
        self.count.add_(REPLAYED)

    def step(self) -> None:
        """Run the token before a step, draw that of the step."""
        hidden, known, series = self._run(self.count), self._known(), None
        if self.shape.slides > 1:
            series = self.first_series + self.asked.index_select(0, self.count)
            hidden, known = hidden.index_select(0, series), known.index_select(0, series)
        hidden = hidden.squeeze(2)
        noise = self.noise.index_select(1, self.count).squeeze(1)
        noise_s1, noise_s2 = split_noise(noise, self.shape.samples, self.classes)
        logits_s1 = self.weights.head_s1(hidden)
        s1 = self._choose(self.s1, self.filter.draw(logits_s1, noise_s1))
        query, cached = self.weights.table_query[s1].unsqueeze(2), self.cross_cache.read(series)
        as_sums = hidden.is_cuda and few_rows(hidden)
        mixed = attend(query, cached, known, self._drawn(self.count), as_sums).squeeze(2)
        logits_s2 = self.weights.head_s2(self.weights.cross_norm(hidden + self.weights.cross_out(mixed)))
        self._choose(self.s2, self.filter.draw(logits_s2, noise_s2))
        self.usable.logical_and_(sound(logits_s1) & sound(logits_s2))
        self.logits_s1.copy_(logits_s1[:, 0])
        self.logits_s2.copy_(logits_s2[:, 0])
        self.count.add_(1)

    def _run(self, slots: Tensor) -> Tensor:
        """Hidden states [series, samples, tokens, width] of the tokens at `slots`; keys and values are kept."""
        slides = self.shape.slides
        s1, s2 = (tokens.index_select(2, slots) for tokens in (self.s1, self.s2))
        x = self.weights.table_s1[s1] + self.weights.table_s2[s2] + self.times.index_select(1, slots).unsqueeze(1)
        x = x.unsqueeze(1).expand(-1, slides, -1, -1, -1).flatten(0, 1)
        positions = self.lengths[:, None] + slots
        cosine, sine = (table[positions][:, None, :, None] for table in (self.cosine, self.sine))
        known, drawn = self._known(), self._drawn(slots)
        for block in self.blocks:
            x = block.advance(x, cosine, sine, slots, known, drawn)
        x = self.weights.norm(x)
        key, value = self._cross(x).unbind(3)
        self.cross_cache.keep_tokens(key, value, slots)
        return x

    def _cross(self, x: Tensor) -> Tensor:
        """Keys and values of the cross-attention: [..., 2, heads, size]."""
        return self.weights.cross_kv(x).unflatten(-1, (2, self.weights.cross_heads, -1))

    def _known(self) -> Tensor:
        return self.prefix_slots < self.lengths[:, None]

    def _drawn(self, slots: Tensor) -> Tensor:
        """[tokens, suffix]: the slots that the tokens at `slots` see."""
        return self.suffix_slots <= slots[:, None]

    def _choose(self, tokens: Tensor, drawn: Tensor) -> Tensor:
        """The token of the step, drawn or forced, [windows, samples]; it is kept in `tokens`."""
        place = self.count + 1
        chosen = torch.where(self.forced, tokens.index_select(2, place).squeeze(2), drawn)
        tokens.index_copy_(2, place, chosen.unsqueeze(2))
        return chosen
