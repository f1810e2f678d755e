"""The state of torch in which a process calls a model: set in each trial, held against production's own.

Two kinds. What belongs to the whole process (options of Dynamo and Inductor, the kernels that attention may choose) is
set once, by `set_up`. What belongs to a call (inference mode, autocast, the precision of float32 products) is set
around each, by `calling`. Imports torch in functions only, for the workflow plans with these settings.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from greenlight.torch_options import OPTIONS_OF, Option, found_option, problem_with, set_option
from greenlight.variants import autocast_of, matmul_of, precision_of

_SDPA = {"flash": "flash_sdp", "efficient": "mem_efficient_sdp", "math": "math_sdp", "cudnn": "cudnn_sdp"}


class ProcessSettings(BaseModel):
    """The state of torch in which production's process calls. Threads are `threads`; variables of the environment,
    `trials.environment`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    inference_mode: bool = False
    """Whether calls are made in torch.inference_mode()."""
    autocast: Literal["float16", "bfloat16"] | None = None
    """The number format of torch.autocast around calls. Each variant is then measured under it, by a name such as
    `static-default-autocast-fp16`, beside the eager ones in float32 that it is held to."""
    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """torch.set_float32_matmul_precision; `high` and `medium` make a precision of each variant, as autocast does."""
    sdpa: tuple[Literal["flash", "efficient", "math", "cudnn"], ...] | None = None
    """Kernels that scaled_dot_product_attention may choose; null: torch's own choice. The truth in float64 has all."""
    dynamo: dict[str, Option] = Field(default_factory=dict)
    """Options of torch._dynamo.config by name, such as `{recompile_limit: 64}`."""
    inductor: dict[str, Option] = Field(default_factory=dict)
    """Options of torch._inductor.config by name, such as `{coordinate_descent_tuning: true, "cpp.threads": 4}`."""

    @field_validator("sdpa")
    @classmethod
    def _some_kernels(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError(f"expected one or more of {', '.join(_SDPA)}, each once; or null for torch's own choice")
        return value

    @field_validator("dynamo", "inductor")
    @classmethod
    def _can_be_set(cls, value: dict[str, Option], info: Any) -> dict[str, Option]:
        for name, option in value.items():
            if problem := problem_with(info.field_name, name, option):
                raise ValueError(problem)
        return value

    @property
    def precision(self) -> str:
        """The precision that autocast and matmul_precision make, as a variant's name has it."""
        return precision_of(self.autocast, self.matmul_precision)

    def beside_precision(self) -> dict[str, Any]:
        """What differs from torch's defaults, but for what a variant's precision says; empty for nothing."""
        found = self.model_dump(mode="json", exclude={"autocast", "matmul_precision"}, exclude_defaults=True)
        return {key: dict(sorted(value.items())) if isinstance(value, dict) else value for key, value in found.items()}

    def stated(self) -> dict[str, Any]:
        """All that differs from torch's defaults, as `stated_process` reads it; empty for nothing."""
        own = {"autocast": self.autocast, "matmul_precision": self.matmul_precision}
        return self.beside_precision() | {
            key: value for key, value in own.items() if value != type(self).model_fields[key].default
        }

    def words(self) -> str:
        """What differs from torch's defaults, in words; empty for nothing."""
        parts = ["inference mode"] if self.inference_mode else []
        parts += [f"autocast {self.autocast}"] if self.autocast else []
        parts += [f"float32 products at {self.matmul_precision!r}"] if self.matmul_precision != "highest" else []
        parts += [f"attention by {' or '.join(self.sdpa)}"] if self.sdpa else []
        for part, config in OPTIONS_OF.items():
            parts += [f"{config}.{name} {option!r}" for name, option in sorted(getattr(self, part).items())]
        return ", ".join(parts)

    def set_up(self) -> None:
        """Set what belongs to the whole process; before anything compiles."""
        for part in OPTIONS_OF:
            for name, option in getattr(self, part).items():
                set_option(part, name, option)
        if self.sdpa is not None:
            _allow(self.sdpa)

    @contextlib.contextmanager
    def calling(self, device: str) -> Iterator[None]:
        """A call as the process makes it, on a torch device."""
        import torch

        with contextlib.ExitStack() as stack:
            if self.matmul_precision != "highest":
                stack.enter_context(self.products())
            if self.inference_mode:
                stack.enter_context(torch.inference_mode())
            if self.autocast is not None:
                kind = torch.device(device).type
                stack.enter_context(torch.autocast(kind, dtype=getattr(torch, self.autocast)))
            yield

    def products(self) -> contextlib.AbstractContextManager[None]:
        """Products of float32 matrices in this precision, in all threads."""
        return _PRODUCTS.at(self.matmul_precision)

    def differences(self) -> Iterator[str]:
        """What of the whole process is not so here, a sentence each."""
        import torch

        if (found := torch.get_float32_matmul_precision()) != self.matmul_precision:
            yield f"float32 products are at {found!r} here, and were at {self.matmul_precision!r} when it was judged"
        for part, config in OPTIONS_OF.items():
            for name, option in getattr(self, part).items():
                if (found := found_option(part, name)) != repr(option):
                    yield f"{config}.{name} is {found} here, and was {option!r} when it was judged"
        if self.sdpa is not None and (allowed := _allowed()) != set(self.sdpa):
            here, judged = (" or ".join(sorted(kernels)) for kernels in (allowed, self.sdpa))
            yield f"attention may be by {here} here, and by {judged} when it was judged"

    def differences_of_call(self, device: str) -> Iterator[str]:
        """What of the calling thread is not so now, a sentence each."""
        import torch

        kind = torch.device(device).type
        found = str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if torch.is_autocast_enabled(kind) else None
        if found != self.autocast:
            yield f"the call is made {_under(found)}, and was judged {_under(self.autocast)}"
        if torch.is_inference_mode_enabled() != self.inference_mode:
            words = ("outside inference mode, and was judged in it", "in inference mode, and was judged outside it")
            yield f"the call is made {words[not self.inference_mode]}"


def process_of(beside: Mapping[str, Any], precision: str) -> ProcessSettings:
    """The state in which a variant is called, from `ProcessSettings.beside_precision` and the variant's precision."""
    return stated_process(dict(beside) | {"autocast": autocast_of(precision), "matmul_precision": matmul_of(precision)})


def stated_process(stated: Mapping[str, Any]) -> ProcessSettings:
    """The state that a record, a verdict or a bundle states; its options may be those of another torch."""
    known = ProcessSettings.model_fields
    return ProcessSettings.model_construct(**{key: value for key, value in stated.items() if key in known})


@contextlib.contextmanager
def any_attention() -> Iterator[None]:
    """Attention by any kernel, for a number format that the process' own choice may lack."""
    before = _allowed()
    _allow(_SDPA)
    try:
        yield
    finally:
        _allow(before)


def _under(autocast: str | None) -> str:
    return f"under autocast {autocast}" if autocast else "without autocast"


def _allow(kernels: Any) -> None:
    import torch

    for kernel, name in _SDPA.items():
        getattr(torch.backends.cuda, f"enable_{name}")(kernel in kernels)


def _allowed() -> set[str]:
    import torch

    return {kernel for kernel, name in _SDPA.items() if getattr(torch.backends.cuda, f"{name}_enabled")()}


class Switch:
    """A switch of torch that all threads share: turned by the first of several calls at once, back after the last.

    What is so already is not set: torch tells what was set from its default, and a compile cache misses by it.

    Args:
        read, write: its position.
    """

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self._read, self._write = read, write
        self._idle = threading.Condition()
        self._inside = 0
        self._position: Any = None
        self._before: Any = None

    @contextlib.contextmanager
    def at(self, position: Any) -> Iterator[None]:
        """Calls within are made at a position; those that ask for another wait for each other."""
        with self._idle:
            self._idle.wait_for(lambda: self._inside == 0 or self._position == position)
            if self._inside == 0:
                self._position, self._before = position, self._read()
                self._turn(position)
            self._inside += 1
        try:
            yield
        finally:
            with self._idle:
                self._inside -= 1
                if self._inside == 0:
                    self._turn(self._before)
                    self._idle.notify_all()

    def _turn(self, position: Any) -> None:
        if self._read() != position:
            self._write(position)


def _level() -> str:
    import torch

    return torch.get_float32_matmul_precision()


def _set_level(level: str) -> None:
    import torch

    torch.set_float32_matmul_precision(level)


_PRODUCTS = Switch(_level, _set_level)
