"""The state of torch that one forecaster among others in a process is called in."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from greenlight.api import Forecaster, Switch

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


def allowed_tf32() -> AbstractContextManager[None]:
    """TF32 is allowed for matrix products and convolutions, for as long as any of several calls at once is within."""
    return _TF32.at((True, True))


def _allowed() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def _allow(allowed: tuple[bool, bool]) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed


_TF32 = Switch(_allowed, _allow)
