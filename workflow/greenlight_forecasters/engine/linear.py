"""Linear layers that read their weights as the device does fastest; few rows are bound by reading them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenlight_forecasters.engine.packed import pack, packed_linear
from greenlight_forecasters.engine.sums import few_rows, summed_linear

# Smaller weights stay in the processor's cache, and a packed layer is a call that compiled code can't fuse.
_LEAST_PACKED = 1 << 18


class PackedLinear(nn.Module):
    """A linear layer on a CPU whose weight is packed."""

    def __init__(self, stand_in: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("stand_in", stand_in, persistent=False)
        self.bias = bias

    def forward(self, rows: Tensor) -> Tensor:
        """rows [..., inputs] to [..., outputs]."""
        return packed_linear(rows, self.stand_in, self.bias)


class SummedLinear(nn.Linear):
    """A linear layer on a GPU that can run as sums where there are few rows.

    Attributes:
        summing: whether compiled code runs few rows as sums.
    """

    summing = False

    @classmethod
    def of(cls, linear: nn.Linear) -> SummedLinear:
        """The layer with its own weights, without a copy."""
        with torch.device("meta"):
            summed = cls(linear.in_features, linear.out_features)
        summed.weight, summed.bias = linear.weight, linear.bias
        return summed

    def forward(self, rows: Tensor) -> Tensor:
        """rows [..., inputs] to [..., outputs]."""
        product = summed_linear if self.summing and few_rows(rows) else functional.linear
        return product(rows, self.weight, self.bias)


def arrange(module: nn.Module) -> nn.Module:
    """Let the linear layers of a float32 or float64 network read their weights as its device does fastest, in place."""
    for name, child in module.named_children():
        arranged = _arranged(child) if isinstance(child, nn.Linear) else arrange(child)
        setattr(module, name, arranged.train(child.training))  # new modules begin in training mode
    return module


def _arranged(linear: nn.Linear) -> nn.Module:
    if linear.weight.is_cuda and linear.weight.dtype in (torch.float32, torch.float64):
        return SummedLinear.of(linear)
    if linear.weight.numel() < _LEAST_PACKED:
        return linear
    stand_in = pack(linear.weight.detach())
    return linear if stand_in is None else PackedLinear(stand_in, linear.bias)
