"""What predictors share: calls that were not warmed or not judged, and products in float32 beside models in TF32."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from greenlight.api import Switch, UserError, stated_process
from greenlight_forecasters.engine.calls import CallGuard

POLICIES = ("compile", "eager", "refuse")
PRECISIONS = ("float32", "tf32")


class NotWarmed(UserWarning):
    """A call had a shape that was not warmed: it took long, or ran eagerly."""


class BeyondScope(UserWarning):
    """A call asks for what the verdict says nothing of."""


class Service:
    """How a predictor calls its engine.

    Args:
        engine: has a `guard` (`CallGuard`), asks `admit` for each new shape, and can `forget_uncompiled`.
        policy: what a call of a shape that was not warmed does where code is compiled: `compile` it within the call,
            run it `eager`, or `refuse` it.
        precision: what products of float32 matrices are computed in on a GPU, whatever the process is set to.
        scope: which calls the gate judged, as the manifest of a bundle has them (`shapes`); None where it judged none.
    """

    def __init__(
        self,
        engine: Any,
        policy: str = "compile",
        precision: str = "float32",
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        for value, known, name in ((policy, POLICIES, "policy"), (precision, PRECISIONS, "precision")):
            if value not in known:
                raise UserError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        self.policy, self._precision = policy, precision
        self._engine = engine
        self._guard: CallGuard = engine.guard
        self._warming = False
        self._new: list[str] = []
        self._scope, self._told = scope, set[str]()
        self._process = stated_process((scope or {}).get("process") or {})
        engine.admit = self._admit

    @contextlib.contextmanager
    def call(self, contexts: Sequence[int], horizon: int, series: int, samples: int | None = None) -> Iterator[None]:
        """One call of the engine; warnings say what was not judged, once each, and afterwards what was not warmed.

        Args:
            contexts: rows of its series; samples: None where it draws none.
        """
        for what, words in self._beyond(contexts, horizon, series, samples).items():
            if what not in self._told:
                self._told.add(what)
                warnings.warn(
                    f"{words}: nothing was shown for such calls. Run the gate with what production asks for",
                    BeyondScope,
                    stacklevel=4,
                )
        with contextlib.ExitStack() as stack:
            if self._guard.device.type == "cuda":
                stack.enter_context(products_in(self._precision == "tf32"))
            elif self._process.matmul_precision != "highest":
                stack.enter_context(self._process.products())
            stack.enter_context(self._guard.call())
            self._new, before = [], time.perf_counter()
            yield
            seconds, new = time.perf_counter() - before, self._new
        if new:
            how = "compiled within the call" if self.policy == "compile" else "not compiled, as policy='eager' asks"
            warnings.warn(
                f"a call took {seconds:.1f} s: its shape was not warmed, and was {how} ({'; '.join(new)}). Call "
                "warm_up with the shapes of production beforehand",
                NotWarmed,
                stacklevel=4,
            )

    def _beyond(self, contexts: Sequence[int], horizon: int, series: int, samples: int | None) -> dict[str, str]:
        """What of a call the gate did not judge, in words by its name. Less than was judged is within it, but for a
        context, of which another length is another input.
        """
        scope = self._scope
        if scope is None:
            return {}
        asked = {"rows to forecast": (horizon, scope["horizon"]), "series": (series, max(scope["windows"]))}
        if samples is not None and "samples" in scope:
            asked["samples"] = (samples, scope["samples"])
        found = {
            what: f"a call has {count} {what}, and at most {most} were judged"
            for what, (count, most) in asked.items()
            if count > most
        }
        judged = scope["context_length"]
        for rows in contexts:
            if rows != judged:
                found["context"] = f"a call has a context of {rows} rows, and {judged} were judged"
        return found

    @contextlib.contextmanager
    def warming(self) -> Iterator[None]:
        """Calls within compile new shapes and say nothing."""
        with self._guard.call():
            self._engine.forget_uncompiled()
            self._warming = True
            try:
                yield
            finally:
                self._warming = False

    def _admit(self, shape: str) -> bool:
        if self._warming:
            return True
        if self.policy == "refuse":
            raise UserError(
                f"a call of a shape that was not warmed ({shape}) is refused, as policy='refuse' asks; call warm_up "
                "with this shape first, or choose policy='compile' or 'eager'"
            )
        self._new.append(shape)
        return self.policy == "compile"


class Predictor:
    """What all predictors are: an engine, called through a `Service`.

    Args:
        service: policy, precision and scope, as for `Service`.
    """

    def __init__(self, engine: Any, **service: Any) -> None:
        self._engine = engine
        self._service = Service(engine, **service)


def products_in(tf32: bool) -> contextlib.AbstractContextManager[None]:
    """Products of float32 matrices on GPUs in TF32 or not; calls that ask for the other wait for each other."""
    return _TF32.at(tf32)


def _allow(tf32: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = tf32


_TF32 = Switch(lambda: torch.backends.cuda.matmul.allow_tf32, _allow)
