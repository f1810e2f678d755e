"""Calls on fixed buffers: compiled, on a GPU recorded as CUDA graphs of their own, on a CPU without checks.

torch.compile records CUDA graphs too (cudagraph trees), for code that is passed tensors and returns them: before a
replay it checks guards, collects the inputs, weights and buffers among them, and compares their addresses. For a few
hundred tensors that takes as long as a small model's forward pass, and longer where other code ran in between
(docs/gpu.md). A call that is passed nothing and returns nothing needs none of it: here its replay is one launch.

On a CPU torch.compile's checks and the collecting take a tenth of a small model's forward pass. Here the inputs are
kept from the first run, and a later one is a call of what Inductor made.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch

from greenlight.watch.modes import few_graphs, isolation, without_cuda_graphs
from greenlight.watch.observer import Observer

Call = Callable[[], None]


class CallCompiler:
    """Compiles calls in one of torch.compile's modes; their CUDA graphs share one pool of memory.

    A call has no arguments and no result. All that it reads or writes beside what it makes itself must stay at its
    address, and nothing that its Python code depends on may change. Calls of one compiler run one after the other.
    """

    def __init__(self, mode: str, device: torch.device) -> None:
        self._pool = None
        if device.type == "cuda" and (kernels_only := without_cuda_graphs(mode)) is not None:
            mode = kernels_only
            self._pool = torch.cuda.graph_pool_handle()
        self._mode, self._device = mode, device.type

    def compile(self, call: Call) -> Call:
        """The call as one compiled graph of fixed shapes, recorded at its first run where the mode has CUDA graphs."""
        compiled = compile_call(call, self._mode, self._device)
        return compiled if self._pool is None else Recorded(compiled, self._pool)


def compile_call(call: Callable[[], Any], mode: str, device: str) -> Callable[[], Any]:
    """A call without arguments as one compiled graph of fixed shapes, on a CPU without checks after its first run.

    Args:
        call: what it reads and writes stays at its address, and nothing that its Python code depends on changes. It
            returns nothing or a tuple of tensors.
        mode: one of torch.compile's.
        device: the type of the device.
    """
    # Recompiles of the same code for other shapes do not count against this one's limit.
    compiled = torch.compile(call, fullgraph=True, dynamic=False, **few_graphs(mode, device), **isolation())
    return Bound(compiled) if device == "cpu" else compiled


# New Python objects between two looks for garbage while a program compiles.
_OBJECTS_BETWEEN_COLLECTIONS = 200_000


class Bound:
    """A compiled call on a CPU: its first run is torch.compile's, later ones go straight to its graph.

    Where the first run is anything but one graph that gives what the call gives, all runs are torch.compile's.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call, self._noted = call, False
        self._graph: Callable[[list[Any]], Sequence[Any]] | None = None
        self._inputs: list[Any] = []

    def __call__(self) -> Any:
        """Run."""
        if self._graph is None:
            return self._call() if self._noted else self._first()
        return tuple(self._graph(list(self._inputs))) or None

    def _first(self) -> Any:
        """The first run, of which the graph and its inputs are noted."""
        from torch._inductor.output_code import CompiledFxGraph

        runs = []

        def note(graph: Any, inputs: Sequence[Any]) -> Sequence[Any]:
            kept = list(inputs)  # the graph empties the list that it is passed
            runs.append((graph, kept, own(graph, inputs)))
            return runs[-1][2]

        own, CompiledFxGraph.__call__ = CompiledFxGraph.__call__, note
        # The compiler keeps almost all that it makes: looking for garbage as often as usual took 8% of its time.
        usual = gc.get_threshold()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *usual[1:])
        try:
            result = self._call()
        finally:
            CompiledFxGraph.__call__ = own
            gc.set_threshold(*usual)
            gc.collect()
        self._noted = True
        if len(runs) == 1:
            graph, inputs, outputs = runs[0]
            given = () if result is None else result
            # More outputs would be what torch.compile has still to write to an input.
            if isinstance(given, tuple) and [id(one) for one in given] == [id(one) for one in outputs]:
                self._graph, self._inputs = graph, inputs
        return result


class Recorded:
    """A call as a CUDA graph: its first run is a run, and is then recorded; every later one is a replay.

    Errors of a recording are raised: nothing falls back to launching kernel by kernel.
    """

    def __init__(self, call: Call, pool: tuple[int, int]) -> None:
        self._call, self._pool = call, pool
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Run, on the current stream."""
        recorded = self._graph is None
        if recorded:
            self._call()
            self._graph = self._recording()
        else:
            self._graph.replay()
        if Observer.active is not None:
            Observer.active.on_own_cuda_graph(recorded)

    def _recording(self) -> torch.cuda.CUDAGraph:
        """The call's work on the device; recording does none of it."""
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as one that reads memory, may go on meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            self._call()
        return graph
