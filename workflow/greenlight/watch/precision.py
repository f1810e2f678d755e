"""The state of torch that one forecaster among others in a process is called in."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from greenlight.api import Forecaster

State = Callable[[], AbstractContextManager[Any]]


def called_in(forecaster: Forecaster, *states: State) -> Forecaster:
    """The same forecaster, each of whose calls is made in some states of torch, in whatever thread.

    A state is entered for each call and left after it, so that a reference beside it is called in its own. What
    compiles at a call compiles in it, and torch.compile guards on it.
    """

    def within(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            with contextlib.ExitStack() as stack:
                for state in states:
                    stack.enter_context(state())
                return method(*arguments, **named)

        return call

    for name in ("forecast", "probe"):
        setattr(forecaster, name, within(getattr(forecaster, name)))
    return forecaster


def in_tf32(forecaster: Forecaster) -> Forecaster:
    """The same forecaster, whose calls round the factors of float32 matrix products to TF32 on a CUDA device."""
    return called_in(forecaster, allowed_tf32)


class _Allowed:
    """How many calls are within `allowed_tf32`, and what was so before the first of them."""

    lock, inside, before = threading.Lock(), 0, (False, False)


@contextmanager
def allowed_tf32() -> Iterator[None]:
    """TF32 is allowed for matrix products, and then what it was before the first of several calls at once.

    torch has one switch for the whole process, which all threads share.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with _Allowed.lock:
        if _Allowed.inside == 0:
            _Allowed.before = matmul.allow_tf32, cudnn.allow_tf32
            matmul.allow_tf32 = cudnn.allow_tf32 = True
        _Allowed.inside += 1
    try:
        yield
    finally:
        with _Allowed.lock:
            _Allowed.inside -= 1
            if _Allowed.inside == 0:
                matmul.allow_tf32, cudnn.allow_tf32 = _Allowed.before
