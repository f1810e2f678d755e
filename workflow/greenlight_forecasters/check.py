"""Would the bundle run here as it was judged? Run it in production's environment, before the deploy.

    python -m greenlight_forecasters.check results/deploy

Loads each model from the bundle with a copy of its compile cache, forecasts the stored window as the gate did, and
compares with the stored forecast. Prints one line; the exit code is 0 only if everything agrees: files, code, weights,
packages, device, the cache, the forecast.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.api import ROUNDOFF, UserError, called_by_settings, given_returns
from greenlight_forecasters.bundle import CACHES, Entry, read_bundle

# Relative to the price. The same code on the same numbers rounds alike, but for kernels that a device chooses anew.
_TOLERANCES = {"float32": 1e-5, "tf32": 1e-3, "bf16": 1e-2}


def check(folder: Path, device: str | None = None) -> tuple[bool, str]:
    """Whether everything agrees, and a line that says what was found.

    Call it in a process that has not imported torch: its caches are set here.
    """
    entries = read_bundle(folder)
    if not entries:
        return False, "the bundle holds no model"
    with tempfile.TemporaryDirectory(prefix="greenlight-check-") as scratch:
        for variable, part in CACHES.items():
            own = Path(scratch) / part
            if (folder / "cache" / part).is_dir():
                shutil.copytree(folder / "cache" / part, own)
            own.mkdir(exist_ok=True)
            os.environ[variable] = str(own)
        found = [_check_model(entry, device) for entry in entries.values()]
    return all(agrees for agrees, _ in found), "; ".join(line for _, line in found)


def _check_model(entry: Entry, device: str | None) -> tuple[bool, str]:
    """The same of one model, in the state of torch in which it was judged."""
    entry.process.set_up()
    with entry.process.products():
        faults = list(entry.differences(device))
    parts: list[str] = []
    try:
        faults += _run(entry, device, parts)
    except UserError as error:
        faults.append(str(error))
    except Exception as error:
        faults.append(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
    parts.append(f"judged with {_scope(entry.facts['shapes'])}")
    if state := entry.process.words():
        parts.append(f"called as judged, with {state}, which production has to set too")
    said = ", ".join(parts + [f"NOT AS JUDGED: {fault}" for fault in faults])
    return not faults, f"{entry.name} {entry.variant}: {said}"


def _run(entry: Entry, device: str | None, parts: list[str]) -> list[str]:
    """Load, forecast twice and compare; adds to `parts` what was found, and returns what does not agree."""
    import torch

    from greenlight_forecasters.engine.caches import lookups
    from greenlight_forecasters.engine.service import products_in

    window, stored = entry.window()
    call, tf32 = entry.facts["call"], entry.facts["precision"] == "tf32"
    faults = []
    started = time.perf_counter()
    given = given_returns(entry.forecaster(device), entry.facts["window"].get("input", "prices"))
    forecaster = called_by_settings(given)
    parts.append(f"loaded in {time.perf_counter() - started:.1f} s")
    before, started = lookups(), time.perf_counter()
    windows = [window] * call["windows_per_call"]
    with products_in(tf32), entry.process.calling(device or str(entry.facts["device"])):
        paths = forecaster.forecast(windows, call["samples"], call["seed"])
        warm_seconds, started = time.perf_counter() - started, time.perf_counter()
        again = forecaster.forecast(windows, call["samples"], call["seed"])
    parts.append(f"warm in {warm_seconds:.1f} s, then {time.perf_counter() - started:.3f} s a call")
    if entry.facts["mode"] != "eager":
        hits, misses = (now - then for now, then in zip(lookups(), before, strict=True))
        parts.append(f"cache {hits} of {hits + misses} graphs")
        if misses or not hits:
            here, judged = torch.get_num_threads(), int(entry.facts["threads"])
            advice = "Set here what they had set"
            if here != judged:
                advice = f"Set OMP_NUM_THREADS={judged} here, or judge with `threads: {here}` in the configuration"
            faults.append(
                f"the compile cache misses ({hits} of {hits + misses} graphs found): this process has "
                f"{here} threads and torch {torch.__version__}, the judged one had "
                f"{judged} and {entry.facts['packages'].get('torch')}; "
                f"its trials had set {_assignments(entry.facts['environment'])}. {advice}"
            )
    found = _summary(paths[0], entry.model().forecast.levels)
    difference = float(np.max(np.abs(found - stored)) / np.max(np.abs(stored)))
    tolerance = _tolerance(entry.facts["precision"])
    parts.append(f"forecast off by {difference:.1e} of the price")
    if not difference <= tolerance:  # not a number is no agreement
        faults.append(
            f"the forecast of the stored window is off by {difference:.1e} of the price, more than {tolerance:g}"
        )
    if not np.array_equal(paths, again):
        faults.append("two calls with the same window and seed gave different forecasts")
    return faults


def _scope(shapes: dict[str, Any]) -> str:
    """Which calls the verdict speaks of."""
    samples = f", {shapes['samples']} samples" if "samples" in shapes else ""
    calls = " or ".join(map(str, shapes["windows"]))
    given = f", given {shapes['input']}" if "input" in shapes else ""
    return f"context {shapes['context_length']}, horizon {shapes['horizon']}{samples}, {calls} windows in a call{given}"


def _tolerance(precision: str) -> float:
    return next(_TOLERANCES[name] for name in _TOLERANCES if ROUNDOFF[name] >= ROUNDOFF[precision])


def _assignments(environment: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(environment.items())) or "no variable"


def _summary(paths: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Mean and deciles [10, horizon] of a window's sample paths, as the gate stores them."""
    deciles = [round(0.1 * number, 1) for number in range(1, 10)]
    if not levels:
        return np.concatenate([paths.mean(axis=0)[None], np.quantile(paths, deciles, axis=0)])
    # Half of what lies between a quantile and its neighbours is its share in the mean, all of it at the ends.
    inner = np.diff(np.asarray(levels)) / 2
    weights = np.r_[inner, 0.0] + np.r_[0.0, inner]
    weights[0], weights[-1] = weights[0] + levels[0], weights[-1] + 1 - levels[-1]
    return np.concatenate([(weights @ paths)[None], paths[[levels.index(level) for level in deciles]]])


def main(arguments: list[str]) -> int:
    """Check the bundle that the only argument names; the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m greenlight_forecasters.check results/deploy", file=sys.stderr)
        return 2
    try:
        agrees, line = check(Path(arguments[0]))
    except UserError as error:
        agrees, line = False, str(error)
    print(f"{'as judged' if agrees else 'DIFFERS'}: {line}")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
