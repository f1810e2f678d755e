"""Calls on fixed buffers: compiled, and on a GPU recorded as CUDA graphs of their own.

torch.compile records CUDA graphs too (cudagraph trees), for code that is passed tensors and returns them: before a
replay it checks guards, collects the inputs, weights and buffers among them, and compares their addresses. For a few
hundred tensors that takes as long as a small model's forward pass, and longer where other code ran in between
(docs/gpu.md); and only the thread that recorded may replay. A call that is passed nothing and returns nothing needs
none of it: here its replay is one launch. That its weights are what they were is checked by `calls.CallGuard`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from greenlight.api import own_cuda_graph_ran
from greenlight_forecasters.engine.options import few_graphs, isolation, without_cuda_graphs

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
        # Recompiles of the same code for other shapes do not count against this one's limit.
        options = few_graphs(self._mode, self._device) | isolation()
        compiled = torch.compile(call, fullgraph=True, dynamic=False, **options)
        return compiled if self._pool is None else Recorded(compiled, self._pool)


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
        own_cuda_graph_ran(recorded)

    def _recording(self) -> torch.cuda.CUDAGraph:
        """The call's work on the device; recording does none of it."""
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as one that reads memory, may go on meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            self._call()
        return graph
