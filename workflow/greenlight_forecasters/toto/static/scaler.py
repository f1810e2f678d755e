"""The causal patch scaler: statistics up to a patch serve the whole patch (arXiv:2505.14766, section 3.2).

Welford's algorithm in float64, as published: Bessel's correction, 0.1 added to the variance, and the scale clamped
to 10**±exponent of the context's own scale. Over a context all positions are computed at once; while decoding, the
running sums are carried along, so that a step costs one patch and not the whole past.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MINIMUM_VARIANCE = 0.1


class Running(NamedTuple):
    """What the scaler remembers of the past, float64: count, sum, mean and sum of squared deviations."""

    count: Tensor
    total: Tensor
    mean: Tensor
    squares: Tensor


def scale_context(
    series: Tensor, observed: Tensor, patch: int, exponent: float | None
) -> tuple[Tensor, Tensor, Tensor, Running, tuple[Tensor, Tensor]]:
    """Scale a context patch by patch.

    Args:
        series: [..., length] with length a multiple of `patch`.
        observed: [..., length] bool; False is missing or padding, and takes no part in the statistics.
        exponent: the scale is kept within 10**±exponent of the context's; None does not clamp.

    Returns:
        scaled series [..., length]; location and scale of each patch [..., patches], in the series' dtype;
        the running sums after the last position [...]; the bounds (least, most) of the scale, each [...], float64.
    """
    values, weights = series.double(), observed.double()
    weighted = values * weights
    counts, totals = weights.cumsum(-1), weighted.cumsum(-1)
    means = totals / counts.clamp_min(1.0)
    before = torch.nn.functional.pad(means[..., :-1], (1, 0))
    squares = ((values - before) * (values - means) * weights).cumsum(-1)
    bounds = _bounds(values, weights, weighted, exponent)
    scales = _scale(counts, squares, tuple(bound[..., None] for bound in bounds))
    # The last statistic of a patch serves the whole patch.
    loc = means[..., patch - 1 :: patch].to(series.dtype)
    scale = scales[..., patch - 1 :: patch].to(series.dtype)
    patches = series.unflatten(-1, (-1, patch))
    scaled = ((patches - loc[..., None]) / scale[..., None]).flatten(-2)
    running = Running(counts[..., -1], totals[..., -1], means[..., -1], squares[..., -1])
    return scaled, loc, scale, running, bounds


def scale_patch(
    patch: Tensor, running: Running, bounds: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Running]:
    """Scale one more patch, all of it observed.

    Args:
        patch: [..., patch], the rows that follow what `running` has seen.
        running: each [...]; bounds: each broadcastable to [...].

    Returns:
        scaled patch [..., patch]; its location and scale [...], in the patch's dtype; the running sums after it.
    """
    values = patch.double()
    counts = running.count[..., None] + torch.arange(1, patch.shape[-1] + 1, dtype=torch.float64, device=patch.device)
    totals = running.total[..., None] + values.cumsum(-1)
    means = totals / counts
    before = torch.cat((running.mean[..., None], means[..., :-1]), dim=-1)
    squares = running.squares + ((values - before) * (values - means)).sum(-1)
    after = Running(counts[..., -1], totals[..., -1], means[..., -1], squares)
    loc = after.mean.to(patch.dtype)
    scale = _scale(after.count, after.squares, bounds).to(patch.dtype)
    return (patch - loc[..., None]) / scale[..., None], loc, scale, after


def _bounds(values: Tensor, weights: Tensor, weighted: Tensor, exponent: float | None) -> tuple[Tensor, Tensor]:
    count = weights.sum(-1).clamp_min(1.0)
    if exponent is None:
        return torch.zeros_like(count), torch.full_like(count, torch.inf)
    mean = weighted.sum(-1) / count
    variance = (((values - mean[..., None]) * weights) ** 2).sum(-1) / count
    scale = torch.sqrt(variance + MINIMUM_VARIANCE)
    return (scale * 10.0**-exponent).clamp_min(MINIMUM_VARIANCE), scale * 10.0**exponent


def _scale(count: Tensor, squares: Tensor, bounds: tuple[Tensor, Tensor]) -> Tensor:
    """Square root of Bessel's variance plus 0.1, within the bounds."""
    # The published divisor: the count, at least 1, less 1, at least 1.
    variance = squares / (count.clamp_min(1.0) - 1.0).clamp_min(1.0)
    return torch.sqrt(variance + MINIMUM_VARIANCE).clamp(*bounds)
