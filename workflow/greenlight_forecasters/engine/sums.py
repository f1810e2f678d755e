"""Few rows times a matrix as sums, on a GPU: there a product of few rows is bound by reading the matrix.

Compiled, the sums of all rows over the same weights become one kernel, which reads the weights once. In all there are
more kernels then, so that it pays only where CUDA graphs launch them.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Up to here sums beat a GPU's matrix product (H200, docs/gpu.md): 8 rows 1.5 to 2.8 times, 16 rows 1.3 to 4.5.
MOST_SUMMED_ROWS = 16


@torch.library.custom_op("greenlight::store", mutates_args=("tensor",))
def store(tensor: Tensor) -> None:
    """Nothing, but compiled code can't know: it must have the tensor in memory before, and read it from there after.

    It would compute what is cheap again for every reader otherwise, here a normalised row for every sum.
    """


@store.register_fake
def _(tensor: Tensor) -> None:
    return None


def few_rows(rows: Tensor) -> bool:
    """Whether rows [..., inputs] are so few, in code that is being compiled, that a GPU takes them faster as sums."""
    return rows.shape[:-1].numel() <= MOST_SUMMED_ROWS and torch.compiler.is_compiling()


def summed_linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """rows [..., inputs] times weight [outputs, inputs] plus bias: [..., outputs]."""
    flat = rows.flatten(0, -2)
    store(flat)
    sums = [(weight * row).sum(-1) for row in flat.unbind(0)]
    if bias is not None:
        sums = [row + bias for row in sums]
    return torch.stack(sums).unflatten(0, rows.shape[:-1])
