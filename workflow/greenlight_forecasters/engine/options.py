"""What a static engine passes to torch.compile for a mode, and what else it changes, in words for a record."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from greenlight_forecasters.engine.kernels import compile_together, known_instruction_sets
from greenlight_forecasters.engine.native import library

# How the pattern search is switched off, and the precompiled header.
_NO_PATTERNS = {"pattern_matcher": False}
_NO_HEADER = {"cpp_cache_precompile_headers": False}


def few_graphs(mode: str, device: str) -> dict[str, Any]:
    """Keyword arguments of torch.compile for a mode and one method of an object that never changes once it is made.

    On a CPU they are the options of the mode, and three that leave what is computed as it is. Two are about how
    long the C++ compiler works: no precompiled header, because the kernels of a graph are compiled together
    (`compile_together`, which this calls), and no test programs for each instruction set that torch itself runs with.
    Inductor's search for patterns in the graph is left out, which takes a tenth of the compilation: what it would join
    is written joined. On other devices it is the mode.
    """
    if device != "cpu" and not device.startswith("cpu:"):
        return {"mode": mode}
    options = torch._inductor.list_mode_options(mode, False) | known_instruction_sets() | _NO_PATTERNS
    if compile_together():
        options |= _NO_HEADER
    return {"options": options}


def isolation() -> dict[str, bool]:
    """Keyword arguments of torch.compile by which recompiles under one wrapper leave another's limit alone.

    Empty where this torch does not know them (2.11): there all wrappers of the same code share one limit of 8.
    """
    known = "isolate_recompiles" in inspect.signature(torch.compile).parameters
    return {"isolate_recompiles": True} if known else {}


def without_cuda_graphs(mode: str) -> str | None:
    """The mode of torch.compile that compiles the same kernels and records no CUDA graphs; None where this one is it.

    Read in `torch._inductor.list_mode_options` of torch 2.11 and 2.13.
    """
    return {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}.get(mode)


def changes(mode: str | None, device: str) -> dict[str, str]:
    """What a static engine does otherwise than torch.compile in this mode by itself, and in eager mode.

    Args:
        mode: one of torch.compile's; None or `eager` where nothing is compiled.
        device: a torch device, such as `cpu` or `cuda:0`.

    Returns:
        A sentence for each change by a short name; only what is in force on this machine.
    """
    found = {}
    compiled = mode not in (None, "eager")
    if device.startswith("cuda"):
        if compiled and without_cuda_graphs(str(mode)) is not None:
            found["own-cuda-graphs"] = (
                f"kernels are compiled in mode {without_cuda_graphs(str(mode))}, and the engine records its own CUDA "
                "graphs of calls on fixed buffers in place of torch.compile's; a replay checks no guards"
            )
        return found
    if library() is not None:
        found["native-products"] = (
            "products over packed weights, and causal attention, in float32 by C++ of the engine's own (engine/native)"
        )
    if compiled:
        found["pattern-matcher-off"] = f"Inductor option {_said(_NO_PATTERNS)}: no search for patterns to join"
        if compile_together():
            found["kernels-compiled-together"] = (
                "the C++ kernels of a graph are one file: torch._inductor's AsyncCompile.cpp_pybinding and wait are "
                f"replaced in the process (engine/kernels), with Inductor option {_said(_NO_HEADER)}"
            )
        if trusted := known_instruction_sets():
            found["instruction-sets-trusted"] = (
                "Inductor uses the instruction sets that torch itself runs with, untested: VecISA.check_build is "
                f"replaced in the process (engine/kernels), with Inductor option {_said(trusted)}"
            )
    return found


def _said(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
