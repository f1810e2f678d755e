"""Drawing tokens: temperature, top-k, top-p, and random numbers of a window's own."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from greenlight.api import Window, window_seed
from greenlight_forecasters.engine.regions import once_per_graph

# Random numbers of a CPU that are made together: few enough for its caches, and for torch to stay on one thread.
_AT_ONCE = 32768


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; top_k above 0 wins over top_p, as in the published code."""

    temperature: float
    top_k: int
    top_p: float


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """The distribution that a token is drawn from, as published: [..., classes] to [..., classes].

    top-k keeps ties with the k-th logit; top-p keeps tokens up to the first that passes the threshold.
    """
    logits = logits / sampling.temperature
    if sampling.top_k > 0:
        smallest = logits.topk(min(sampling.top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    elif sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        total = ordered.softmax(-1).cumsum(-1)
        passed = torch.zeros_like(total, dtype=torch.bool)
        passed[..., 1:] = total[..., :-1] > sampling.top_p
        logits = logits.masked_fill(passed.scatter(-1, order, passed), float("-inf"))
    return logits.softmax(-1)


def draw(distribution: Tensor, noise: Tensor) -> Tensor:
    """Class index [...] drawn from [..., classes] by the exponential race argmax(p / noise).

    With exponential noise this is a draw from p, and on a CPU the very draw of torch.multinomial(p, 1).
    """
    return (distribution / noise).argmax(-1)


def sound(logits: Tensor) -> Tensor:
    """Whether all logits [..., classes] are finite: [...] bool; where not, a draw is a class that means nothing."""
    return logits.isfinite().all(-1)


def noise_size(samples: int, classes: tuple[int, int]) -> int:
    """Random numbers that one window needs for one step."""
    return samples * sum(classes)


def fill_noise(noise: Tensor, windows: Sequence[Window], seed: int) -> None:
    """Fill [windows, steps, noise_size] with the exponential random numbers of each window.

    Each window has a generator of its own, seeded by `window_seed`. Its stream is consumed step by step, the
    coarse draws of all samples and then the fine ones, which is how sequential draws by torch.multinomial
    would consume it. The generator is the device's: the numbers differ between devices.
    """

    def fill(pair: tuple[Tensor, Window]) -> None:
        row, window = pair
        _fill_exponential(row, torch.Generator(noise.device).manual_seed(window_seed(seed, window)))

    pairs = list(zip(noise, windows, strict=True))
    if noise.is_cuda or len(pairs) == 1:
        for pair in pairs:
            fill(pair)
        return
    # On a CPU the numbers of a generator come one after the other, on one thread; those of several need not wait.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(fill, pairs))


def fill_sequential(noise: Tensor, samples: int, classes: tuple[int, int]) -> None:
    """Fill [windows, steps, noise_size] from torch's own generator of the device, as the published loop consumes it.

    There all samples of all windows are rows of one batch, drawn by torch.multinomial step by step: the coarse tokens,
    then the fine ones.
    """
    index = noise.device.index or 0
    generator = torch.cuda.default_generators[index] if noise.is_cuda else torch.default_generator
    for step in noise.unbind(1):
        for part, count in zip(step.split([samples * count for count in classes], dim=-1), classes, strict=True):
            if len(part) == 1:  # one row, in the same order as a tensor of its own
                _fill_exponential(part, generator)
                continue
            own = torch.empty(part.shape[0] * samples, count, dtype=torch.float32, device=noise.device)
            _fill_exponential(own, generator)
            part.copy_(own.view(part.shape))


def _fill_exponential(row: Tensor, generator: torch.Generator) -> None:
    """`row.exponential_(generator=generator)`, on a CPU in a third of the time: logarithms of many numbers at once."""
    if row.device.type != "cpu" or not _exponential_is_of_uniform():
        row.exponential_(generator=generator)
        return
    for part in row.view(-1).split(_AT_ONCE):
        part.copy_(_uniform(len(part), generator).neg_().log1p_().neg_())


@functools.cache
def _exponential_is_of_uniform() -> bool:
    """Whether torch's exponential numbers on this CPU are -log(1 - u) of its uniform float64 ones.

    They are, but for Intel's processors, where torch has them from MKL in another order.
    """
    generator = torch.Generator()
    drawn = torch.empty(1024, dtype=torch.float32, device="cpu").exponential_(generator=generator.manual_seed(0))
    return torch.equal(drawn, _uniform(1024, generator.manual_seed(0)).neg_().log1p_().neg_().float())


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    """[count] float64 on the CPU in [0, 1)."""
    return torch.rand(count, dtype=torch.float64, device="cpu", generator=generator)


def split_noise(noise: Tensor, samples: int, classes: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """[..., noise_size] to the noise of both draws: [..., samples, s1 classes] and [..., samples, s2 classes]."""
    first, second = noise.split([samples * count for count in classes], dim=-1)
    return first.unflatten(-1, (samples, classes[0])), second.unflatten(-1, (samples, classes[1]))


class Filter(nn.Module):
    """Temperature, top-k and top-p as tensors, so that one compiled graph serves all their values.

    The distribution is that of `probabilities`, found without a sort: a class is kept where the weight of all
    classes with a larger logit stays within a limit (top-p: their probability, at most top_p; top-k: their
    number, less than k). That weight falls with the logit, so there is a smallest kept logit. It is found digit
    by digit over the bits of the floating-point numbers, whose order is that of the numbers.

    A digit is one bit on a GPU, where all sums then run over the classes of a row and fuse into few kernels, and two
    elsewhere, where half as many sums are half as much to compile.
    """

    def __init__(self, sampling: Sampling, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        dtype = torch.promote_types(dtype, torch.float32)  # sums of probabilities to 3 digits would move the limit
        for name in ("temperature", "limit"):
            self.register_buffer(name, torch.zeros((), device=device, dtype=dtype))
        self.register_buffer("by_count", torch.zeros((), device=device, dtype=torch.bool))
        self.digit_bits = 1 if device.type == "cuda" else 2
        self.sampling: Sampling | None = None
        self.use(sampling)

    def use(self, sampling: Sampling) -> None:
        """Draw like this from now on; nothing is compiled for it."""
        if sampling == self.sampling:
            return
        limit = math.inf
        if sampling.top_k > 0:
            limit = sampling.top_k - 0.5
        elif sampling.top_p < 1:
            limit = sampling.top_p
        self.temperature.fill_(sampling.temperature)
        self.limit.fill_(limit)
        self.by_count.fill_(sampling.top_k > 0)
        self.sampling = sampling

    def forward(self, logits: Tensor) -> Tensor:
        """[..., classes] to the distribution [..., classes] that a token is drawn from."""
        return _filtered(logits, self.temperature, self.limit, self.by_count, self.digit_bits)

    def draw(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Class index [...] drawn from the distribution of logits [..., classes] with their exponential noise."""
        return _filter_and_draw(logits, noise, self.temperature, self.limit, self.by_count, self.digit_bits)


@once_per_graph
def _filter_and_draw(logits: Tensor, noise: Tensor, *settings: Any) -> Tensor:
    return draw(_filtered(logits, *settings), noise)


def _filtered(logits: Tensor, temperature: Tensor, limit: Tensor, by_count: Tensor, digit_bits: int) -> Tensor:
    """See `Filter`."""
    logits = logits.to(temperature.dtype) / temperature
    weight = torch.where(by_count, 1.0, logits.softmax(-1)).unsqueeze(-2)
    order = _ordered_bits(logits)

    def too_much_above(ends: Tensor) -> Tensor:
        """[..., ends] bool: whether the weight of the classes above an end is beyond the limit."""
        return torch.where(order.unsqueeze(-2) > ends.unsqueeze(-1), weight, 0.0).sum(-1) > limit

    # The smallest integer such that the weight of all above it is within the limit; the sign comes first.
    negative = torch.full_like(order[..., :1], -1)
    smallest = torch.where(too_much_above(negative), 0, torch.iinfo(order.dtype).min).to(order.dtype)
    left = torch.iinfo(order.dtype).bits - 1
    while left:
        width = left % digit_bits or digit_bits
        left -= width
        digits = torch.arange(2**width - 1, device=order.device, dtype=order.dtype)
        ends = smallest + (digits << left) + ((1 << left) - 1)
        smallest = smallest + (too_much_above(ends).sum(-1, keepdim=True).to(order.dtype) << left)
    return logits.masked_fill(order < smallest, float("-inf")).softmax(-1)


def _ordered_bits(x: Tensor) -> Tensor:
    """Integers that are ordered as the floating-point numbers are."""
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    bits = x.view(kind)
    return bits ^ ((bits >> (torch.iinfo(kind).bits - 1)) & torch.iinfo(kind).max)
