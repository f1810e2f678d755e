"""CUDA-graph readiness without a GPU: what would split or forbid a CUDA graph, found in graphs compiled on a CPU.

Inductor's own rules are applied to the graphs it compiles: a node that can't be recorded splits the graph (with
graph partition, the default from torch 2.10) or forbids it (before); a mutated input that is neither parameter,
buffer nor marked by `torch._dynamo.mark_static_address` forbids it. A value that is taken to the host (`.item()`,
`if tensor:`) breaks Dynamo's graph there and stops the device, so it is listed as well.

What a CPU can't tell: operations on tensors that would stay on the CPU while the model is on a GPU.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from greenlight.watch.health import eager_frames, graph_breaks
from greenlight.watch.observer import Observer, Place

# Graph breaks at which a value goes from the device to the host, as Dynamo words them.
_HOST_VALUE = re.compile(
    r"\.item\(\)|_local_scalar_dense|\.tolist\(\)|data[- ]dependent|dynamic shape operator|nonzero", re.IGNORECASE
)
# What such a value is in ATen, and what Inductor would meet if Dynamo did not break the graph.
_SCALAR = "aten._local_scalar_dense"


class Node(BaseModel):
    """An operation that can't be part of a CUDA graph, and the user's line it comes from."""

    operation: str
    file: str
    line: int
    reason: str


class MutatedInput(BaseModel):
    """An input that the graph writes to and whose address may change from call to call."""

    name: str
    file: str
    line: int


class ReadinessRecord(BaseModel):
    """`ready` is None where nothing was compiled, or a graph came from a cache and could not be looked at.

    `note` says why `ready` is None, or which frames run eagerly: what runs so is in no CUDA graph.
    """

    ready: bool | None
    graphs: int
    nodes: list[Node]
    mutated_inputs: list[MutatedInput]
    note: str


class ReadinessRecorder:
    """Looks at each graph that is compiled within a `with` block; also together with a `HealthRecorder`.

        with ReadinessRecorder() as recorder:
            warm_up()
        readiness = recorder.record()

    Compile cold: graphs from the AOTAutograd cache are not seen.

    Args:
        kernels: False to judge the FX graphs and run them as they are, which takes a fraction of the time. Mutated
            inputs are then those that the FX graph writes to; with kernels, those that Inductor names.
    """

    def __init__(self, kernels: bool = True) -> None:
        active = Observer.active
        self._observer = active or Observer(kernels)
        self._own = self._observer if active is None else None
        self._kernels = kernels
        self._begin = (0, 0)

    def __enter__(self) -> ReadinessRecorder:
        if self._own is not None:
            self._own.__enter__()
        self._begin = (len(self._observer.lowerings), len(self._observer.graphs))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._own is not None:
            self._own.__exit__(*exception)

    def record(self) -> dict[str, Any]:
        """The readiness record as a plain dict, see `ReadinessRecord`."""
        lowerings = self._observer.lowerings[self._begin[0] :]
        loaded = len(self._observer.graphs) - self._begin[1] - len(lowerings)
        nodes = [_node(operation, place, reason) for one in lowerings for operation, place, reason in one.nodes]
        nodes += [
            Node(operation=_SCALAR, file=one.file, line=one.line, reason=f"graph break: {one.reason}")
            for one in graph_breaks(self._observer)
            if _HOST_VALUE.search(one.reason)
        ]
        mutated = [_mutated(name, place) for one in lowerings for name, place in one.mutated]
        eager = eager_frames(self._observer.attempts)
        note = "; ".join(f"{one.function} at {one.file}:{one.line} runs eagerly: {one.reason}" for one in eager)
        if loaded > 0:
            note = f"{loaded} of {loaded + len(lowerings)} graphs came from a cache and were not looked at: "
            # A program with two equal graphs loads the second also when it began with an empty cache.
            note += "each equals one that was compiled before, here or in an earlier run"
        elif not lowerings:
            note = "no graph was compiled"
        record = ReadinessRecord(
            ready=False if nodes or mutated or eager else (None if note else True),
            graphs=len(lowerings),
            nodes=_distinct(nodes),
            mutated_inputs=_distinct(mutated),
            note=note,
        )
        return record.model_dump()


def _node(operation: str, place: Place | None, reason: str) -> Node:
    place = place or Place("", 0, "")
    return Node(operation=operation, file=place.file, line=place.line, reason=reason)


def _mutated(name: str, place: Place | None) -> MutatedInput:
    place = place or Place("", 0, "")
    return MutatedInput(name=name, file=place.file, line=place.line)


def _distinct(found: list[Any]) -> list[Any]:
    """Each once, in order: a graph that was compiled for several shapes has the same findings."""
    return list({one.model_dump_json(): one for one in found}.values())
