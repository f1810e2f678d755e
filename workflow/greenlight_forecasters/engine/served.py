"""Published code as a verdict adopts it: by its own methods, one call at a time, on the judged weights."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from greenlight.api import UserError, stated_process
from greenlight_forecasters.engine.calls import CallGuard
from greenlight_forecasters.engine.options import without_cuda_graphs


class PublishedCode:
    """What a `Service` asks of an engine, of code that is none: a guard, and which shapes were compiled.

    Args:
        modules: what holds its weights, by a name for messages, as it was before torch.compile.
        mode: the one of torch.compile's that it was told to compile in; None where it is eager.
        policy, scope: as for `Service`. Calls run in the state of torch that was judged, not in the caller's.

    Raises:
        UserError: the policy `eager` of code that is compiled.

    Attributes:
        admit: asked, with the shape in words, where code is compiled for a new one.
        of_one_thread: whether calls have CUDA graphs of torch.compile's, which belong to the thread that recorded them.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        mode: str | None,
        policy: str = "compile",
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        if mode is not None and policy == "eager":
            raise UserError(
                "policy='eager' can't be honoured by the published code, which torch compiles for whatever it is "
                "called with; choose 'compile' or 'refuse', or deploy an eager variant"
            )
        self.device = next(next(iter(modules.values())).parameters()).device
        self.guard = CallGuard(self.device, modules, buffers=False)
        self.admit: Callable[[str], bool] = lambda shape: True
        self.mode = mode
        self._process = stated_process((scope or {}).get("process") or {})
        self._known = set[str]()
        self.of_one_thread = self.device.type == "cuda" and without_cuda_graphs(mode or "") is not None
        self._thread: int | None = None

    def forget_uncompiled(self) -> None:
        """Nothing is kept of shapes that ran uncompiled: there are none."""

    @contextlib.contextmanager
    def call(self, shape: str) -> Iterator[None]:
        """One call of a shape in words.

        Raises:
            UserError: as `CallGuard.call`; a thread that can't replay what another one recorded.
        """
        with self.guard.call(), self._process.calling(self.device.type):
            if self.of_one_thread:
                self._thread = self._thread or threading.get_ident()
                if self._thread != threading.get_ident():
                    raise UserError(
                        f"torch.compile's CUDA graphs (mode {self.mode}) can only be replayed by the thread that "
                        "recorded them, and another one calls; call from the thread that loaded this predictor, or "
                        "deploy a variant that is static, eager, or in mode default"
                    )
            if self.mode is not None and shape not in self._known:
                self.admit(shape)
            yield
            self._known.add(shape)
