"""How fast variants are beside a reference at the published dimensions, without prices and without judging.

    python -m tools.benchmark kronos:mini --cases 256x30x8x1,256x30x8x8,512x30x8x1 --set temperature=0.7 top_p=0.9
    python -m tools.benchmark toto:base --cases 512x30x256x1,512x336x256x1 --set static.samples_per_batch=256
    python -m tools.benchmark chronos-2:base --device cuda --variants upstream-eager,static-reduce-overhead

A case is context x horizon x samples x windows. Whole forecasts through the door of the gate, all variants in one
process and in turn, so that a busy machine slows all of them; from an empty compile cache. Random weights, or
`kronos:embedded`. With `--exact` also how far teacher-forced numerics are from the reference in float64. What the
gate says of the same (`config/published-sizes.yaml`) is what counts; this takes minutes less. Prints Markdown.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from greenlight.api import Forecaster, LoadOptions, Model, Window
from greenlight.data.windows import practice_windows
from greenlight.errors import UserError
from greenlight.measures.memory import MemoryMeter
from greenlight.plugins import load_forecaster, model_of
from greenlight.provenance import processor_name
from greenlight.random_weights import PREFIX, folder_of
from greenlight.variants import WEIGHT_FORMATS, Variant
from greenlight.watch.caches import CACHES
from greenlight.watch.health import HealthRecorder
from greenlight.watch.precision import in_tf32
from greenlight.watch.readiness import ReadinessRecorder
from greenlight.weights import MODEL

COLUMNS = (
    "context x horizon x samples x windows", "variant", "ms", "times faster (range)", "by CPU seconds", "equal values",
    "graphs / breaks / recompiles / after warm-up", "CUDA-graph ready", "first call, CPU s", "MB more in a call",
)  # fmt: skip


def load(model: Model, name: str, options: LoadOptions) -> Forecaster:
    """A variant, not yet compiled."""
    variant = Variant.parse(name)
    forecaster = load_forecaster(model.name, variant.implementation, options)
    return in_tf32(forecaster) if variant.precision == "tf32" else forecaster


def cpu_seconds() -> float:
    """Of this process and of its children that have ended, such as compilers."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds of a call, whose forecast is on the host when it returns."""
    began = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def warm(forecaster: Forecaster, mode: str, call: Callable[[], Any]) -> list[str]:
    """Compile and call until everything is there: what compilation did, readiness, CPU seconds of the first call."""
    before = cpu_seconds()
    if mode == "eager":
        call()
        return ["", "", f"{cpu_seconds() - before:.1f}"]
    with HealthRecorder() as recorder, ReadinessRecorder() as readiness:
        forecaster.compile(mode)
        call()
        first = cpu_seconds() - before
        for _ in range(2):
            call()
        recorder.end_of_warm_up(forecaster)
        call()
    health, ready = recorder.record(), readiness.record()["ready"]
    counts = (health["graphs"], len(health["graph_breaks"]), len(health["recompiles"]))
    done = " / ".join(map(str, (*counts, health["compilations_after_warm_up"])))
    return [done, {True: "yes", False: "no", None: "not known"}[ready], f"{first:.1f}"]


def rows_of(case: str, model: Model, options: argparse.Namespace, loaded: Callable[..., Forecaster]) -> list[str]:
    """The rows of a case, the reference first. Its time for a part of the windows is multiplied."""
    context, horizon, samples, count = map(int, case.split("x"))
    windows = practice_windows(count, context, horizon, seed=0)
    part = windows[: options.reference_windows or count]
    calls: dict[str, Callable[[], np.ndarray]] = {}
    health, memory = {}, {}
    torch.compiler.reset()
    for name in options.variants:
        forecaster = loaded(name)
        own = part if name == options.variants[0] else windows
        calls[name] = lambda forecaster=forecaster, own=own: forecaster.forecast(own, samples, 0)  # type: ignore[misc]
        health[name] = warm(forecaster, Variant.parse(name).mode, calls[name])
        with MemoryMeter(options.device) as meter:
            calls[name]()
        used = meter.record()
        memory[name] = used["device_peak_bytes"] or used["host_peak_bytes"] - used["host_begin_bytes"]
    seconds = {name: np.empty((options.repeats, 2)) for name in calls}
    for repeat in range(options.repeats):
        for name in list(calls)[:: -1 if repeat % 2 else 1]:
            seconds[name][repeat] = timed(calls[name])
    reference = options.variants[0]
    seconds[reference] *= len(windows) / len(part)
    expected, rows = calls[reference](), []
    for name, own in seconds.items():
        wall, cpu = (seconds[reference] / own).T
        # Draws that differ move a price by far more than rounding does.
        equal = np.isclose(calls[name]()[: len(part)], expected, rtol=1e-4).mean()
        ratio = f"**{np.median(wall):.2f}** ({wall.min():.2f} to {wall.max():.2f})"
        ms = f"{1e3 * np.median(own[:, 0]):,.1f}"
        cells = [case, name, ms, ratio, f"{np.median(cpu):.2f}", f"{equal:.1%}", *health[name]]
        rows.append(f"| {' | '.join([*cells, f'{memory[name] / 1e6:.0f}'])} |")
    return rows


def exactness(case: str, model: Model, options: argparse.Namespace, loaded: Callable[..., Forecaster]) -> list[str]:
    """Largest differences of teacher-forced numerics from the reference in float64, relative above 1: table rows."""
    context, horizon, _, count = map(int, case.split("x"))
    windows: list[Window] = practice_windows(count, context, horizon, seed=0)
    truth = loaded(options.variants[0], "float64", **model.truth).probe(windows)
    rows = []
    for name in dict.fromkeys(Variant.parse(name).implementation for name in options.variants):
        for dtype in ("float32", "float64"):
            found = loaded(f"{name}-eager", dtype).probe(windows)
            worst = np.zeros(2)
            for quantity, expected in truth.items():
                error = np.abs(found[quantity] - expected) / np.maximum(1.0, np.abs(expected))
                worst = np.maximum(worst, (error[:, :1].max(), error[:, 1:].max(initial=0.0)))
            rows.append(f"| {case} | {name} | {dtype} | {worst[0]:.1e} | {worst[1]:.1e} |")
    return rows


def checkpoints_of(model: Model, size: str) -> dict[str, str]:
    """Folder of a checkpoint with random weights of each role; a role of one size has that. UserError: no such size."""
    found = {}
    for role, random in model.random_weights.items():
        one = next(iter(random.sizes)) if role != MODEL and size not in random.sizes else size
        if problem := random.problem_with(PREFIX + one, None):
            raise UserError(f"{model.name}:{size}: {problem}")
        found[role] = str(folder_of(random.made(PREFIX + one, f"{model.name}:{size}")))
    return found


def loader(model: Model, size: str, options: argparse.Namespace) -> Callable[..., Forecaster]:
    """What loads a variant of a model in a size, with the settings that `--set` gives for all, or for its code."""
    asked = {key: yaml.safe_load(value) for key, value in (one.split("=", 1) for one in options.set)}
    further = {} if size == "embedded" else checkpoints_of(model, size)
    source = further.pop(MODEL, "embedded")
    shared = {key: value for key, value in asked.items() if "." not in key} | further
    own = model.settings(source=source, variants=tuple(options.variants), **shared).own()

    def loaded(variant: str, dtype: str = "", **changed: Any) -> Forecaster:
        chosen = Variant.parse(variant)
        dtype = dtype or WEIGHT_FORMATS.get(chosen.precision, "float32")
        prefix = f"{chosen.implementation}."
        special = {key.removeprefix(prefix): value for key, value in asked.items() if key.startswith(prefix)}
        own_part = chosen.implementation in model.settings.model_fields  # as models.toto.static is
        changed |= {chosen.implementation: own.get(chosen.implementation, {}) | special} if own_part else special
        return load(model, variant, LoadOptions(source, device=options.device, dtype=dtype, settings=own | changed))

    return loaded


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, variants and cases as lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model:size, such as toto:base, kronos:mini or toto:embedded")
    parser.add_argument("--variants", default="upstream-eager,static-eager,static-default", help="the reference first")
    parser.add_argument("--cases", default="256x30x8x1")
    parser.add_argument("--reference-windows", type=int, help="windows of the reference, whose time is multiplied")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    setting = "settings of the model, or of one implementation (static.samples_per_batch=256)"
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help=setting)
    parser.add_argument("--exact", action="store_true")
    options = parser.parse_args(arguments)
    options.variants, options.cases = options.variants.split(","), options.cases.split(",")
    if wrong := [case for case in options.cases if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){3}", case)]:
        parser.error(f"--cases has {wrong[0]!r}; expected context x horizon x samples x windows, such as 256x30x8x1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of speed, and one of exactness if asked."""
    options = parsed(arguments)
    torch.set_num_threads(options.threads)
    name, _, size = options.model.partition(":")
    model = model_of(name)
    loaded = loader(model, size, options)
    where = processor_name() if options.device == "cpu" else torch.cuda.get_device_name(options.device)
    print(
        f"{datetime.date.today()}, {options.model}, {where}, {options.threads} threads, torch {torch.__version__}, "
        f"{options.repeats} repeats, {', '.join(options.set) or 'settings as they come'}\n"
    )
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {variable: str(Path(scratch) / part) for variable, part in CACHES.items()}
        print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
        for case in options.cases:
            print(*rows_of(case, model, options, loaded), sep="\n", flush=True)
        if options.exact:
            print("\n| case | implementation | format | prefill | later steps |\n|---|---|---|---|---|")
            for case in options.cases:
                print(*exactness(case, model, options, loaded), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(f"greenlight: {error}") from None
