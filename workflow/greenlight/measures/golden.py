"""Golden forecasts: what a shipped checkpoint gave for a few stored windows, kept beside its weights.

Everything that a run compares shares code: a mistake in shared code moves the reference and the float64 truth as it
moves the variant. These forecasts were made once (`tools/golden.py`) and are in git, so they do not move.
Teacher-forced values stand beside the sample paths: an hour of another clock moves them all, and few paths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.data.windows import Window
from greenlight.errors import UserError

ELEMENTS = 32
"""Of a quantity with more elements a window and step, such as logits, so many are kept."""


@dataclass(frozen=True)
class Golden:
    """Stored forecasts.

    Attributes:
        windows: what was forecast.
        samples, seed, settings: with which settings of the model.
        paths: by implementation, [windows, samples, horizon] float64, on a CPU in float32.
        numerics: by implementation and quantity, what `thinned` keeps of a probe, [windows, steps, elements].
    """

    windows: list[Window]
    samples: int
    seed: int
    settings: dict[str, Any]
    paths: Mapping[str, np.ndarray]
    numerics: Mapping[str, Mapping[str, np.ndarray]]


def write_golden(path: Path, golden: Golden) -> None:
    """Write golden forecasts as safetensors."""
    from safetensors.numpy import save_file

    windows = golden.windows
    tensors = {
        "context": np.stack([window.context for window in windows]),
        "future": np.stack([window.future for window in windows]),
        "timestamps": np.stack([_nanoseconds(window.timestamps) for window in windows]),
        "calendar": np.stack([_nanoseconds(window.calendar) for window in windows]),
        "amount": np.stack([_unknown(window) if window.amount is None else window.amount for window in windows]),
        **{f"paths/{name}": paths for name, paths in golden.paths.items()},
        **{f"probe/{name}/{what}": v for name, own in golden.numerics.items() for what, v in own.items()},
    }
    # safetensors writes the memory as it lies.
    tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    about = {"symbols": [w.symbol for w in windows], "indices": [w.index for w in windows]}
    about |= {"samples": golden.samples, "seed": golden.seed, "settings": golden.settings}
    save_file(tensors, path, metadata={"golden": json.dumps(about, sort_keys=True)})


def read_golden(path: Path) -> Golden:
    """Read golden forecasts; UserError where the file is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["golden"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        times, calendar = (tensors[name].astype("datetime64[ns]") for name in ("timestamps", "calendar"))
        arrays = (tensors["context"], tensors["future"], times, calendar, tensors["amount"])
        parts = zip(about["symbols"], about["indices"], *arrays, strict=True)
        paths = {name.removeprefix("paths/"): values for name, values in tensors.items() if name.startswith("paths/")}
        windows = [Window(*part) for part in parts]
        numerics = {name: _stored_numerics(tensors, name) for name in paths}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not readable as golden forecasts ({error}); restore it from git, or make it anew with "
            "python -m tools.golden"
        ) from error
    return Golden(windows, about["samples"], about["seed"], about["settings"], paths, numerics)


def _stored_numerics(tensors: Mapping[str, np.ndarray], implementation: str) -> dict[str, np.ndarray]:
    start = f"probe/{implementation}/"
    found = {name.removeprefix(start): values for name, values in tensors.items() if name.startswith(start)}
    if not found:
        raise ValueError(f"no teacher-forced values of {implementation}")
    return found


def _nanoseconds(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[ns]").astype(np.int64)


def _unknown(window: Window) -> np.ndarray:
    return np.full(len(window.timestamps), np.nan)


def thinned(probed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is kept of a probe: real quantities, at most ELEMENTS of each window and step, evenly spaced, in float32."""
    kept = {}
    for name, values in probed.items():
        if np.issubdtype(values.dtype, np.floating):
            rows = values.reshape(*values.shape[:2], -1)
            places = np.linspace(0, rows.shape[2] - 1, min(ELEMENTS, rows.shape[2])).round().astype(int)
            kept[name] = rows[..., places].astype(np.float32)
    return kept


def compare_numerics(
    own: Mapping[str, np.ndarray], golden: Mapping[str, np.ndarray], windows: list[Window]
) -> list[dict[str, Any]]:
    """The largest difference of each window, as a share of the RMS value of its quantity in that window.

    Returns:
        {"window", "quantity", "step", "size"} a window; size is None where shapes differ or values are not finite.
    """
    worst: list[dict[str, Any]] = [{"window": w.key, "quantity": "", "step": 0, "size": 0.0} for w in windows]
    for name, stored in golden.items():
        values = own.get(name)
        if values is None or values.shape != stored.shape or not np.isfinite(values).all():
            return [{"window": w.key, "quantity": name, "step": 0, "size": None} for w in windows]
        stored = stored.astype(np.float64)
        scale = np.sqrt(np.square(stored).mean(axis=(1, 2), keepdims=True))
        apart = np.abs(values - stored).max(axis=2) / np.where(scale > 0, scale, 1.0)[..., 0]
        for row, step in enumerate(apart.argmax(axis=1)):
            if apart[row, step] > worst[row]["size"]:
                worst[row] |= {"quantity": name, "step": int(step), "size": float(apart[row, step])}
    return worst


def compare_with_golden(own: np.ndarray, golden: np.ndarray, windows: list[Window], tolerance: float) -> dict[str, Any]:
    """Path by path: the share that agrees, and where the largest difference is.

    Args:
        own, golden: [windows, samples, horizon].
        tolerance: difference at any step, as a share of the spread of the window's golden paths, within which a path
            agrees. Rounding moves a path by about 1e-5 of it.

    Returns:
        {"paths", "agreeing": share, "sample": the largest share of windows in which the same sample differs,
        "problem": words or "", "worst": {"window", "step", "value", "expected"} or None}
    """
    nothing = {"agreeing": 0.0, "sample": 1.0, "worst": None}
    if own.shape != golden.shape:
        return nothing | {"paths": 0, "problem": f"shape {own.shape}, stored {golden.shape}"}
    if not np.isfinite(own).all():
        return nothing | {"paths": own[..., 0].size, "problem": "forecasts are not finite"}
    spread = golden.std(axis=1).mean(axis=-1)[:, None, None]
    apart = np.abs(own - golden) / spread
    place = np.unravel_index(int(np.argmax(apart)), apart.shape)
    worst = {"window": windows[place[0]].key, "step": int(place[2]) + 1}
    worst |= {"value": float(own[place]), "expected": float(golden[place])}
    differs = apart.max(axis=-1) > tolerance
    return {
        "paths": own[..., 0].size,
        "agreeing": float(1 - differs.mean()),
        "sample": float(differs.mean(axis=0).max()),
        "problem": "",
        "worst": worst,
    }
