"""How an engine that records CUDA graphs itself tells the gate's observer that one ran."""

from __future__ import annotations

from collections.abc import Callable

OWN_CUDA_GRAPHS: list[Callable[[bool], None]] = []
"""Who is told that a CUDA graph of an engine's own ran; the gate's observer adds itself while it observes."""


def own_cuda_graph_ran(recorded: bool) -> None:
    """For engines that record CUDA graphs themselves: call it after each run of such a call.

    torch.compile's own graphs are seen without it. Without it a replay looks as if nothing compiled had run.

    Args:
        recorded: whether this run ran the call itself and recorded it; False for a replay.
    """
    for listener in OWN_CUDA_GRAPHS:
        listener(recorded)
