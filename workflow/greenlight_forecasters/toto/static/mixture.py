"""The predicted distribution of a patch: a mixture of Student-t, and how to draw from it without a loop."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# Uniform random numbers for one row: which component, and two for its Student-t.
UNIFORMS = 3


class Mixture(NamedTuple):
    """Parameters of a mixture of Student-t for each row of a patch, and the affine map to prices.

    Attributes:
        df, loc, scale, mixture_weights: [..., patch, components], in the scaler's units.
        scaler_loc, scaler_scale: [...], the patch's location and scale.
    """

    df: Tensor
    loc: Tensor
    scale: Tensor
    mixture_weights: Tensor
    scaler_loc: Tensor
    scaler_scale: Tensor


def mixture(outputs: Tensor, scaler_loc: Tensor, scaler_scale: Tensor, components: int) -> Mixture:
    """The distribution that the network's outputs [..., patch * 4 * components] mean."""
    df, loc, scale, logits = outputs.unflatten(-1, (-1, 4, components)).unbind(-2)
    least = torch.finfo(outputs.dtype).eps
    return Mixture(
        2.0 + functional.softplus(df).clamp_min(least),
        loc,
        functional.softplus(scale).clamp_min(least),
        functional.softmax(logits, dim=-1),
        scaler_loc,
        scaler_scale,
    )


def draw(mixture: Mixture, uniforms: Tensor) -> Tensor:
    """One price for each row and sample.

    The component by its cumulative weight; then Bailey's polar method (Bailey, "Polar generation of random variates
    with the t-distribution", Mathematics of Computation 62, 1994): sqrt(df (u**(-2/df) - 1)) cos(2 pi v) is
    Student-t with df degrees of freedom for independent uniform u and v. It needs no rejection, so that the random
    numbers can be drawn beforehand and the rest compiles. Uniforms of 24 bits bound a draw's tail at a probability
    of 6e-8.

    Args:
        mixture: parameters [..., samples or 1, patch, components].
        uniforms: [3, ..., samples, patch] in [0, 1).

    Returns:
        [..., samples, patch] prices; what is not finite or beyond half of the dtype's range is 0, as published.
    """
    choice, radius, angle = uniforms.to(mixture.loc.dtype).unbind(0)
    component = (choice[..., None] >= mixture.mixture_weights.cumsum(-1)).sum(-1, keepdim=True)
    component = component.clamp_max(mixture.loc.shape[-1] - 1)

    def chosen(parameter: Tensor) -> Tensor:
        return parameter.expand(*component.shape[:-1], -1).gather(-1, component)[..., 0]

    df = chosen(mixture.df)
    student = torch.sqrt(df * torch.expm1(-2.0 * torch.log(1.0 - radius) / df)) * torch.cos(2.0 * math.pi * angle)
    return _price(chosen(mixture.loc) + chosen(mixture.scale) * student, mixture)


def mean(mixture: Mixture) -> Tensor:
    """Expected price of each row, [..., patch]."""
    return _price((mixture.mixture_weights * mixture.loc).sum(-1), mixture)


def _price(scaled: Tensor, mixture: Mixture) -> Tensor:
    price = scaled * mixture.scaler_scale[..., None] + mixture.scaler_loc[..., None]
    usable = torch.isfinite(price) & (price.abs() < torch.finfo(price.dtype).max / 2)
    return torch.where(usable, price, 0.0)
