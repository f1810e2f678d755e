"""TF32 for one forecaster among others in a process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from greenlight.models.base import Forecaster


def in_tf32(forecaster: Forecaster) -> Forecaster:
    """The same forecaster, whose calls round the factors of float32 matrix products to TF32 on a CUDA device.

    torch has one switch for the whole process. It is turned for each call and back after it, so that a reference beside
    it stays in float32; what compiles at a call compiles with it, and torch.compile guards on it.
    """
    for name in ("forecast", "probe"):
        setattr(forecaster, name, _with_tf32(getattr(forecaster, name)))
    return forecaster


def _with_tf32(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        with allowed_tf32():
            return method(*arguments, **named)

    return call


@contextmanager
def allowed_tf32() -> Iterator[None]:
    """TF32 is allowed for matrix products, and then what it was before."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
