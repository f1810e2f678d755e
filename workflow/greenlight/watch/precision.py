"""TF32 for one forecaster among others in a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from greenlight.api import Forecaster


def in_tf32(forecaster: Forecaster) -> Forecaster:
    """The same forecaster, whose calls round the factors of float32 matrix products to TF32 on a CUDA device.

    torch has one switch for the whole process. It is turned for each call and back after it, so that a reference beside
    it stays in float32; what compiles at a call compiles with it, and torch.compile guards on it.
    """
    for name in ("forecast", "probe"):
        setattr(forecaster, name, allowed_tf32()(getattr(forecaster, name)))
    return forecaster


@contextmanager
def allowed_tf32() -> Iterator[None]:
    """TF32 is allowed for matrix products, and then what it was before; decorates a function too."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
