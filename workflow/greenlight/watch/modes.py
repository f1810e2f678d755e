"""torch.compile's modes: what is passed, and what they truly do on a device."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any


def compile_arguments(mode: str, device: str = "cpu") -> dict[str, Any]:
    """Keyword arguments of torch.compile for a mode: Inductor, and the mode by its own name on every device.

    The mode is passed even where `same_as` names another one: what runs is what would be deployed.
    ValueError for `eager`, which is not compiled.
    """
    if mode == "eager":
        raise ValueError(f"mode eager is not compiled (device {device})")
    return {"backend": "inductor", "mode": mode}


def isolation() -> dict[str, bool]:
    """Keyword arguments of torch.compile by which recompiles under one wrapper leave another's limit alone.

    Empty where this torch does not know them (2.11): there all wrappers of the same code share one limit of 8.
    """
    import torch  # here, because planning uses this module, and torch would double the time of a run with nothing to do

    known = "isolate_recompiles" in inspect.signature(torch.compile).parameters
    return {"isolate_recompiles": True} if known else {}


def few_graphs(mode: str, device: str) -> dict[str, Any]:
    """Keyword arguments of torch.compile for a mode and one method of an object that never changes once it is made.

    On a CPU they are the options of the mode, and four that leave what is computed as it is. Two are about how
    long the C++ compiler works: no precompiled header, because the kernels of a graph are compiled together
    (`compile_together`, which this calls), and no test programs for each instruction set that torch itself runs with.
    Inductor's search for patterns in the graph is left out, which takes a tenth of the compilation: what it would join
    is written joined. And so are the guards on the object, its modules and tensors: for a few hundred tensors they take
    as long as a kernel, at every call. On other devices it is the mode.
    """
    if device != "cpu" and not device.startswith("cpu:"):
        return {"mode": mode}
    import torch

    from greenlight_forecasters.engine.kernels import compile_together, known_instruction_sets

    options = torch._inductor.list_mode_options(mode, False) | known_instruction_sets() | {"pattern_matcher": False}
    if compile_together():
        options["cpp_cache_precompile_headers"] = False
    if isolation():  # else what is compiled for one object could be taken for another of its class
        options["guard_filter_fn"] = _not_on_self
    return {"options": options}


def _not_on_self(guards: Sequence[Any]) -> list[bool]:
    """Which guards are kept: those on the state of torch, on globals and arguments."""
    return [not guard.name.startswith("L['self']") for guard in guards]


def without_cuda_graphs(mode: str) -> str | None:
    """The mode of torch.compile that compiles the same kernels and records no CUDA graphs; None where this one is it.

    Read in `torch._inductor.list_mode_options` of torch 2.11 and 2.13.
    """
    return {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}.get(mode)


def same_as(mode: str, device: str, autotuning: Mapping[str, Any] | None = None) -> str | None:
    """The mode that this one is identical to on this device, with the reason: `default: it only adds …`.

    None where it differs, or where only a run can tell. Read in `torch._inductor.list_mode_options` of torch
    2.13: reduce-overhead only adds CUDA graphs; max-autotune adds CUDA graphs, tuning of matrix products and
    convolutions, and coordinate descent tuning of Triton kernels.

    Args:
        mode: a mode of torch.compile, or eager.
        device: a torch device, such as `cpu` or `cuda:0`.
        autotuning: the `autotuning` part of a health record of this mode on this device; with it,
            max-autotune that tuned nothing is told.
    """
    if device.startswith("cuda"):
        return None
    if mode == "reduce-overhead":
        return f"default: it only adds CUDA graphs, and the device is {device}"
    if mode == "max-autotune" and autotuning is not None and autotuning["engaged"] is False:
        return f"default: nothing in these graphs could be tuned on {device}, and there are no CUDA graphs"
    return None


def precision_on(precision: str, device: str) -> str:
    """The precision that a variant truly computes in on a device: only CUDA devices round factors to TF32."""
    return "float32" if precision == "tf32" and not device.startswith("cuda") else precision


def describe(mode: str, device: str) -> str:
    """One sentence on what a mode does on a device.

    Measured on a CPU with torch 2.13: under max-autotune a batched product of two computed float32 tensors is
    timed as C++ template against the library (counter `select_algorithm_autotune`), a Linear is not, unless
    `torch._inductor.config.freezing` makes its weight a constant.
    """
    cuda = device.startswith("cuda")
    return {
        "eager": "No compilation.",
        "default": "Compiled by Inductor, without CUDA graphs.",
        "reduce-overhead": "Compiled by Inductor; "
        + ("CUDA graphs replay the launches." if cuda else "as default, for CUDA graphs need a CUDA device."),
        "max-autotune": "Compiled by Inductor; "
        + (
            "kernels are chosen by timing them, and CUDA graphs replay the launches."
            if cuda
            else "batched matrix products are chosen by timing; linear layers are not, unless frozen."
        ),
    }[mode]
