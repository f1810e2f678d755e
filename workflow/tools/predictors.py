"""Predictors against the published ones and against their bare engine, at the published dimensions.

    python -m tools.predictors kronos:mini --clone <clone of github.com/shiyu-coder/Kronos>
    python -m tools.predictors toto:small chronos-2:small
    python -m tools.predictors kronos:small toto:base --clone … --device cuda --series 1,16,64

Random weights; all that is compared in one process and in turn, so that a busy machine slows all of it: medians of the
ratios of pairs, after warm-up. The bare engine is called with inputs and random numbers that are there already; `guard`
is what a call looks at before it begins. From an empty compile cache, then in a new process from the one that this
left. Prints Markdown. Context 256 (Kronos) or 512, horizon 30, samples 8 (Kronos) or 64 (Toto).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from greenlight.errors import UserError
from greenlight.plugins import model_of
from greenlight.provenance import processor_name
from greenlight.watch.caches import CACHES
from greenlight_forecasters.deploy import accelerate
from greenlight_forecasters.kronos.predictor import candles_of
from greenlight_forecasters.kronos.sampling import Sampling, noise_size

COLUMNS = ("model", "series", "published, ms", "predictor, ms", "times as fast (range)", "over the bare engine",
           "guard, ms", "warm-up, s", "from a filled cache, s", "calls a second, 8 threads to 1")  # fmt: skip
HORIZON, THREADS = 30, 8
Calls = dict[str, Callable[[], Any]]


class Subject(NamedTuple):
    """A predictor, how it is warmed for a number of series, and what is timed with that many."""

    predictor: Any
    warm: Callable[[int], None]
    calls: Callable[[int], Calls]


def kronos(size: str, device: str, mode: str | None, clone: str) -> Subject:
    """Context 256, 8 samples; the published predictor of a clone."""
    context, samples = 256, 8
    published = published_kronos(clone, size, device)
    predictor = accelerate(published, mode=mode)
    engine = predictor._engine
    options = {"T": 1.0, "top_k": 0, "top_p": 0.9, "sample_count": samples, "verbose": False}

    def calls(count: int) -> Calls:
        batch = series_of(count, context)
        candles, numbers = candles_of(*batch, HORIZON, 5.0), noise_size(samples, engine.classes)
        noise = torch.empty(count, HORIZON, numbers, device=device).exponential_()
        return {
            "published": lambda: published.predict_batch(*batch, HORIZON, **options),
            "predictor": lambda: predictor.predict_batch(*batch, HORIZON, **options),
            "engine": lambda: engine.paths(candles, noise, samples, Sampling(1.0, 0, 0.9)),
        }

    return Subject(predictor, lambda count: predictor.warm_up(context, HORIZON, samples, count), calls)


def published_kronos(clone: str, size: str, device: str) -> Any:
    """The published predictor of a clone, with random weights at the published dimensions."""
    if not Path(clone, "model", "kronos.py").is_file():
        raise UserError(f"--clone is {clone!r}; expected a clone of github.com/shiyu-coder/Kronos (model/kronos.py)")
    sys.path.insert(0, str(Path(clone).resolve()))
    from model import Kronos, KronosPredictor, KronosTokenizer

    network, tokenizer = _random("kronos", size), _random("kronos", "base", role="tokenizer", seed=1)
    theirs = Kronos(**network.config.model_dump()), KronosTokenizer(**tokenizer.config.model_dump())
    for module, own in zip(theirs, (network, tokenizer), strict=True):
        module.load_state_dict(own.state_dict())
    return KronosPredictor(theirs[0].eval(), theirs[1].eval(), device=device, max_context=512)


def _random(model: str, size: str, role: str = "model", seed: int = 0) -> Any:
    return model_of(model).random_weights[role].build(size, seed)[1]


def series_of(count: int, context: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Frames of random walks with their times, and times to forecast, of each series its own."""
    frames = []
    for number in range(count):
        random = np.random.default_rng(number)
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, context)))
        prices = {name: close * (1 + random.normal(0, 0.002, context)) for name in ("open", "high", "low", "close")}
        volume = random.lognormal(10, 0.5, context)
        frames.append(pd.DataFrame({**prices, "volume": volume, "amount": volume * close}))
    times = [pd.Series(pd.date_range("2024-01-01", periods=context + HORIZON, freq="h")) for _ in frames]
    return frames, [one[:context] for one in times], [one[context:] for one in times]


def walks(count: int, context: int, device: str) -> torch.Tensor:
    """Random walks [series, 1, context]."""
    return torch.randn(count, 1, context, generator=torch.Generator().manual_seed(0)).cumsum(-1).to(device)


def toto(size: str, device: str, mode: str | None, clone: str) -> Subject:
    """Context 512, 64 samples."""
    from greenlight_forecasters.toto.published import MaskedTimeseries, TotoForecaster

    context, samples = 512, 64
    published = TotoForecaster(_random("toto", size).to(device).eval().model)
    predictor = accelerate(published, mode=mode)

    def calls(count: int) -> Calls:
        series = walks(count, context, device)
        whole, zeros = torch.ones_like(series, dtype=torch.bool), torch.zeros_like(series, dtype=torch.int)
        inputs = MaskedTimeseries(series, whole, zeros, zeros, zeros[:, :, 0])
        return {
            "published": lambda: published.forecast(inputs, HORIZON, samples, samples),
            "predictor": lambda: predictor.forecast(inputs, HORIZON, samples, samples),
            "engine": lambda: predictor._engine.sample(series, HORIZON, samples, list(range(count))),
        }

    return Subject(predictor, lambda count: predictor.warm_up(context, HORIZON, samples, count), calls)


def chronos2(size: str, device: str, mode: str | None, clone: str) -> Subject:
    """Context 512."""
    from greenlight_forecasters.chronos2.published import Chronos2Pipeline

    context = 512
    published = Chronos2Pipeline(_random("chronos-2", size).to(device).eval())
    predictor = accelerate(published, mode=mode)

    def calls(count: int) -> Calls:
        series = walks(count, context, device)
        host = list(series.cpu())
        return {
            "published": lambda: published.predict_quantiles(host, prediction_length=HORIZON),
            "predictor": lambda: predictor.predict_quantiles(host, prediction_length=HORIZON),
            "engine": lambda: predictor._engine.quantiles(series, HORIZON).cpu(),
        }

    return Subject(predictor, lambda count: predictor.warm_up(context, HORIZON, count), calls)


SUBJECTS = {"kronos": kronos, "toto": toto, "chronos-2": chronos2}


def subject_of(name: str, options: argparse.Namespace) -> Subject:
    """The subject `model:size`."""
    model, _, size = name.partition(":")
    if model not in SUBJECTS:
        raise UserError(
            f"{name}: there is no model {model!r}; expected one of {', '.join(SUBJECTS)}, such as toto:base"
        )
    return SUBJECTS[model](size, options.device, options.mode, options.clone)


def seconds_of(call: Callable[[], Any]) -> float:
    """Wall time of a call and of what it gave the device to do."""
    began = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def in_turn(calls: Calls, rounds: int) -> dict[str, list[float]]:
    """Seconds of each call by round, one after the other within a round; a round before them does not count."""
    found = [{name: seconds_of(call) for name, call in calls.items()} for _ in range(rounds + 1)]
    return {name: [one[name] for one in found[1:]] for name in calls}


def guard_seconds(guard: Any) -> float:
    """What a call looks at before it begins, and puts back after it: the median of many."""

    def nothing() -> None:
        with guard.call():
            pass

    return statistics.median(seconds_of(nothing) for _ in range(200))


def throughput(call: Callable[[], Any], rounds: int) -> float:
    """Calls a second from eight threads over those from one."""
    calls = THREADS * rounds
    alone = seconds_of(lambda: [call() for _ in range(calls)])
    with ThreadPoolExecutor(THREADS) as pool:
        return alone / seconds_of(lambda: list(pool.map(lambda _: call(), range(calls))))


def measure(name: str, options: argparse.Namespace) -> list[list[str]]:
    """Rows of the table, one a number of series."""
    subject = subject_of(name, options)
    warm = [seconds_of(lambda count=count: subject.warm(count)) for count in options.series]
    filled = warm_elsewhere(name, options)
    rows = []
    for count, cold, again in zip(options.series, warm, filled, strict=True):
        calls = subject.calls(count)
        seconds = in_turn(calls, options.rounds)
        pairs = list(zip(*(seconds[key] for key in ("published", "predictor", "engine")), strict=True))
        faster = [published / predictor for published, predictor, _ in pairs]
        overhead = statistics.median(predictor / engine for _, predictor, engine in pairs) - 1
        together = throughput(calls["predictor"], 2) if count == options.series[0] else None
        rows.append([
            name, str(count),
            *(f"{1e3 * statistics.median(seconds[key]):.1f}" for key in ("published", "predictor")),
            f"{statistics.median(faster):.1f} ({min(faster):.1f} to {max(faster):.1f})",
            f"{100 * overhead:+.1f}%", f"{1e3 * guard_seconds(subject.predictor._engine.guard):.3f}",
            f"{cold:.1f}", f"{again:.1f}", "" if together is None else f"{together:.2f}",
        ])  # fmt: skip
    return rows


def warm_elsewhere(name: str, options: argparse.Namespace) -> list[float]:
    """Seconds of the same warm-ups in a new process, from the compile cache that this one has filled."""
    own = [name, "--warm", "--clone", options.clone, "--device", options.device]
    own += ["--series", ",".join(map(str, options.series)), *(["--mode", options.mode] if options.mode else [])]
    done = subprocess.run([sys.executable, "-m", "tools.predictors", *own], stdout=subprocess.PIPE, check=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="+", help="model:size, such as kronos:mini")
    parser.add_argument("--clone", default="", help="a clone of github.com/shiyu-coder/Kronos, whose code is run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--series", type=lambda text: list(map(int, text.split(","))), default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", help="one of torch.compile's, or eager; by default as `accelerate` chooses")
    parser.add_argument("--warm", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.warm:
        subject = subject_of(options.subjects[0], options)
        print(json.dumps([seconds_of(lambda count=count: subject.warm(count)) for count in options.series]))
        return 0
    with tempfile.TemporaryDirectory(prefix="predictors-") as folder:
        os.environ |= {variable: f"{folder}/{part}" for variable, part in CACHES.items()}
        rows = [row for name in options.subjects for row in measure(name, options)]
    device = torch.cuda.get_device_name() if options.device != "cpu" else processor_name()
    now = datetime.datetime.now(datetime.UTC)
    print(f"{now:%Y-%m-%d}, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    for row in (COLUMNS, ["---"] * len(COLUMNS), *rows):
        print(f"| {' | '.join(row)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
