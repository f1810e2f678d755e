"""In a trial: one case of the diagnosis; the memory held is written down at each step, so that it survives a crash."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from greenlight.api import Forecaster
from greenlight.provenance import package_versions
from greenlight.run.children.common import Request, load, made_windows, pin_process
from greenlight.run.children.outputs import problem_of
from greenlight.trials.child import serve
from greenlight.trials.kinds import InvalidOutput
from greenlight.watch.health import HealthRecorder
from greenlight.watch.overwrites import check_overwrites

PACKAGES = ("torch", "triton", "numpy", "safetensors", "nvidia-ml-py")
FURTHER_CALLS = 2
# Variables by which torch, CUDA and compilers are steered from outside.
_STEERING = ("CUDA", "NVIDIA", "TORCH", "PYTORCH", "TRITON", "OMP_", "MKL_", "CXX", "CC", "LD_PRELOAD", "LD_LIBRARY")
_PROBE_SIZE = 64


class Steps:
    """Appends a JSON line to a file when a step begins and when it has ended, with the memory held then."""

    def __init__(self, path: Path, device: str) -> None:
        self._path, self._device = path, device
        self._process = psutil.Process()

    @contextlib.contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """A step; without its second line it is the one that failed."""
        started = time.perf_counter()
        self._write(what, False, 0.0)
        yield
        if self._device.startswith("cuda"):
            # Kernels run later than they are launched: wait, so that an error falls into the step that caused it.
            torch.cuda.synchronize(self._device)
        self._write(what, True, time.perf_counter() - started)

    def _write(self, what: str, done: bool, seconds: float) -> None:
        reading = {"what": what, "done": done, "seconds": round(seconds, 3)} | self._memory()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(reading) + "\n")

    def _memory(self) -> dict[str, int | None]:
        found: dict[str, int | None] = dict.fromkeys(("device_bytes", "device_reserved_bytes", "device_free_bytes"))
        found["host_bytes"] = self._process.memory_info().rss
        if self._device.startswith("cuda"):
            found["device_bytes"] = torch.cuda.memory_allocated(self._device)
            found["device_reserved_bytes"] = torch.cuda.memory_reserved(self._device)
            found["device_free_bytes"] = torch.cuda.mem_get_info(self._device)[0]
        return found


def run(request: Request) -> dict[str, Any]:
    """Run the case that `task` names: device, compiler or variants."""
    pin_process(request)
    steps = Steps(Path(request["steps"]), request["device"])
    return {"device": _device, "compiler": _compiler, "variants": _variants}[request["task"]](request, steps)


def _device(request: Request, steps: Steps) -> dict[str, Any]:
    """A tiny tensor operation on the device against NumPy, and what the device and torch are."""
    device = request["device"]
    values = np.random.default_rng(request["seed"]).normal(size=(2, _PROBE_SIZE, _PROBE_SIZE)).astype(np.float32)
    with steps("a tensor to the device"):
        left, right = torch.from_numpy(values).to(device)
    with steps("a product of two matrices"):
        product = (left @ right).cpu().numpy()
    if not np.allclose(product, values[0] @ values[1], atol=1e-3):
        raise InvalidOutput(f"a product of two {_PROBE_SIZE} x {_PROBE_SIZE} matrices on {device} is wrong")
    facts: dict[str, Any] = {
        "versions": package_versions((*PACKAGES, *request["distributions"])) | {"python": sys.version.split()[0]},
        "cuda": torch.version.cuda,
        "environment": {
            name: value for name, value in sorted(request["environment"].items()) if name.startswith(_STEERING)
        },
        "dropped": request["dropped"],
    }
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        facts |= {
            "compute_capability": f"{major}.{minor}",
            "architectures_of_torch": torch.cuda.get_arch_list(),
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return facts


def _compiler(request: Request, steps: Steps) -> dict[str, Any]:
    """Compile one line of tensor code: whether torch.compile works here at all."""
    values = torch.linspace(0, 1, _PROBE_SIZE, device=request["device"])
    with HealthRecorder() as recorder, steps("compile and call a function of one line"):
        compiled = torch.compile(_one_line, backend="inductor")(values)
    if not torch.allclose(compiled, _one_line(values)):
        raise InvalidOutput("a compiled function of one line gives another result than the function itself")
    health = recorder.record()
    if not health["engaged"]:
        raise InvalidOutput(" ".join(["a function of one line was not compiled.", *health["notes"]]))
    return {"health": health}


def _one_line(values: torch.Tensor) -> torch.Tensor:
    return torch.sin(values) * 2 + 1


def _variants(request: Request, steps: Steps) -> dict[str, Any]:
    """Examine variants in turn, either unloading each before the next or holding all, then calling all again."""
    held: list[tuple[Request, Forecaster, np.ndarray, bool]] = []
    outcomes = []
    for entry in request["entries"]:
        forecaster, output, outcome = _examine(entry, steps)
        if request["unload"]:
            watch = weakref.ref(forecaster)
            with steps(f"{_name(entry)}: unload"):
                del forecaster
                gc.collect()
                torch.compiler.reset()
                gc.collect()
                if request["device"].startswith("cuda"):
                    torch.cuda.empty_cache()
            outcome["released"] = watch() is None
        else:
            held.append((entry, forecaster, output, outcome["overwrites"]["same_input_same_output"]))
        outcomes.append(outcome)
    for entry, forecaster, output, repeats_itself in held if len(held) > 1 else []:
        with steps(f"{_name(entry)}: call again beside the others"):
            again = forecaster.forecast(_windows(entry, entry["seed"]), entry["samples"], entry["seed"])
        if repeats_itself and not np.array_equal(output, again):
            raise InvalidOutput(f"{_name(entry)} gives another forecast once other variants are loaded beside it")
    return {"outcomes": outcomes}


def _examine(entry: Request, steps: Steps) -> tuple[Forecaster, np.ndarray, dict[str, Any]]:
    """Load, compile, call, call again, and look for overwritten outputs; (forecaster, first output, outcome)."""
    name, compiled = _name(entry), entry["mode"] != "eager"
    windows, others = (_windows(entry, entry["seed"] + shift) for shift in (0, 1))

    def forecast(chosen: Any) -> np.ndarray:
        return forecaster.forecast(chosen, entry["samples"], entry["seed"])

    with steps(f"{name}: load"):
        forecaster = load(entry, entry["variant"])
    with HealthRecorder(waits=not compiled) as recorder:
        with steps(f"{name}: {'compile and first call' if compiled else 'first call'}"):
            if compiled:
                forecaster.compile(entry["mode"])
            output = np.array(forecast(windows))
        if problem := problem_of(entry, output, windows):
            raise InvalidOutput(f"{name}: {problem}")
        with steps(f"{name}: {FURTHER_CALLS} more calls"):
            for _ in range(FURTHER_CALLS):
                forecast(windows)
        recorder.end_of_warm_up()
        with steps(f"{name}: kept outputs against later calls"):
            overwrites = check_overwrites(forecast, [windows, others])
    outcome = {
        "model": entry["model"],
        "variant": entry["variant"],
        "overwrites": overwrites,
        "health": recorder.record() if compiled else None,
    }
    return forecaster, output, outcome


def _name(entry: Request) -> str:
    return f"{entry['model']} {entry['variant']}"


def _windows(entry: Request, seed: int) -> list[Any]:
    return made_windows(entry, entry["windows_per_call"], entry["context_length"], entry["horizon"], seed)


if __name__ == "__main__":
    serve(run)
