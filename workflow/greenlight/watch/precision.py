"""The state of torch that one forecaster among others in a process is called in, and how coarsely it computes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from greenlight.api import Forecaster, Switch, Window

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


class _Formats(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which results of torch's operators have fewer digits than float32.

    Attributes:
        found: by the number format, or the precision of float32 matrix products, an operator that gives it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, str] = {}
        self._usual = torch.get_float32_matmul_precision()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        for value in given if isinstance(given, (tuple, list)) else (given,):
            if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                continue
            if value.dtype.itemsize < torch.float32.itemsize:
                self._note(str(value.dtype).removeprefix("torch."), str(func))
            elif "mm" in str(func) and (precision := torch.get_float32_matmul_precision()) != self._usual:
                self._note(f"{precision} precision of matrix products", str(func))
        return given

    def _note(self, what: str, operator: str) -> None:
        """The first operator that is not a conversion says most."""
        if "_to_copy" in self.found.get(what, "_to_copy"):
            self.found[what] = operator


def coarser_forecasts(forecaster: Forecaster, windows: Sequence[Window], samples: int, seed: int) -> str:
    """What `forecast` computes more coarsely than `probe` does, in words; or nothing.

    Of code that is not compiled, in the thread that calls it, and in torch; numerics speak of nothing else then.
    """
    with _Formats() as probe:
        forecaster.probe(windows)
    with _Formats() as forecast:
        forecaster.forecast(windows, samples, seed)
    return ", ".join(f"{what} ({name})" for what, name in forecast.found.items() if what not in probe.found)
