"""Calls of a static engine in somebody else's process: one at a time, in a known state of torch, on unchanged weights.

A static engine works in buffers of its own. Two calls at once would write to the same ones, and a call under
`autocast` or in another current stream would compute something else, without an error. Here what belongs to the
calling thread is set for each call; what belongs to the whole process, and would change the results, is checked.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import _pop_mode, _push_mode

from greenlight.api import UserError
from greenlight_forecasters.engine.pools import give_up_pool

# What autocast computes in where nothing else is asked for: torch.compile looks at it even where autocast is off.
_AUTOCAST = {"cpu": torch.bfloat16, "cuda": torch.float16}
_TRAINING, _VERSION = operator.attrgetter("training"), operator.attrgetter("_version")
_Result = TypeVar("_Result")
_GUARDS: weakref.WeakSet[CallGuard] = weakref.WeakSet()


@contextlib.contextmanager
def plain_state(device: torch.device) -> Iterator[None]:
    """The calling thread's own state of torch as in a new process: no autocast, gradients, inference or other modes.

    A CUDA device is the current one.
    """
    if device.type != "cuda" and _is_plain():
        with torch.no_grad():  # a stack of contexts takes longer than all that the guard looks at
            yield
        return
    with contextlib.ExitStack() as stack:
        if torch._C._len_torch_function_stack():
            stack.enter_context(_without_modes())
        if torch.is_inference_mode_enabled():
            # Buffers that were made in inference mode could not be written to outside it.
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for kind in _AUTOCAST:
            if not _is_plain_autocast(kind):
                stack.enter_context(torch.autocast(kind, dtype=_AUTOCAST[kind], enabled=False))
        if device.type == "cuda":
            stack.enter_context(torch.cuda.device(device))
        yield


def _is_plain() -> bool:
    """Whether nothing but gradients may be on."""
    modes = torch._C._len_torch_function_stack() or torch.is_inference_mode_enabled()
    return not modes and all(map(_is_plain_autocast, _AUTOCAST))


def _is_plain_autocast(kind: str) -> bool:
    off = not torch.is_autocast_enabled(kind) and torch.is_autocast_cache_enabled()
    return off and torch.get_autocast_dtype(kind) == _AUTOCAST[kind]


@contextlib.contextmanager
def _without_modes() -> Iterator[None]:
    """No torch function modes, of which a default device is one."""
    modes = [_pop_mode() for _ in range(torch._C._len_torch_function_stack())]
    try:
        yield
    finally:
        for mode in reversed(modes):
            _push_mode(mode)


class CallGuard:
    """What all calls of one engine go through.

    Args:
        device: of the engine.
        modules: by a name for messages, what the engine reads its weights from, or has read them from. Make the guard
            once it has read them.
        buffers: whether their buffers are weights too. Published code may keep tables in them, which it writes itself.
    """

    def __init__(self, device: torch.device, modules: Mapping[str, nn.Module], buffers: bool = True) -> None:
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())  # which another one may be at a call
        self.device = device
        self._weights = _Weights(modules, buffers)
        self._precision: str | None = None
        self._forked = False
        self._depth = 0
        self._done: torch.cuda.Event | None = None
        self._lock = threading.RLock()
        _GUARDS.add(self)
        self._give_up_pool()  # of the thread that has loaded the weights, and may not call

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """One call: others wait until it has ended. A call within a call of the same thread is a part of it.

        Raises:
            UserError: the weights are not what they were, or the process is in a state in which the results would be
                others, or would never come.
        """
        with self._lock:
            self._depth += 1
            try:
                if self._depth > 1:
                    yield
                    return
                self._check_process()
                self._weights.check()
                with plain_state(self.device), self._in_order():
                    yield
            finally:
                self._depth -= 1
                if not self._depth:
                    self._give_up_pool()

    def watch_instead(self, modules: Mapping[str, nn.Module]) -> None:
        """Watch modules of somebody else's, of which the engine's weights are copies that nobody but it can reach."""
        with self._lock:
            self._weights = _Weights(modules, buffers=True)

    @contextlib.contextmanager
    def rebuilding(self) -> Iterator[None]:
        """Buffers may be given up within: no call runs, and the device has done all that it was given."""
        with self._lock:
            if self._done is not None:
                self._done.synchronize()
            yield

    def after_fork(self) -> None:
        """In a child that was forked: the threads that might hold the lock are not there."""
        self._forked, self._depth, self._lock = True, 0, threading.RLock()

    def _give_up_pool(self) -> None:
        if self.device.type == "cpu":
            give_up_pool()

    def _check_process(self) -> None:
        if self._forked and self.device.type == "cuda":
            raise UserError(
                "this engine was made on a GPU before the process forked, and CUDA can't be used in a forked child; "
                "start the child by the method `spawn`, and load the engine there"
            )
        if self._forked and torch.get_num_threads() > 1:
            raise UserError(
                f"this engine was made before the process forked, and torch runs on {torch.get_num_threads()} threads, "
                "which don't exist in a forked child: the call might never end. Call torch.set_num_threads(1) in the "
                "child, or start it by the method `spawn` and load the engine there"
            )
        precision = _product_precision(self.device)
        self._precision = self._precision or precision
        if precision != self._precision:
            raise UserError(
                f"float32 products were computed in {self._precision} at the first call of this engine, and are in "
                f"{precision} now (torch.set_float32_matmul_precision, allow_tf32): its forecasts would be others. "
                "Set it once, before the first call"
            )

    @contextlib.contextmanager
    def _in_order(self) -> Iterator[None]:
        """On a GPU: the work of this call begins after that of the last one, whatever streams are current."""
        if self.device.type != "cuda":
            yield
            return
        stream = torch.cuda.current_stream(self.device)
        if self._done is not None:
            stream.wait_event(self._done)
        try:
            yield
        finally:
            self._done = stream.record_event()


def _after_fork() -> None:
    for guard in _GUARDS:
        guard.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _product_precision(device: torch.device) -> str:
    """In what torch computes products of float32 matrices on a device, as this process is set."""
    if device.type == "cuda":
        return "TF32" if torch.backends.cuda.matmul.allow_tf32 else "float32"
    return torch.get_float32_matmul_precision()


class _Weights:
    """Parameters, buffers and modules as they were: the very objects, tensors at their addresses and not written to.

    All is looked at in every call, so without a loop in Python: a few hundred of them take some ten microseconds.
    """

    def __init__(self, modules: Mapping[str, nn.Module], buffers: bool) -> None:
        self._modules: list[nn.Module] = []
        self._places: list[dict[str, Any]] = []
        self._paths: list[str] = []
        self._tensors: dict[str, Tensor] = {}
        seen: set[nn.Module] = set()
        for root, whole in modules.items():
            for path, module in whole.named_modules(seen, prefix=root):
                self._modules.append(module)
                own = module._buffers if buffers else {}
                for place in filter(None, (module._modules, module._parameters, own)):
                    self._places.append(place)
                    self._paths.append(path)
                    self._tensors |= {f"{path}.{key}": one for key, one in place.items() if isinstance(one, Tensor)}
        self._kept = list(map(dict, self._places))
        self._counted = {name: tensor for name, tensor in self._tensors.items() if _version(tensor) is not None}
        self._addresses = list(map(Tensor.data_ptr, self._tensors.values()))
        self._versions = list(map(_VERSION, self._counted.values()))

    def check(self) -> None:
        """UserError where a module trains, or a module or weight was moved, exchanged or written to."""
        if any(map(_TRAINING, self._modules)):
            kind = type(next(filter(_TRAINING, self._modules))).__name__
            raise UserError(
                f"a {kind} of this engine is in training mode; call eval() on its model: engines forecast, and don't "
                "train"
            )
        try:
            same = self._places == self._kept  # what is the same object is not compared any further
        except (RuntimeError, ValueError):  # two tensors are neither equal nor not
            same = False
        if not same:
            raise _changed(self._exchanged(), "was exchanged")
        _compare(self._tensors, list(map(Tensor.data_ptr, self._tensors.values())), self._addresses, "was moved")
        _compare(self._counted, list(map(_VERSION, self._counted.values())), self._versions, "was written to")

    def _exchanged(self) -> str:
        """The name of what is another object now."""
        for path, place, kept in zip(self._paths, self._places, self._kept, strict=True):
            for key in place.keys() | kept.keys():
                if place.get(key) is not kept.get(key):
                    return f"{path}.{key}"
        return "a weight"


def _compare(names: Iterable[str], found: list[int], known: list[int], what: str) -> None:
    if found != known:
        changed = next(name for name, one, other in zip(names, found, known, strict=True) if one != other)
        raise _changed(changed, what)


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written to, as torch counts; None for one of inference mode, which is not counted."""
    try:
        return tensor._version
    except RuntimeError:
        return None


def _changed(name: str, what: str) -> UserError:
    return UserError(
        f"{name} {what} since this engine took over the weights, parts of which it keeps in a form of its own; make a "
        "new engine for other weights or another device"
    )


def guarded(method: Callable[..., _Result]) -> Callable[..., _Result]:
    """A method whose calls go through the `guard` of its object."""

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **named: Any) -> _Result:
        with self.guard.call():
            return method(self, *arguments, **named)

    return call
