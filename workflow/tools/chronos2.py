"""How fast the static engine of Chronos-2 is against the published pipeline: `python -m tools.chronos2`.

Random weights, at the published dimensions unless `--size small`; whole calls of `predict_quantiles`, from tensors on
the CPU to tensors on the CPU. All variants are in one process and called in turn, so that a busy or throttled machine
slows all of them: the ratios are medians of the ratios of calls that were made one after the other. Prints Markdown.

    python -m tools.chronos2 --device cuda --output chronos2.md
    python -m tools.chronos2 --size small --threads 2
    python -m tools.chronos2 --sweep --size small        # what other shapes cost, in place of speed
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from greenlight.files import write_text
from greenlight.provenance import processor_name
from greenlight.variants import Variant
from greenlight.watch.health import HealthRecorder
from greenlight_forecasters.chronos2.checkpoint import dimensions_of
from greenlight_forecasters.chronos2.engine import Chronos2Engine
from greenlight_forecasters.chronos2.network import Network
from greenlight_forecasters.chronos2.predictor import StaticChronos2Pipeline
from greenlight_forecasters.chronos2.published import Chronos2Pipeline, build
from tools.train_chronos2 import CONFIGURATION

REFERENCE = "upstream-eager"
VARIANTS = "upstream-eager,upstream-reduce-overhead,static-reduce-overhead"
# amazon/chronos-2: 119.5 million parameters; `small` is for trying the benchmark out.
SIZES: dict[str, dict[str, Any]] = {
    "base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "small": {"d_model": 64, "d_kv": 16, "d_ff": 256, "num_layers": 4, "num_heads": 4},
}
LEVELS = [0.1, 0.5, 0.9]
WARM_UP_CALLS = 3
# Each differs from one before it in what the published code compiles anew for.
SWEEP = "1x128x7,1x129x7,1x130x30,1x160x30,3x160x30,4x160x30,4x200x32,4x512x48,1x512x48,1x144x7,2x512x30,3x96x1"


@dataclass(frozen=True)
class Case:
    """What is forecast: windows of a batch, rows of context and horizon, variates; written 32x512x30 or 8x512x30x4."""

    batch: int
    context: int
    horizon: int
    variates: int = 1

    def __str__(self) -> str:
        variates = f" of {self.variates} variates" if self.variates > 1 else ""
        return f"batch {self.batch}{variates}, context {self.context}, horizon {self.horizon}"

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read 32x512x30."""
        return cls(*(int(part) for part in text.split("x")))

    def inputs(self) -> list[torch.Tensor]:
        """Seeded random walks near 100, [variates, context] each, with a few values missing."""
        random = torch.Generator().manual_seed(0)
        walks = 100 + torch.randn(self.batch, self.variates, self.context, generator=random).cumsum(-1)
        walks[torch.rand(walks.shape, generator=random) < 0.01] = torch.nan
        return list(walks)


Runner = Callable[[Case], torch.Tensor]


def configuration(size: str) -> dict[str, Any]:
    """config.json of the published architecture in a size of SIZES."""
    return CONFIGURATION | SIZES[size] | {"initializer_factor": 0.05}


def runner(variant: Variant, arguments: argparse.Namespace) -> tuple[Runner, Chronos2Engine | None]:
    """A variant's call of `predict_quantiles`, which gives [windows, variates, horizon, levels]; and its engine."""
    torch.manual_seed(0)
    config = configuration(arguments.size)
    model = build(config).eval()
    engine = None
    if variant.implementation == "static":
        tensors, device = model.state_dict(), torch.device(arguments.device)
        network = Network.from_published(dimensions_of(config), tensors, torch.float32, device)
        engine = Chronos2Engine(network, sum(tensor.numel() for tensor in tensors.values()))
        if variant.compiled:
            engine.compile(variant.mode)
        pipeline: Any = StaticChronos2Pipeline(engine)
    else:
        pipeline = Chronos2Pipeline(model.to(arguments.device))
        if variant.compiled:
            pipeline.model = torch.compile(pipeline.model, mode=variant.mode)

    def run(case: Case) -> torch.Tensor:
        found, _ = pipeline.predict_quantiles(case.inputs(), case.horizon, quantile_levels=LEVELS)
        return torch.stack(found)

    return run, engine


def compile_calls(run: Runner, cases: list[Case]) -> dict[str, Any]:
    """Run every case until it is warm; seconds of the first call of each, and what compilation did."""
    first = {}
    with HealthRecorder() as recorder:
        for case in cases:
            started = time.perf_counter()
            found = run(case)
            first[case] = time.perf_counter() - started
            if not found.isfinite().all():  # what isn't finite agrees with nothing, and may run at another speed
                raise ValueError(f"{case}: forecasts are not finite, so that there is nothing to compare")
            for _ in range(WARM_UP_CALLS - 1):
                run(case)
        recorder.end_of_warm_up()
        for case in cases:
            run(case)
    return recorder.record() | {"first": first}


def timed(run: Runner, case: Case, device: str) -> float:
    """Seconds of a call, to the end of what it started on the device."""
    if device != "cpu":
        torch.cuda.synchronize()
    started = time.perf_counter()
    run(case)
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def conditions(arguments: argparse.Namespace) -> str:
    """Where and with what it was measured."""
    device = processor_name() if arguments.device == "cpu" else torch.cuda.get_device_name(arguments.device)
    threads = f", {arguments.threads} threads" if arguments.device == "cpu" else ""
    return (
        f"Chronos-2, size {arguments.size}, random weights, float32, "
        f"float32 products `{torch.get_float32_matmul_precision()}`, on {device}{threads}; torch {torch.__version__}, "
        f"chronos-forecasting {version('chronos-forecasting')}."
    )


def speed(arguments: argparse.Namespace) -> Iterator[str]:
    """Tables: seconds and ratios by case and variant, agreement, and what compilation did."""
    runners: dict[str, Runner] = {}
    health, engines = {}, {}
    for name in arguments.variants:
        variant = Variant.parse(name)
        runners[name], engines[name] = runner(variant, arguments)
        if variant.compiled:
            health[name] = compile_calls(runners[name], arguments.cases)
        else:
            for case in arguments.cases:
                runners[name](case)
    rows = []
    for case in arguments.cases:
        seconds: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(arguments.repeats):
            for name, run in runners.items():
                seconds[name].append(timed(run, case, arguments.device))
        reference = np.array(seconds[REFERENCE])
        expected = runners[REFERENCE](case)
        for name, own in seconds.items():
            ratios = reference / np.array(own)
            low, middle, high = np.quantile(ratios, [0.05, 0.5, 0.95])
            difference = float((runners[name](case) - expected).abs().max() / expected.abs().max())
            rows.append(
                f"| {case} | {name} | {np.median(own) * 1e3:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) "
                f"| {difference:.1e} |"
            )
    yield "\n".join(
        [
            f"Medians of {arguments.repeats} calls in turn; times faster than {REFERENCE}, with 5% and 95% quantiles; "
            "the largest difference of a forecast from it, of the largest forecast.",
            "",
            "| case | variant | milliseconds | times faster | difference |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )
    yield compilation_table(health, engines)


def sweep(arguments: argparse.Namespace) -> Iterator[str]:
    """What other shapes cost: graphs, recompiles and seconds of first calls over all cases."""
    health, engines = {}, {}
    for name in arguments.variants:
        variant = Variant.parse(name)
        if variant.compiled:
            run, engines[name] = runner(variant, arguments)
            torch.compiler.reset()
            health[name] = compile_calls(run, arguments.cases)
    yield compilation_table(health, engines)


def compilation_table(health: dict[str, dict[str, Any]], engines: dict[str, Chronos2Engine | None]) -> str:
    """What compilation did for each compiled variant, and the seconds of the first call of each case."""
    lines = [
        "| variant | graphs | breaks | recompiles | compiled after warm-up | CUDA graphs | first calls, seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in health.items():
        cuda = found["cuda_graphs"]
        graphs = f"{cuda['recordings']} recorded" if cuda["engaged"] else "none"
        first = ", ".join(f"{seconds:.1f}" for seconds in found["first"].values())
        lines.append(
            f"| {name} | {found['graphs']} | {len(found['graph_breaks'])} | {len(found['recompiles'])} "
            f"| {found['compilations_after_warm_up']} | {graphs} | {first} |"
        )
    for name, engine in engines.items():
        if engine is not None:
            lines += ["", f"Buckets of {name}:", ""]
            lines += [f"- {bucket.describe(engine.dimensions.patch)}" for bucket in engine.buckets]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:0")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--variants", default=VARIANTS, help=f"separated by commas; {REFERENCE} among them")
    parser.add_argument("--cases", help="batch x context x horizon, and variates: 1x512x30,32x512x30 by default")
    parser.add_argument("--sweep", action="store_true", help="over many shapes, in place of speed")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write the Markdown to this file too")
    arguments = parser.parse_args()
    arguments.variants = arguments.variants.split(",")
    if REFERENCE not in arguments.variants:
        parser.error(f"--variants must name {REFERENCE}, which the others are compared with")
    text = arguments.cases or (SWEEP if arguments.sweep else "1x512x30,32x512x30")
    arguments.cases = [Case.parse(part) for part in text.split(",")]
    return arguments


def main() -> None:
    """Command line entry."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    parts: list[str] = []
    for part in (conditions(arguments), *(sweep if arguments.sweep else speed)(arguments)):
        print(part, end="\n\n", flush=True)
        parts.append(part)
        if arguments.output:
            write_text(arguments.output, "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
