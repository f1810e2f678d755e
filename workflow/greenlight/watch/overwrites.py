"""Outputs that get overwritten: is what a call returned still the same after later calls?

With CUDA graphs all recordings share one memory pool, and an output that was kept from call 1 may hold the values
of call 3: torch raises while it warms up and records, in steady replay it does not (pytorch#122192). The same
fault comes from any static buffer that is returned without a copy, so the check is for any device and callable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

_ROUNDS = 2  # the first while warming up and recording, the second in steady state
_LATER_CALLS = 3
_TORCH_MESSAGE = "accessing tensor output of CUDAGraphs that has been overwritten"


def check_overwrites(call: Callable[[Any], Any], inputs: Sequence[Any]) -> dict[str, Any]:
    """Keep an output, run other inputs, compare bit for bit; then A, A, B, A must give A each time.

    Args:
        call: gives the same output for the same input; returns tensors or arrays, alone or in tuples, lists and
            dicts.
        inputs: at least two inputs with different outputs; the first is A, the second B.

    Returns:
        {"passed": True, False, or None where the inputs can't tell (all outputs are the same),
        "kept_output_unchanged", "same_input_same_output": bool, "conclusive": bool,
        "calls": int, "difference": where and how many elements, or "", "message": one line}

    Raises:
        ValueError: fewer than two inputs, or no tensor or array in the output.
    """
    if len(inputs) < 2:
        raise ValueError(f"two different inputs are needed, {len(inputs)} given")
    differences: list[str] = []
    conclusive = False
    for turn in range(_ROUNDS):
        places = range(turn * _LATER_CALLS, (turn + 1) * _LATER_CALLS)
        others = [inputs[1 + place % (len(inputs) - 1)] for place in places]
        kept = call(inputs[0])
        before = _copies(kept)
        for other in others:
            # A copy at once: an output that is overwritten later must not make the check inconclusive.
            conclusive = bool(_difference(before, _copies(call(other)))) or conclusive
        differences.append(_difference_of_kept(before, kept))
    # A, A, B, A: state that leaks from the call before shows as well.
    first, second = (_copies(call(inputs[0])) for _ in range(2))
    call(inputs[1])
    again = _copies(call(inputs[0]))
    repeated = _difference(first, again) or _difference(second, again)
    kept_unchanged = not any(differences)
    difference = next((one for one in differences if one), repeated)
    passed = kept_unchanged and not repeated
    return {
        "passed": None if passed and not conclusive else passed,
        "kept_output_unchanged": kept_unchanged,
        "same_input_same_output": not repeated,
        "conclusive": conclusive,
        "calls": _ROUNDS * (1 + _LATER_CALLS) + 4,
        "difference": difference,
        "message": _message(kept_unchanged, not repeated, conclusive, difference),
    }


def _message(kept: bool, same: bool, conclusive: bool, difference: str) -> str:
    if not kept:
        return f"a kept output was overwritten by a later call: {difference}"
    if not same:
        return f"the same input gave another output after another input had run: {difference}"
    if not conclusive:
        return "all inputs give the same output, so that an overwritten output could not be seen"
    return "kept outputs stay as they were, and the same input gives the same output"


def _difference_of_kept(before: dict[str, np.ndarray], kept: Any) -> str:
    try:
        return _difference(before, _copies(kept))
    except RuntimeError as error:
        if _TORCH_MESSAGE in str(error):
            return str(error).splitlines()[0]
        raise


def _copies(output: Any) -> dict[str, np.ndarray]:
    """Every tensor and array of an output by its path, as bytes on the host: a copy that nothing can overwrite."""
    found = {path: _bytes(leaf) for path, leaf in _leaves(output, "output")}
    if not found:
        raise ValueError(f"the output holds no tensor or array: {type(output).__name__}")
    return found


def _leaves(value: Any, path: str) -> Iterator[tuple[str, torch.Tensor | np.ndarray]]:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}[{key!r}]")
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")


def _bytes(leaf: torch.Tensor | np.ndarray) -> np.ndarray:
    """[elements, bytes an element] uint8: bits are compared, so that NaN equals itself and -0 is not 0."""
    if isinstance(leaf, np.ndarray):
        array = np.ascontiguousarray(leaf)
        return np.frombuffer(array.tobytes(), np.uint8).reshape(array.size, array.itemsize)
    flat = leaf.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.view(torch.uint8).cpu().numpy().reshape(flat.numel(), flat.element_size())


def _difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> str:
    """The first place where two outputs differ, in words; empty where they are the same to the bit."""
    if one.keys() != other.keys():
        return f"the outputs are built differently: {sorted(one)} and {sorted(other)}"
    for path, left in one.items():
        right = other[path]
        if left.shape != right.shape:
            return f"{path}: {left.shape[0]} elements and {right.shape[0]}"
        changed = int((left != right).any(axis=1).sum())
        if changed:
            return f"{path}: {changed} of {left.shape[0]} elements differ"
    return ""
