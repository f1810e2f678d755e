"""Predictors against the published ones and against their bare engine: `python -m tools.predictors --help`.

Random weights at the published dimensions, in one process and in turn: medians of the paired ratios over `--rounds`,
after warm-up. Kronos: the published `KronosPredictor.predict_batch` of a clone (`--published`), the predictor that
`accelerate` makes of it, and the same engine called with candles and random numbers that are there already. Toto: the
published `TotoForecaster`, and the predictor. Eight threads at once against one after the other. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from greenlight_forecasters.deploy import accelerate
from greenlight_forecasters.kronos.predictor import candles_of
from greenlight_forecasters.kronos.sampling import Sampling, noise_size
from tools import random_weights

COLUMNS = ["open", "high", "low", "close", "volume", "amount"]
THREADS = 8


def published_kronos(folder: str, size: str, device: str) -> Any:
    """The published predictor of a clone, with random weights at the published dimensions."""
    sys.path.insert(0, folder)
    try:
        from model import Kronos, KronosPredictor, KronosTokenizer
    finally:
        sys.path.remove(folder)
    (_, network), (_, tokenizer) = random_weights.kronos(size, 0), random_weights.kronos_tokenizer(seed=1)
    model, own = network.config.model_dump(), tokenizer.config.model_dump()
    theirs, their_tokenizer = Kronos(**model), KronosTokenizer(**own)
    theirs.load_state_dict(network.state_dict())
    their_tokenizer.load_state_dict(tokenizer.state_dict())
    return KronosPredictor(theirs.eval(), their_tokenizer.eval(), device=device, max_context=512)


def series_of(count: int, context: int, horizon: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Frames of random walks with their times, and times to forecast."""
    frames = []
    for number in range(count):
        random = np.random.default_rng(number)
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, context)))
        prices = {name: close * (1 + random.normal(0, 0.002, context)) for name in COLUMNS[:4]}
        volume = random.lognormal(10, 0.5, context)
        frames.append(pd.DataFrame({**prices, "volume": volume, "amount": volume * close}))
    times = pd.Series(pd.date_range("2024-01-01", periods=context + horizon, freq="h"))
    return frames, [times[:context]] * count, [times[context:]] * count


def kronos(folder: str, device: str, size: str, mode: str | None, count: int, rounds: int) -> dict[str, Any]:
    """Context 256, horizon 30, 8 samples."""
    context, horizon, samples = 256, 30, 8
    published = published_kronos(folder, size, device)
    predictor = accelerate(published, mode=mode)
    started = time.perf_counter()
    predictor.warm_up(context, horizon, samples, count)
    warm_seconds = time.perf_counter() - started
    batch = series_of(count, context, horizon)
    engine, candles = predictor._engine, candles_of(*batch, horizon, 5.0)
    numbers = noise_size(samples, engine.network.config.classes)
    noise = torch.empty(count, horizon, numbers, device=device).exponential_()
    options = {"T": 1.0, "top_k": 0, "top_p": 0.9, "sample_count": samples, "verbose": False}
    seconds = in_turn(
        {
            "published": lambda: published.predict_batch(*batch, horizon, **options),
            "predictor": lambda: predictor.predict_batch(*batch, horizon, **options),
            "engine": lambda: engine.paths(candles, noise, samples, Sampling(1.0, 0, 0.9)),
        },
        rounds,
        device,
    )
    one = lambda: predictor.predict_batch(*batch, horizon, **options)  # noqa: E731
    return {"warm_up_seconds": warm_seconds, **compared(seconds), "threads": threads(one, rounds)}


def toto(device: str, size: str, mode: str | None, rounds: int) -> dict[str, Any]:
    """Context 512, horizon 30, 256 samples; of size base, which is the published one."""
    from greenlight_forecasters.toto.published import MaskedTimeseries, TotoForecaster

    published = TotoForecaster(random_weights.toto(size, 0)[1].to(device).eval().model)
    predictor = accelerate(published, mode=mode)
    started = time.perf_counter()
    predictor.warm_up(512, 30, samples=256)
    warm_seconds = time.perf_counter() - started
    series = torch.randn(1, 1, 512, generator=torch.Generator().manual_seed(0)).cumsum(-1).to(device)
    whole, zeros = torch.ones_like(series, dtype=torch.bool), torch.zeros_like(series, dtype=torch.int)
    inputs = MaskedTimeseries(series, whole, zeros, zeros, torch.zeros(1, 1, dtype=torch.int, device=device))
    seconds = in_turn(
        {
            "published": lambda: published.forecast(inputs, 30, 256, 256),
            "predictor": lambda: predictor.forecast(inputs, 30, 256, 256),
            "engine": lambda: predictor._engine.sample(series, 30, 256, [0]),
        },
        rounds,
        device,
    )
    return {"warm_up_seconds": warm_seconds, **compared(seconds)}


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each call by round, one after the other within a round; a round before them does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if device != "cpu":
                torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def compared(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, how many times as fast as the published one, and the predictor's time over its engine's."""
    pairs = list(zip(*(seconds[name] for name in ("published", "predictor", "engine")), strict=True))
    return {
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "times_as_fast": statistics.median(published / predictor for published, predictor, _ in pairs),
        "overhead": statistics.median(predictor / engine for _, predictor, engine in pairs) - 1,
    }


def threads(call: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Calls a second from one thread, and from eight."""
    calls = THREADS * rounds
    started = time.perf_counter()
    for _ in range(calls):
        call()
    alone = calls / (time.perf_counter() - started)
    with ThreadPoolExecutor(THREADS) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: call(), range(calls)))
        together = calls / (time.perf_counter() - started)
    return {"calls_a_second_of_one": alone, f"of_{THREADS}": together}


def main() -> None:
    """Measure what the options name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", help="a clone of github.com/shiyu-coder/Kronos, whose code is run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", default="small", help="mini, small or base")
    parser.add_argument("--series", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mode", help="one of torch.compile's, or eager; by default as `accelerate` chooses")
    parser.add_argument("--toto", help="measure Toto too, of size base or small")
    chosen = parser.parse_args()
    device = chosen.device
    name = torch.cuda.get_device_name() if device != "cpu" else f"CPU, {torch.get_num_threads()} threads"
    found: dict[str, Any] = {"device": name, "torch": torch.__version__}
    if chosen.published:
        folder = str(Path(chosen.published).resolve())
        for count in chosen.series:
            found[f"kronos {chosen.size}, {count} series"] = kronos(
                folder, device, chosen.size, chosen.mode, count, chosen.rounds
            )
    if chosen.toto:
        found[f"toto {chosen.toto}"] = toto(device, chosen.toto, chosen.mode, chosen.rounds)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
