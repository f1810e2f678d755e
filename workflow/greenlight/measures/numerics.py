"""Teacher-forced numerics: a variant and the float32 reference, each against the float64 reference.

The judgement is that of PyTorch's own benchmarks (benchmarks/dynamo/common.py): how far is the variant from
float64, next to how far eager float32 is. Here only the figures are made; the limits are the gate's rules.
Integers are compared exactly, a value that is not finite in any of the three is never taken for agreement,
and a quantity that is missing or has another shape is an entry of its own, not a silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Quantities = Mapping[str, np.ndarray]
FIGURES = ("error_variant", "error_reference", "scale", "max_abs", "max_abs_reference")
BEYOND = ", context beyond its longest"
"""Ends the name of a quantity that was compared with more rows than the model attends to."""


def other_sizes(planned: Iterable[int]) -> list[int]:
    """Windows in a call that nobody plans for, in which a variant must compute the same: one, three, one too many."""
    planned = set(planned)
    return sorted({1, 3, max(planned) + 1} - planned)


def compare(
    variant: Quantities,
    reference32: Quantities,
    reference64: Quantities,
    *,
    windows: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> list[dict[str, Any]]:
    """Compare the probe arrays of a variant, quantity by quantity.

    Args:
        variant, reference32, reference64: by name, arrays [windows, steps, ...]; step 0 is the prefill, later
            steps are cached decode steps. The reference's are those of its eager mode in float32 and float64.
        windows: keys of the windows (GOOG/2), to name the worst; their numbers without it.
        batch_size: windows in one call, where it is told apart.

    Returns:
        One entry a quantity, of every name that any of the three has:
        quantity, kind ("float" or "exact"), windows, steps, elements, batch_size; finite: all three are;
        problem: why nothing could be compared, or "";
        error_variant, error_reference: RMS difference from float64; scale: RMS of the float64 values;
        max_abs, max_abs_reference: largest difference from float64;
        mismatches: integers that differ from the float32 reference's;
        worst: {"window", "step", "value", "expected"} at the largest difference, or the first value that is
        not finite. Figures that can't be had are NaN.
    """
    names = list(dict.fromkeys([*reference64, *reference32, *variant]))
    entries = []
    for name in names:
        arrays = [source.get(name) for source in (variant, reference32, reference64)]
        entry = _compare_one(arrays, windows)
        entries.append({"quantity": name, "batch_size": batch_size, **entry})
    return entries


def _empty_entry(problem: str) -> dict[str, Any]:
    figures = dict.fromkeys(FIGURES, float("nan"))
    counts = dict.fromkeys(("windows", "steps", "elements", "mismatches"), 0)
    return {"kind": "float", **counts, "finite": False, "problem": problem, **figures, "worst": None}


def _compare_one(arrays: list[np.ndarray | None], windows: Sequence[str] | None) -> dict[str, Any]:
    absent = [
        text for text, array in zip(("variant", "reference", "float64 reference"), arrays, strict=True) if array is None
    ]
    if absent:
        return _empty_entry(f"the {' and the '.join(absent)} lack this quantity")
    value, reference, exact = (np.asarray(array) for array in arrays)
    if not value.shape == reference.shape == exact.shape:
        return _empty_entry(f"shapes differ: {value.shape}, {reference.shape}, {exact.shape} in float64")
    if value.ndim < 2 or value.size == 0:
        return _empty_entry(f"shape {value.shape} is not [windows, steps, ...] with something in it")
    integer = [array.dtype.kind in "iub" for array in (value, reference, exact)]
    if any(integer) and not all(integer):
        return _empty_entry(f"kinds differ: {value.dtype}, {reference.dtype}, {exact.dtype} in float64")
    entry = _empty_entry("")
    entry.update(windows=value.shape[0], steps=value.shape[1], elements=value.size)
    compared = _exact(value, reference) if all(integer) else _float(value, reference, exact)
    entry.update({key: item for key, item in compared.items() if key not in ("flat", "target")})
    if compared["flat"] is not None:
        entry["worst"] = _place(value, compared["target"], compared["flat"], windows)
    return entry


def _exact(value: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    differs = value != reference
    count = int(differs.sum())
    figures = dict.fromkeys(FIGURES, 0.0)
    place = int(np.argmax(differs)) if count else None
    return {
        "kind": "exact",
        "finite": True,
        "mismatches": count,
        "flat": place,
        "target": reference,
        **figures,
    }


def _float(value: np.ndarray, reference: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    value, reference, exact = (array.astype(np.float64) for array in (value, reference, exact))
    broken = ~(np.isfinite(value) & np.isfinite(reference) & np.isfinite(exact))
    if broken.any():
        return {"finite": False, "flat": int(np.argmax(broken)), "target": exact}
    difference, own = np.abs(value - exact), np.abs(reference - exact)
    return {
        "finite": True,
        "error_variant": _rms(difference),
        "error_reference": _rms(own),
        "scale": _rms(exact),
        "max_abs": float(difference.max()),
        "max_abs_reference": float(own.max()),
        "flat": int(np.argmax(difference)),
        "target": exact,
    }


def _rms(values: np.ndarray) -> float:
    """Root mean square, scaled by the largest value so that nothing overflows or underflows."""
    top = float(np.abs(values).max())
    return top * float(np.sqrt(np.mean(np.square(values / top)))) if top > 0 else 0.0


def _place(value: np.ndarray, target: np.ndarray, flat: int, windows: Sequence[str] | None) -> dict[str, Any]:
    index = np.unravel_index(flat, value.shape)
    window = int(index[0])
    return {
        "window": windows[window] if windows is not None else window,
        "step": int(index[1]),
        "value": float(value[index]),
        "expected": float(target[index]),
    }
