"""How fast each implementation of Toto is against the published code: `python -m tools.toto`.

Random weights of the published dimensions, all variants in one process and in turn, so that a busy or throttled
machine slows all of them. The reference is `upstream-eager` with its KV cache, one window at a time. Prints Markdown.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from greenlight.api import Forecaster, LoadOptions
from greenlight.data.windows import Window
from greenlight.files import write_text
from greenlight.measures.memory import MemoryMeter
from greenlight.provenance import processor_name
from greenlight.variants import Variant
from greenlight.watch.health import HealthRecorder
from greenlight.watch.precision import allowed_tf32
from greenlight.watch.readiness import ReadinessRecorder
from greenlight_forecasters.toto.checkpoint import CAUSAL_PATCH_SCALER, COMPUTED, STUDENT_T_MIXTURE, read_dimensions
from greenlight_forecasters.toto.host_index import TotoHostIndex
from greenlight_forecasters.toto.published import MaskedTimeseries, Toto, TotoForecaster
from greenlight_forecasters.toto.repair import repair_kv_cache
from greenlight_forecasters.toto.static import TotoEngine, TotoStatic
from greenlight_forecasters.toto.static.network import Network
from greenlight_forecasters.toto.upstream import TotoUpstream

REFERENCE = "upstream-eager"
VARIANTS = "upstream-eager,upstream-default,host-index-eager,host-index-default,static-eager,static-default"
# Datadog/Toto-Open-Base-1.0; `small` is for trying the benchmark out.
SIZES = {
    "base": {"patch_size": 64, "embed_dim": 768, "num_layers": 12, "num_heads": 12, "mlp_hidden_dim": 3072},
    "small": {"patch_size": 16, "embed_dim": 64, "num_layers": 4, "num_heads": 4, "mlp_hidden_dim": 128},
}


@dataclass(frozen=True)
class Case:
    """What is forecast: `horizon x samples`, or `horizon x samples x windows` in one batch, written 30x256x16."""

    horizon: int
    samples: int
    windows: int = 1

    def __str__(self) -> str:
        windows = f", {self.windows} windows" if self.windows > 1 else ""
        return f"horizon {self.horizon}, {self.samples} samples{windows}"

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read 30x256 or 30x256x16."""
        return cls(*(int(part) for part in text.split("x")))


Runner = Callable[[Case], None]
# Wall and CPU seconds of each repeat, by variant.
Seconds = dict[str, list[np.ndarray]]


def configuration(size: str) -> dict[str, Any]:
    """config.json of the published architecture in a size of SIZES."""
    dimensions = SIZES[size]
    return dimensions | {
        "stride": dimensions["patch_size"],
        "dropout": 0.0,
        "spacewise_every_n_layers": dimensions["num_layers"],
        "spacewise_first": False,
        "scaler_cls": CAUSAL_PATCH_SCALER,
        "output_distribution_classes": [STUDENT_T_MIXTURE],
        "output_distribution_kwargs": {"k_components": 24},
        "use_memory_efficient_attention": False,
    }


def published_runner(size: str, variant: Variant, arguments: argparse.Namespace) -> Runner:
    """The published code, repaired or not, compiled or not; the windows of a case one after the other."""
    torch.manual_seed(0)
    toto = Toto(**configuration(size)).to(arguments.device).eval()
    if variant.implementation == "host-index":
        repair_kv_cache(toto)
    backbone = torch.compile(toto.model, mode=variant.mode) if variant.compiled else toto.model
    forecaster = TotoForecaster(backbone)
    series = _series(arguments, 1)[0]
    masked = MaskedTimeseries(
        series=series,
        padding_mask=torch.ones_like(series, dtype=torch.bool),
        id_mask=torch.zeros_like(series, dtype=torch.int),
        timestamp_seconds=torch.zeros_like(series, dtype=torch.int),
        time_interval_seconds=torch.zeros(1, dtype=torch.int, device=arguments.device),
    )

    def run(case: Case) -> None:
        batch = min(case.samples, arguments.samples_per_batch)
        forecaster.forecast(masked, case.horizon, case.samples, batch, use_kv_cache=True)

    return run


def static_runner(size: str, variant: Variant, arguments: argparse.Namespace) -> Runner:
    """The static engine, with its network in bfloat16 where the variant says so; the windows of a case in one batch."""
    torch.manual_seed(0)
    toto = Toto(**configuration(size))
    tensors = {name: t for name, t in toto.state_dict().items() if not name.endswith(COMPUTED)}
    dimensions = read_dimensions(configuration(size), "benchmark")
    dtype = torch.bfloat16 if variant.precision == "bf16" else torch.float32
    network = Network.from_published(dimensions, tensors, dtype).to(arguments.device)
    del toto, tensors
    engine = TotoEngine(network, windows_per_batch=max(case.windows for case in arguments.cases))
    if variant.compiled:
        engine.compile(variant.mode)

    # On the device beforehand, as for the published code.
    series = _series(arguments, max(case.windows for case in arguments.cases))

    def run(case: Case) -> None:
        engine.sample(series[: case.windows], case.horizon, case.samples, range(case.windows))

    return run


def runner(variant: Variant, arguments: argparse.Namespace) -> Runner:
    """What runs a variant on a case, in its precision."""
    make = static_runner if variant.implementation == "static" else published_runner
    run = make(arguments.size, variant, arguments)
    return allowed_tf32()(run) if variant.precision == "tf32" else run


def _series(arguments: argparse.Namespace, windows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(windows, 1, arguments.context, generator=generator).cumsum(-1).to(arguments.device)


def timed(run: Runner, case: Case) -> np.ndarray:
    """Wall and CPU seconds of one call, to the end of what it started on the device."""
    started = np.array((time.perf_counter(), time.process_time()))
    run(case)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return np.array((time.perf_counter(), time.process_time())) - started


def _cases(variant: Variant, arguments: argparse.Namespace) -> list[Case]:
    """The cases that a variant is run on: the published code compiles for minutes at each, so fewer of them."""
    few = variant.compiled and variant.implementation != "static"
    return arguments.compiled_cases if few else arguments.cases


def warm_up(run: Runner, cases: list[Case]) -> dict[str, Any]:
    """Run every case twice; what compilation did, and whether the second time found everything compiled."""
    with HealthRecorder() as recorder, ReadinessRecorder() as readiness:
        for case in cases:
            run(case)
        recorder.end_of_warm_up()
        for case in cases:
            run(case)
    return recorder.record() | {"readiness": readiness.record()}


def measure(arguments: argparse.Namespace) -> tuple[dict[Case, Seconds], dict[str, dict[str, Any]]]:
    """Seconds of each call by case and variant, in turn; and the health of each compiled variant."""
    runners, health = {}, {}
    for name in arguments.variants:
        variant = Variant.parse(name)
        runners[name] = runner(variant, arguments)
        _progress(f"warming up {name}")
        if variant.compiled:
            health[name] = warm_up(runners[name], _cases(variant, arguments))
        else:
            runners[name](arguments.cases[0])
    seconds: dict[Case, Seconds] = {}
    for case in dict.fromkeys([*arguments.cases, *arguments.compiled_cases]):
        chosen = [n for n in arguments.variants if case in _cases(Variant.parse(n), arguments)]
        seconds[case] = {name: [] for name in chosen}
        for repeat in range(arguments.repeats):
            _progress(f"{case}: repeat {repeat + 1} of {arguments.repeats}")
            for name in chosen:
                of_windows = case.windows if name.startswith("static") else 1
                seconds[case][name].append(timed(runners[name], case) / of_windows)
    return seconds, health


def peak_memory(arguments: argparse.Namespace) -> dict[Case, dict[str, int]]:
    """Peak resident bytes of a process that has warmed up and runs one variant on one case."""
    peaks: dict[Case, dict[str, int]] = {}
    for case in arguments.memory_cases:
        peaks[case] = {}
        for name in arguments.variants:
            _progress(f"memory of {name} at {case}")
            text = "x".join(str(part) for part in (case.horizon, case.samples, case.windows))
            command = [sys.executable, "-m", "tools.toto", "--peak-of", name, "--cases", text]
            command += ["--size", arguments.size, "--threads", str(arguments.threads), "--device", arguments.device]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[case][name] = json.loads(done.stdout.splitlines()[-1])["bytes"]
    return peaks


def _peak_of(arguments: argparse.Namespace) -> dict[str, int]:
    """In a child: the peak of the second call."""
    run = runner(Variant.parse(arguments.peak_of), arguments)
    run(arguments.cases[0])
    with MemoryMeter(arguments.device) as meter:
        run(arguments.cases[0])
    record = meter.record()
    return {"bytes": record["device_peak_bytes"] or record["host_peak_bytes"]}


def exactness(arguments: argparse.Namespace, windows: int = 4) -> str:
    """Largest differences of teacher-forced parameters from the uncached float64 run, as Markdown.

    Relative where a parameter is above 1; context as configured, horizon of six patches, random walks. Sharp
    attention has the weights of queries and keys times 4: nearly uniform attention hides errors.
    """
    config = configuration(arguments.size)
    walked = walks(windows, arguments.context, 6 * config["patch_size"])
    lines = ["| weights | implementation | dtype | prefill | decode steps |", "|---|---|---|---|---|"]
    for label, sharpness in (("random", 1.0), ("sharp attention", 4.0)):
        torch.manual_seed(0)
        toto = Toto(**config).eval()
        with torch.no_grad():
            for layer in toto.model.transformer.layers:
                layer.attention.wQKV.weight[: 2 * config["embed_dim"]] *= sharpness
        truth = implementation_of("uncached", toto, config, "float64", arguments.device).probe(walked)
        for dtype in ("float32", "float64"):
            names = ["uncached", "upstream", "host-index", "static"]
            for name in names + (["static-reduce-overhead"] if arguments.device != "cpu" else []):
                if (name, dtype) == ("uncached", "float64"):
                    continue
                _progress(f"exactness of {name} in {dtype}, {label}")
                found = implementation_of(name, toto, config, dtype, arguments.device).probe(walked)
                worst = np.zeros(2)
                for quantity, expected in truth.items():
                    scale = np.maximum(1.0, np.abs(expected))
                    error = np.abs(found[quantity] - expected) / scale
                    worst = np.maximum(worst, (error[:, :1].max(), error[:, 1:].max()))
                shown = "upstream, no cache" if name == "uncached" else name
                lines.append(f"| {label} | {shown} | {dtype} | {worst[0]:.1e} | {worst[1]:.1e} |")
    return "\n".join(lines)


def implementation_of(name: str, toto: Toto, config: dict[str, Any], dtype: str, device: str) -> Forecaster:
    """An implementation on a copy of a model's weights; `static-<mode>` is compiled."""
    options = LoadOptions("random", device=device, dtype=dtype, settings={"kv_cache": name != "uncached"})
    if name.startswith("static"):
        tensors = {key: t for key, t in toto.state_dict().items() if not key.endswith(COMPUTED)}
        kind = getattr(torch, dtype)
        network = Network.from_published(read_dimensions(config, "benchmark"), tensors, kind).to(device)
        forecaster = TotoStatic(TotoEngine(network, dtype=kind, samples_per_batch=1))
        if name != "static":
            forecaster.compile(Variant.parse(name).mode)
        return forecaster
    own = Toto(**config)
    own.load_state_dict(toto.state_dict())
    return (TotoHostIndex if name == "host-index" else TotoUpstream)(own.eval(), options)


def walks(count: int, context: int, horizon: int) -> list[Window]:
    """Random walks as windows."""
    random = np.random.default_rng(0)
    closes = random.normal(size=(count, context + horizon, 1)).cumsum(axis=1) + 100.0
    times = np.datetime64("2024-01-01", "ns") + np.arange(context + horizon) * np.timedelta64(1, "D")
    rows = np.repeat(closes, 5, axis=2)
    return [Window("WALK", i, own[:context], own[context:], times) for i, own in enumerate(rows)]


def latency_table(seconds: dict[Case, Seconds]) -> str:
    """Milliseconds a window and how many times faster than the reference, as Markdown.

    A ratio of CPU seconds also holds where others use the machine; it counts all threads.
    """
    lines = [
        "| case | variant | ms a window, median (least) | times faster, median (range) | by CPU seconds |",
        "|---|---|---|---|---|",
    ]
    for case, by_variant in seconds.items():
        for name, own in by_variant.items():
            wall = 1e3 * np.array(own)[:, 0]
            pairs, of_cpu = (np.array(by_variant[REFERENCE]) / np.array(own)).T
            lines.append(
                f"| {case} | {name} | {np.median(wall):,.1f} ({wall.min():,.1f}) "
                f"| {np.median(pairs):.2f} ({pairs.min():.2f} to {pairs.max():.2f}) "
                f"| {np.median(of_cpu):.2f} ({of_cpu.min():.2f} to {of_cpu.max():.2f}) |"
            )
    return "\n".join(lines)


def health_table(health: dict[str, dict[str, Any]]) -> str:
    """What compilation did over all cases, as Markdown."""
    lines = [
        "| variant | graphs | graph breaks | recompiles warming up | after | CUDA-graph ready | compile seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in health.items():
        ready = {True: "yes", False: "no", None: "not known"}[one["readiness"]["ready"]]
        before = len(one["recompiles"]) - one["recompiles_after_warm_up"]
        lines.append(
            f"| {name} | {one['graphs']} | {len(one['graph_breaks'])} | {before} | "
            f"{one['recompiles_after_warm_up']} | {ready} | {one['compile_seconds']['total']:.0f} |"
        )
    return "\n".join(lines)


def memory_table(peaks: dict[Case, dict[str, int]]) -> str:
    """Peak memory, as Markdown."""
    lines = ["| case | variant | peak GB |", "|---|---|---|"]
    lines += [f"| {case} | {name} | {peak / 1e9:.2f} |" for case, own in peaks.items() for name, peak in own.items()]
    return "\n".join(lines)


def conditions(arguments: argparse.Namespace) -> str:
    """Machine, date and versions, in a sentence."""
    device = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else processor_name()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "toto-ts", "numpy"))
    return (
        f"{datetime.date.today().isoformat()}, {device}, {arguments.threads} threads, {versions}; {arguments.size} "
        f"size with random weights, context {arguments.context}."
    )


def timing_conditions(arguments: argparse.Namespace) -> str:
    """How the latencies were taken, in a sentence."""
    return (
        f"float32 where a variant names nothing else, {arguments.repeats} repeats in turn; the published code decodes "
        f"{arguments.samples_per_batch} samples at once, one window at a time."
    )


def _progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    def cases(text: str) -> list[Case]:
        return [Case.parse(part) for part in text.split(",") if part]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", default=VARIANTS)
    parser.add_argument("--cases", type=cases, default="30x32,30x256,30x256x16,96x256,336x256")
    parser.add_argument("--compiled-cases", type=cases, default="30x32", help="cases of the published code compiled")
    parser.add_argument("--memory-cases", type=cases, default="", help="cases whose peak memory is measured too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--samples-per-batch", type=int, default=32, help="of the published code")
    parser.add_argument("--exactness", action="store_true", help="print the table of exactness, and nothing else")
    parser.add_argument("--output", type=Path, help="also write the Markdown to this file")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.variants = arguments.variants.split(",")
    if REFERENCE not in arguments.variants:
        parser.error(f"--variants must hold {REFERENCE}")
    return arguments


def main() -> None:
    """Command line entry."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.peak_of:
        print(json.dumps(_peak_of(arguments)))
        return
    parts: list[str] = []
    for part in _parts(arguments):
        print(part, end="\n\n", flush=True)
        parts.append(part)
        if arguments.output:
            write_text(arguments.output, "\n\n".join(parts) + "\n")


def _parts(arguments: argparse.Namespace) -> Iterator[str]:
    """The report, part by part, for a run takes many minutes."""
    yield conditions(arguments)
    if arguments.exactness:
        yield exactness(arguments)
        return
    seconds, health = measure(arguments)
    yield timing_conditions(arguments)
    yield latency_table(seconds)
    yield health_table(health)
    if arguments.memory_cases:
        yield memory_table(peak_memory(arguments))


if __name__ == "__main__":
    main()
