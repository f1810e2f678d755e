"""Drawing tokens: temperature, top-k, top-p, and random numbers of a window's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from greenlight.data.windows import Window, window_seed


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


def window_noise(
    windows: Sequence[Window],
    samples: int,
    steps: int,
    classes: tuple[int, int],
    seed: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Exponential random numbers of both draws: two of [windows, steps, samples, classes] float32.

    Each window has a generator of its own, seeded by `window_seed`. Its stream is consumed step by step, the
    coarse draws of all samples and then the fine ones, which is how sequential draws by torch.multinomial
    would consume it. The generator is the device's: the numbers differ between devices.
    """
    first, second = (samples * count for count in classes)
    noise = torch.empty(len(windows), steps, first + second, device=device)
    for row, window in zip(noise, windows, strict=True):
        row.exponential_(generator=torch.Generator(device).manual_seed(window_seed(seed, window)))
    s1, s2 = noise.split((first, second), dim=-1)
    return s1.unflatten(-1, (samples, classes[0])), s2.unflatten(-1, (samples, classes[1]))
