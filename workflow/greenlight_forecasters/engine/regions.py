"""Code that a graph repeats: worked on by the compiler once.

Not for code that reads what its graph writes in place, such as a layer over a key and value cache: torch 2.13 may run
the region before the write (seen on a CPU: `index_copy_` to a cache, then attention over it in a region gave other
logits at the first step), although eager mode is right and nothing is said.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def once_per_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that torch.compile lowers once for all calls of it in a graph with tensors of the same shapes.

    What is in the function is not fused with what is before and after it. That costs a CPU next to nothing; on a GPU it
    is more launches, so there the function is compiled as if it were not marked.

    Args:
        function: takes a tensor first, then tensors and plain values, none of which the graph writes to; returns
            tensors that share no memory with each other or with what it was given, and changes nothing.
    """
    region = torch.compiler.nested_compile_region(function)

    @functools.wraps(function)
    def call(x: Tensor, *rest: Any) -> Any:
        if torch.compiler.is_compiling() and x.device.type == "cpu":
            return region(x, *rest)
        return function(x, *rest)

    return call
