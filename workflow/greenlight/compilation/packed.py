"""Linear layers on a CPU over weights in oneDNN's own layout, as an operator that torch.compile keeps as it is.

With few rows a float32 product is bound by reading its weights, and they are read faster in that layout. Inductor
packs weights only where it freezes them into the graph, which ties a compiled graph to its weights. Here a graph
takes a stand-in for the weights, which has their shape, one number of memory, and the packed weights as an attribute.

The operators of `torch.ops.mkldnn` are torch's own and private; `pack` tries them and checks what they give, and
where that fails the weights stay as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

_LIBRARY = torch.library.Library("greenlight", "FRAGMENT")
_LIBRARY.define("packed_linear(Tensor x, Tensor stand_in, Tensor? bias) -> Tensor")
# Relative to the largest result of the check: rounding gives about 1e-6, a wrong layout about 1.
_TOLERANCE = 1e-4


def pack(weight: Tensor, rows: int | None = None) -> Tensor | None:
    """A stand-in for a weight [out, in] that `packed_linear` takes; None where packing is not to be had.

    Args:
        rows: how many rows a product will mostly have; None where that is not known.
    """
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return None
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, weight.shape[1], generator=generator)
    expected = functional.linear(x, weight)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        found = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    except (RuntimeError, AttributeError):  # NotImplementedError is a RuntimeError
        return None
    # Weights that are no numbers stay as they are, too: the comparison is false.
    if not bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max()):
        return None
    stand_in = weight.new_zeros(1).expand(weight.shape)
    stand_in.packed = packed
    return stand_in


def packed_linear(x: Tensor, stand_in: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., in] times the weights that `stand_in` knows, plus bias: [..., out]."""
    return torch.ops.greenlight.packed_linear(x, stand_in, bias)


def _run(x: Tensor, stand_in: Tensor, bias: Tensor | None) -> Tensor:
    return _product()(x, stand_in.packed, bias, "none", [], "")


@functools.cache
def _product() -> Callable[..., Tensor]:
    """The overload itself: looking for it among others takes longer than some products."""
    return torch.ops.mkldnn._linear_pointwise.default


def _shape(x: Tensor, stand_in: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], stand_in.shape[0]))


_LIBRARY.impl("packed_linear", _run, "CPU")
torch.library.register_fake("greenlight::packed_linear", _shape, lib=_LIBRARY)
