"""torch.compile's modes: what is passed, and what they truly do on a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
