"""The parts of the GPU benchmark that are about Toto, and the gate's own stages on a device."""

from __future__ import annotations

import argparse
import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from greenlight.data.reader import RepairRules, read_series
from greenlight.data.series import write_series
from greenlight.plugins import reference_of
from greenlight.trials.runner import Limits, run_trial
from greenlight.variants import Variant
from greenlight.watch.precision import in_tf32
from greenlight.watch.readiness import ReadinessRecorder
from greenlight.weights import contents_of
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.toto.checkpoint import COMPUTED, read_dimensions
from greenlight_forecasters.toto.published import Toto
from greenlight_forecasters.toto.static import TotoEngine, TotoStatic
from greenlight_forecasters.toto.static.network import Network
from tools import toto as bench
from tools.gpu_findings import Findings, error_of, in_turn, memory_of
from tools.toto import Case, Runner, runner, warm_up

CASES = [Case(30, 256), Case(96, 256), Case(336, 256), Case(30, 32), Case(96, 32), Case(336, 32), Case(30, 256, 16)]
# The published code compiles anew at each horizon.
FEW_CASES = [Case(30, 256), Case(96, 256)]
# Tuning takes minutes for every shape.
TUNED_CASES = [Case(30, 256), Case(96, 256), Case(336, 256)]
SMALL_CASES = [Case(30, 8), Case(96, 8)]
REPEATS = 10


def _arguments(device: str = "cuda", size: str = "base") -> argparse.Namespace:
    """What the benchmark's functions ask for; the published code decodes all samples at once, its best on a GPU."""
    return argparse.Namespace(device=device, size=size, context=512, samples_per_batch=256, cases=CASES)


def variant(findings: Findings, name: str) -> None:
    """A variant alone: what compilation did and its memory; then seconds in turn with upstream-eager.

    Args:
        name: a variant, or a variant and the only cases to run: `static-max-autotune:30x256+336x256`.
    """
    name, _, only = name.partition(":")
    arguments, chosen = _arguments(), Variant.parse(name)
    published = chosen.implementation != "static"
    cases = FEW_CASES if published and chosen.compiled else CASES
    cases = TUNED_CASES if chosen.mode == "max-autotune" else cases
    cases = [Case.parse(part) for part in only.split("+")] if only else cases
    run = runner(chosen, arguments)
    try:
        if chosen.compiled:
            findings.keep(health=warm_up(run, cases))
        else:
            for case in cases:
                run(case)
    except Exception as error:
        findings.keep(failed_warming_up=error_of(error))
        return
    findings.keep(memory=_memory(run, cases))
    reference = runner(Variant("upstream", "eager"), arguments)
    for case in cases:
        reference(Case(case.horizon, case.samples))
    findings.wait_for_turn()
    _time(findings, name, run, reference, cases)


def _time(findings: Findings, name: str, run: Runner, reference: Runner, cases: list[Case]) -> None:
    """Seconds of a variant and of upstream-eager in turn; upstream-eager has one window."""
    seconds: dict[str, Any] = {}
    for case in cases:
        one = Case(case.horizon, case.samples)
        calls = {"upstream-eager": functools.partial(reference, one), name: functools.partial(run, case)}
        in_turn(calls, 2)
        seconds[str(case)] = in_turn(calls, REPEATS) | {"windows": case.windows}
        findings.keep(seconds=seconds)


def precision(findings: Findings, name: str) -> None:
    """The static engine in reduce-overhead with TF32 products, or in bfloat16; upstream-eager stays in float32."""
    arguments = _arguments()
    findings.keep(largest_relative_difference=_difference_from_truth(name))
    run = runner(Variant("static", "reduce-overhead", name), arguments)
    reference = runner(Variant("upstream", "eager"), arguments)
    findings.keep(health=warm_up(run, TUNED_CASES))
    for case in TUNED_CASES:
        reference(case)
    findings.wait_for_turn()
    _time(findings, name, run, reference, TUNED_CASES)


def _difference_from_truth(name: str) -> float:
    """Of teacher-forced parameters from the uncached float64 run, as in the benchmark's table, random weights."""
    config = bench.configuration("base")
    windows = bench.walks(4, 512, 6 * config["patch_size"])
    torch.manual_seed(0)
    toto = Toto(**config).eval()
    truth = bench.implementation_of("uncached", toto, config, "float64", "cuda").probe(windows)
    tensors = {key: t for key, t in toto.state_dict().items() if not key.endswith(COMPUTED)}
    dtype = torch.bfloat16 if name == "bf16" else torch.float32
    network = Network.from_published(read_dimensions(config, "benchmark"), tensors, dtype).to("cuda")
    static = TotoStatic(TotoEngine(network, samples_per_batch=1))
    found = (in_tf32(static) if name == "tf32" else static).probe(windows)
    return max(float((abs(found[key] - t) / abs(t).clip(1.0)).max()) for key, t in truth.items())


def memory(findings: Findings) -> None:
    """Memory of upstream-eager alone, all samples at once and 32 at once, and of the static engine at one case."""
    for batch in (256, 32):
        arguments = _arguments()
        arguments.samples_per_batch = batch
        findings.keep(
            **{f"upstream, {batch} at once": _memory(runner(Variant("upstream", "eager"), arguments), CASES[:3])}
        )
        torch.cuda.empty_cache()
    for case in CASES[:3]:
        findings.keep(**{f"static, {case}": _memory(runner(Variant("static", "eager"), _arguments()), [case])})
        torch.cuda.empty_cache()


def _memory(run: Runner, cases: list[Case]) -> dict[str, dict[str, int]]:
    """Of each case's second call."""
    found = {}
    for case in cases:
        run(case)
        found[str(case)] = memory_of(functools.partial(run, case))
    return found


def exact(findings: Findings) -> None:
    """The benchmark's table of exactness, on the device, TF32 off; of one window the prefill runs as sums too."""
    torch.set_float32_matmul_precision("highest")
    for windows in (4, 1):
        findings.keep(**{f"windows: {windows}": bench.exactness(_arguments(), windows).splitlines()})


def readiness(findings: Findings) -> None:
    """CUDA-graph readiness as a CPU predicts it beside what CUDA graphs then do on the device, small size."""
    for implementation in ("upstream", "host-index", "static"):
        chosen = Variant(implementation, "reduce-overhead")
        for device in ("cpu", "cuda"):
            torch.compiler.reset()
            try:
                with _tolerant(findings, f"{implementation} {device} stopped"):
                    run = runner(chosen, _arguments(device, "small"))
                    found = _predicted(run) if device == "cpu" else warm_up(run, SMALL_CASES)
                    findings.keep(**{f"{implementation} {device}": found})
            finally:
                torch.cuda.empty_cache()


def _predicted(run: Runner) -> dict[str, Any]:
    """Readiness from FX graphs alone."""
    with ReadinessRecorder(kernels=False) as recorder:
        for case in SMALL_CASES:
            run(case)
    return recorder.record()


@contextlib.contextmanager
def _tolerant(findings: Findings, name: str) -> Iterator[None]:
    """An error is a finding here."""
    try:
        yield
    except Exception as error:
        findings.keep(**{name: error_of(error)})


def stages(findings: Findings) -> None:
    """The gate's children on the device with the embedded checkpoints and the shipped prices."""
    with tempfile.TemporaryDirectory() as scratch:
        series = Path(scratch) / "series.parquet"
        write_series(series, read_series(Path("trainingdata/GOOG.csv"), RepairRules(), 64))
        for model in ("kronos", "toto"):
            for child in ("warm_up", "latency"):
                record = run_trial(
                    f"greenlight.run.children.{child}",
                    _request(model, series),
                    folder=Path(scratch) / f"{model}-{child}",
                    limits=Limits(seconds=200),
                )
                findings.keep(**{f"{model} {child}": record})


def _request(model: str, series: Path) -> dict[str, Any]:
    """What the workflow would ask of both children."""
    checkpoint = CHECKPOINTS / model
    return {
        "model": model,
        "plugin": reference_of(model),
        "implementation": "static",
        "variant": "static-reduce-overhead",
        "mode": "reduce-overhead",
        "reference": "upstream-eager",
        "folders": {"model": str(checkpoint)},
        "checkpoints": {"model": contents_of(checkpoint)},
        "settings": {},
        "device": "cuda:0",
        "threads": 4,
        "seed": 0,
        "samples": 32,
        "context_length": 64,
        "horizon": 8,
        "windows": 4,
        "windows_per_call": 4,
        "timed_windows": 1,
        "warm_up_calls": 3,
        "cache_files_before": 0,
        "code_run": {},
        "targets": dict.fromkeys(("upstream", "static")),
        "copies": "",
        "folders_of_code": {},
        "truth": {},
        "levels": [],
        "random": True,
        "series": {"GOOG": str(series)},
        "not_before": {},
        "timing": {
            "windows": 1,
            "warm_up_calls": 3,
            "processes": 1,
            "pairs": 10,
            "control_pairs": 5,
            "looks": 1,
            "extra_seconds": 0,
        },
        "process": 0,
        "earlier": None,
    }
