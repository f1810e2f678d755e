"""Linear layers whose float32 weight is kept in the layout of oneDNN's matrix kernels, for CPUs.

`torch.nn.functional.linear` lets the matrix library rearrange the weight in every call, which for few rows costs as
much as the product. Packed once, the weight is kept in that layout only, by eager and compiled code alike.
(Inductor's own `freezing` packs too, but once more for each compiled graph.)
"""

from __future__ import annotations

import itertools
import weakref

import torch
from torch import Tensor, nn

# Smaller weights stay in the processor's cache, and a packed layer is a call that compiled code can't fuse.
_LEAST_WEIGHTS = 1 << 18

# Packed weights are opaque to torch.compile, so that compiled code names them by number. The numbers follow the
# order of packing: a process that loads the same model again finds its compiled code in the cache.
_packed: dict[int, Tensor] = {}
_numbers = itertools.count()


@torch.library.custom_op("greenlight::toto_packed_linear", mutates_args=())
def packed_linear(rows: Tensor, bias: Tensor, number: int) -> Tensor:
    """The linear layer `number` of rows [..., inputs]; [..., outputs]."""
    return torch.ops.mkldnn._linear_pointwise(rows, _packed[number], bias, "none", [], "")


@packed_linear.register_fake
def _(rows: Tensor, bias: Tensor, number: int) -> Tensor:
    return rows.new_empty(*rows.shape[:-1], bias.shape[0])


class PackedLinear(nn.Module):
    """A linear layer with a packed weight; it takes the place of an `nn.Linear`."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.bias = linear.bias
        self.number = next(_numbers)
        _packed[self.number] = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        weakref.finalize(self, _packed.pop, self.number)

    def forward(self, rows: Tensor) -> Tensor:
        """rows [..., inputs] to [..., outputs]."""
        return packed_linear(rows, self.bias, self.number)


def pack(module: nn.Module) -> nn.Module:
    """Pack the large float32 linear layers of a module on a CPU, in place, where this torch has the kernels."""
    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            pack(child)
        elif _worth_packing(child):
            setattr(module, name, PackedLinear(child))
    return module


def _worth_packing(linear: nn.Linear) -> bool:
    weight = linear.weight
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.numel() >= _LEAST_WEIGHTS
        and torch.backends.mkldnn.is_available()
    )
