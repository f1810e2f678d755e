"""Torch's private parts, in one place: what torch.compile does while a block runs, as plain observations.

Read in torch 2.9.1 and 2.13, run with 2.13 on a CPU and with 2.11 on a GPU (recordings, replays, partitions, skips);
where another torch has moved something that is needed, entering raises `InternalsMoved` rather than observe nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any, ClassVar

import torch

from greenlight.api import OWN_CUDA_GRAPHS
from greenlight.watch.hooks import after_import, uncollected, wrapped

_TORCH_FOLDER = str(Path(torch.__file__).parent)
# Without the one no frame is compiled, without the other no graph.
_DYNAMO, _INDUCTOR = "torch._dynamo", "torch._inductor.compile_fx"


class InternalsMoved(RuntimeError):
    """A private part of torch is not where this module expects it: health can't be judged with this torch."""


@dataclass(frozen=True)
class Place:
    """A line of source."""

    file: str
    line: int
    function: str


@dataclass(frozen=True)
class Break:
    """A graph break as Dynamo recorded it: the user's line, and Dynamo's text."""

    place: Place
    reason: str


@dataclass(frozen=True)
class Attempt:
    """One attempt of Dynamo to compile a frame, with what AOTAutograd and Inductor did in it.

    Times are in seconds and nested: dynamo_seconds contains aot_seconds, which contains inductor_seconds.
    """

    place: Place
    compiled: bool
    operations: int
    failure: str
    failure_type: str
    failure_place: Place | None
    recompile_guard: str
    dynamo_seconds: float
    aot_seconds: float
    inductor_seconds: float
    autotune_seconds: float
    skip_reason: str


@dataclass
class Graph:
    """One graph that Inductor compiled or loaded from a cache."""

    devices: tuple[str, ...]
    mutated_inputs: int
    cuda_graphs_requested: bool
    cuda_graphs_kept: bool
    partitions: int
    skip_reason: str
    calls: int = 0


@dataclass
class Lowering:
    """What can stand against a CUDA graph in one FX graph, found before and after Inductor lowered it."""

    nodes: list[tuple[str, Place | None, str]] = field(default_factory=list)
    mutated: list[tuple[str, Place | None]] = field(default_factory=list)


class Observer:
    """Collects what torch.compile does between enter and exit; one at a time in a process.

    Entering clears Dynamo's counters and metrics, which are global to the process.
    """

    active: ClassVar[Observer | None] = None

    def __init__(self, kernels: bool = True, waits: bool = False) -> None:
        """With kernels=False, FX graphs are looked at and then run as they are: no kernel is compiled.

        With waits=True, the parts of torch that compile are observed from when something imports them, without which
        nothing can be compiled: where nothing does, their import of some seconds is saved.
        """
        self.kernels, self.waits = kernels, waits
        self.breaks: list[Break] = []
        self.graphs: list[Graph] = []
        self.lowerings: list[Lowering] = []
        self.skips: list[str] = []
        self.recordings = 0
        self.replays = 0
        self.calls = 0
        self.own_cuda_graphs = 0
        self._by_identity: dict[int, Graph] = {}
        self._skipped: BaseException | None = None
        self.attempts: list[Attempt] = []
        self._counters: dict[str, dict[str, int]] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Observer:
        if Observer.active is not None:
            raise RuntimeError("another observer is active in this process")
        with contextlib.ExitStack() as stack:
            try:
                self._install(stack)
            except (AttributeError, ImportError) as error:
                raise InternalsMoved(f"torch {torch.__version__}: {error}") from error
            self._stack = stack.pop_all()
        Observer.active = self
        OWN_CUDA_GRAPHS.append(self.on_own_cuda_graph)
        return self

    def __exit__(self, *exception: object) -> None:
        Observer.active = None
        OWN_CUDA_GRAPHS.remove(self.on_own_cuda_graph)
        self._counters = _counters()
        self._stack.close()

    def counter(self, group: str) -> dict[str, int]:
        """A group of Dynamo's counters: `inductor`, `aot_autograd`, `graph_break`, `unimplemented`, …"""
        counters = _counters() if self._counters is None else self._counters
        return counters.get(group, {})

    def on_own_cuda_graph(self, recorded: bool) -> None:
        """A CUDA graph of an engine's own ran, see `api.own_cuda_graph_ran`; recorded: only now it became one."""
        if recorded:
            self.own_cuda_graphs += 1
            self.recordings += 1
        else:
            self.calls += 1  # A first run calls the compiled graph itself.

    def _install(self, stack: contextlib.ExitStack) -> None:
        stack.enter_context(wrapped(torch.cuda.CUDAGraph, "replay", self._on_replay))
        for module, install in ((_DYNAMO, self._install_dynamo), (_INDUCTOR, self._install_inductor)):
            if self.waits and module not in sys.modules:
                stack.enter_context(after_import(module, self._later(install)))
            else:
                with uncollected():
                    install(stack)

    def _later(self, install: Callable[[contextlib.ExitStack], None]) -> Callable[[], None]:
        def installed() -> None:
            try:
                install(self._stack)
            except (AttributeError, ImportError) as error:
                raise InternalsMoved(f"torch {torch.__version__}: {error}") from error

        return installed

    def _install_dynamo(self, stack: contextlib.ExitStack) -> None:
        from torch._dynamo import convert_frame, exc, output_graph, utils
        from torch._dynamo.callback import CompilationCallbackHandler

        utils.counters.clear()
        utils.clear_compilation_metrics()
        stack.enter_context(wrapped(convert_frame, "_compile", self._on_attempt))
        stack.enter_context(wrapped(exc.SkipFrame, "__init__", self._on_skipped_frame))
        stack.enter_context(wrapped(output_graph.GraphCompileReason, "__post_init__", self._on_break))
        # Not a registered callback: torch.compiler.reset() drops those.
        stack.enter_context(wrapped(CompilationCallbackHandler, "install_callbacks", self._on_work))

    def _install_inductor(self, stack: contextlib.ExitStack) -> None:
        from torch._functorch import config as functorch_config
        from torch._inductor import compile_fx, cudagraph_trees, cudagraph_utils, output_code

        graph_class = output_code.CompiledFxGraph
        stack.enter_context(wrapped(graph_class, "__call__", self._on_call))
        stack.enter_context(wrapped(graph_class, "post_compile", self._on_post_compile))
        stack.enter_context(wrapped(compile_fx, "_compile_fx_inner", self._on_lowering))
        if not self.kernels:
            # What stands in for a compiled graph can't be kept in a cache, nor be looked up there.
            stack.enter_context(functorch_config.patch(enable_autograd_cache=False))
        for module in (cudagraph_utils, cudagraph_trees, output_code, compile_fx):
            if hasattr(module, "log_cudagraph_skip_and_bump_counter"):
                stack.enter_context(wrapped(module, "log_cudagraph_skip_and_bump_counter", self._on_skip))

    def _on_attempt(self, original: Callable[..., Any], code: CodeType, *rest: Any, **options: Any) -> Any:
        error = self._skipped = None
        try:
            return original(code, *rest, **options)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if error is None and self._skipped is not None and "graph break" in str(self._skipped):
                # Up to torch 2.9 a break in a loop skips the frame without a failure.
                error = self._skipped.__cause__ or self._skipped
            self._skipped = None
            self.attempts.append(_attempt(code, error))

    def _on_skipped_frame(self, original: Callable[..., Any], skip: Any, *arguments: Any) -> None:
        original(skip, *arguments)
        self._skipped = skip

    def _on_break(self, original: Callable[..., Any], reason: Any) -> None:
        original(reason)
        if reason.graph_break:
            self.breaks.append(Break(_user_place(reason.user_stack), str(reason.reason)))

    def _on_call(self, original: Callable[..., Any], graph: Any, inputs: Any) -> Any:
        self.calls += 1
        known = self._by_identity.get(id(graph))
        if known is not None:
            known.calls += 1
        return original(graph, inputs)

    def _on_post_compile(
        self, original: Callable[..., Any], graph: Any, inputs: Any, constants: Any, options: Any
    ) -> Any:
        from torch._inductor import config

        requested = bool(config.triton.cudagraphs)
        result = original(graph, inputs, constants, options)
        info = graph.cudagraph_info
        reasons = info.cudagraph_fail_reasons if info is not None else []
        seen = Graph(
            devices=tuple(sorted(graph.device_types)),
            mutated_inputs=len(graph.mutated_input_idxs),
            cuda_graphs_requested=requested,
            cuda_graphs_kept=requested and bool(options["cudagraphs"]),
            partitions=len(getattr(graph, "partition_maps", None) or ()),
            skip_reason=graph.disabled_cudagraphs_reason or ", ".join(reasons),
        )
        self.graphs.append(seen)
        self._by_identity[id(graph)] = seen
        return result

    def _on_lowering(self, original: Callable[..., Any], gm: Any, *inputs: Any, **options: Any) -> Any:
        from functorch.compile import make_boxed_func

        inputs_of_graph = gm.graph.find_nodes(op="placeholder")
        names = [node.name for node in inputs_of_graph]
        writes = [_write_to(node) for node in inputs_of_graph]
        lowering = Lowering(nodes=_unsafe_nodes(gm))
        if self.kernels:
            compiled = original(gm, *inputs, **options)
            mutated = set(getattr(compiled, "mutated_input_idxs", ()))
        else:
            compiled = make_boxed_func(gm.forward)
            mutated = {index for index, write in enumerate(writes) if write is not None}
        for index in sorted(mutated - set(options.get("static_input_idxs") or ())):
            lowering.mutated.append((names[index], _node_place(writes[index] or inputs_of_graph[index])))
        self.lowerings.append(lowering)
        return compiled

    def _on_replay(self, original: Callable[..., Any], graph: Any) -> Any:
        self.replays += 1
        return original(graph)

    def _on_skip(self, original: Callable[..., Any], message: str) -> Any:
        self.skips.append(message)
        return original(message)

    def _on_work(self, original: Callable[..., Any], handler: Any, trigger: Any, *rest: Any) -> Any:
        if trigger.name == "CUDAGRAPH_RECORDING":
            self.recordings += 1
        return original(handler, trigger, *rest)


def _counters() -> dict[str, dict[str, int]]:
    if _DYNAMO not in sys.modules:
        return {}
    from torch._dynamo.utils import counters

    return {group: dict(values) for group, values in counters.items()}


_OFF_SWITCHES = ("TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE")


def switched_off() -> str:
    """Why torch.compile can't do anything in this process, or an empty string."""
    # The one is read into config.disable, the other wherever something is compiled.
    if names := [name for name in _OFF_SWITCHES if os.environ.get(name) == "1"]:
        return f"torch.compile is switched off by {' and '.join(f'{name}=1' for name in names)}"
    if _DYNAMO not in sys.modules:
        return ""
    from torch._dynamo import config, eval_frame

    if config.disable:
        return "torch.compile is switched off by code: torch._dynamo.config.disable is set"
    stance = eval_frame._stance.stance
    return "" if stance not in ("force_eager",) else f"the stance of torch.compile is {stance}"


def is_torch_file(file: str) -> bool:
    """Whether a file belongs to torch itself."""
    return file.startswith(_TORCH_FOLDER)


def _attempt(code: CodeType, error: BaseException | None) -> Attempt:
    """The attempt that has just ended: Dynamo's metrics of it, and the error that gave it up."""
    from torch._dynamo.utils import CompilationMetrics, clear_compilation_metrics, get_compilation_metrics

    # Work at run time (recording of CUDA graphs, tuning) leaves entries of its own between attempts.
    entries = [one for one in get_compilation_metrics() if not one.is_runtime]
    one = entries[-1] if entries else CompilationMetrics()
    clear_compilation_metrics()
    stack = getattr(error, "real_stack", None)
    return Attempt(
        place=Place(code.co_filename, code.co_firstlineno, code.co_name),
        compiled=bool(one.has_guarded_code),
        operations=one.graph_op_count or 0,
        failure=(one.fail_reason or str(error)) if error is not None else "",
        failure_type=type(error).__name__ if error is not None else "",
        failure_place=_user_place(stack) if stack else None,
        recompile_guard=one.recompile_reason or "",
        dynamo_seconds=(one.dynamo_cumulative_compile_time_us or 0) / 1e6,
        aot_seconds=(one.aot_autograd_cumulative_compile_time_us or 0) / 1e6,
        inductor_seconds=(one.inductor_cumulative_compile_time_us or 0) / 1e6,
        autotune_seconds=(one.compile_time_autotune_time_us or 0) / 1e6,
        skip_reason=one.cudagraph_skip_reason or "",
    )


def _user_place(stack: Any) -> Place:
    """The innermost frame that is not torch's own; the innermost one where all are."""
    frames = list(stack)
    outside = [one for one in frames if not is_torch_file(one.filename)]
    last = (outside or frames or [traceback.FrameSummary("", 0, "")])[-1]
    return Place(last.filename, last.lineno or 0, last.name)


# A line of the stack that torch keeps of an FX node: file, line, function, and the code behind a further comma.
_FRAME = re.compile(r'^\s*File "(.*?)", line (\d*)(?:[^\n]*?, in ([^,\n]*))?', re.MULTILINE)


def _node_place(node: Any) -> Place | None:
    """The user's line that an FX node comes from."""
    found = _FRAME.findall(getattr(node, "stack_trace", None) or "")
    frames = [traceback.FrameSummary(file, int(line or 0), function) for file, line, function in found]
    return _user_place(frames) if frames else None


def _write_to(placeholder: Any) -> Any | None:
    """The node that writes to an input: AOTAutograd leaves a copy_ for each input that the user's code mutates."""
    for user in placeholder.users:
        schema = getattr(user.target, "_schema", None)
        if schema is None:
            continue
        for argument, value in zip(schema.arguments, user.args, strict=False):
            if value is placeholder and argument.alias_info is not None and argument.alias_info.is_write:
                return user
    return None


def _unsafe_nodes(gm: Any) -> list[tuple[str, Place | None, str]]:
    """(operation, user's line, reason) of every node that Inductor would not put into a CUDA graph.

    Inductor's own rule names the first such node of a graph; it is asked about one node at a time.
    """
    from torch._inductor.utils import get_first_incompatible_cudagraph_node
    from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

    found = []
    for node in gm.graph.nodes:
        alone: Any = SimpleNamespace(graph=SimpleNamespace(nodes=[node]))
        try:
            if get_first_incompatible_cudagraph_node(alone) is None:
                continue
            value = node.meta.get("val")
            by_data = value is not None and bool(free_unbacked_symbols(value))
        except (AssertionError, TypeError):  # the value of a Triton kernel's node is a dict, which has no symbols
            continue
        by_data = by_data and "_local_scalar" not in str(node.target)
        reason = "depends on a value that only the device knows" if by_data else "can't be part of a CUDA graph"
        found.append((str(node.target), _node_place(node), reason))
    return found
