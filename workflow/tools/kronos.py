"""How much faster `static` is than the published algorithm: `python -m tools.kronos`.

Random weights at the published dimensions, whole calls (encode, decode loop, decode), both implementations in one
process and in turn; a row's figures are the medians of the paired ratios, by the wall clock and by CPU seconds of the
process, which a busy machine disturbs less. `upstream` forecasts one window at a time, so its time for several
symbols is that of one, times their number, where `--all-symbols` is not given.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from greenlight.data.windows import Window
from greenlight.measures.memory import MemoryMeter
from greenlight.provenance import processor_name
from greenlight.watch.health import HealthRecorder
from greenlight_forecasters.kronos.config import ModelConfig, Settings, TokenizerConfig
from greenlight_forecasters.kronos.network import KronosNetwork
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.tokenizer import KronosTokenizer
from greenlight_forecasters.kronos.upstream import KronosUpstream

# layers, width, heads, MLP: https://github.com/shiyu-coder/Kronos
SIZES = {"mini": (4, 256, 4, 512), "small": (8, 512, 8, 1024), "base": (12, 832, 16, 2048)}
BITS = 10
SETTINGS = {"temperature": 0.7, "top_p": 0.9, "max_context": 512}


@dataclass(frozen=True)
class Case:
    """What is timed."""

    size: str
    mode: str
    symbols: int
    context: int


def network_of(size: str, seed: int) -> KronosNetwork:
    """A network with seeded random weights, in a size of SIZES."""
    layers, width, heads, hidden = SIZES[size]
    torch.manual_seed(seed)
    config = ModelConfig(
        s1_bits=BITS, s2_bits=BITS, n_layers=layers, d_model=width, n_heads=heads, ff_dim=hidden, learn_te=True
    )
    return KronosNetwork(config)


def tokenizer_of(seed: int | None = None) -> KronosTokenizer:
    """A tokenizer at the published dimensions; where no seed is given, with the random numbers that are next."""
    if seed is not None:
        torch.manual_seed(seed)
    config = TokenizerConfig(
        d_in=6, d_model=256, n_heads=4, ff_dim=512, n_enc_layers=4, n_dec_layers=4,
        s1_bits=BITS, s2_bits=BITS, group_size=5,
    )  # fmt: skip
    return KronosTokenizer(config)


def build(
    size: str,
    kind: type[KronosUpstream] | type[KronosStatic],
    device: str,
    dtype: torch.dtype = torch.float32,
    sharpness: float = 1.0,
    **settings: Any,
) -> KronosUpstream | KronosStatic:
    """A forecaster with seeded random weights at the dimensions of a published model; settings beside SETTINGS.

    `sharpness` multiplies the weights of the heads, and with them the logits.
    """
    network, tokenizer = network_of(size, 0), tokenizer_of()
    with torch.no_grad():
        for head in (network.head.proj_s1, network.head.proj_s2):
            head.weight.mul_(sharpness)
    return kind(network, tokenizer, Settings(**SETTINGS, **settings), device, dtype)


def walk(symbol: str, context: int, horizon: int) -> Window:
    """A seeded random walk of hourly candles."""
    generator = np.random.default_rng(list(symbol.encode()))
    rows = context + horizon
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.01, rows)))
    spread = np.abs(generator.normal(0, 0.004, (2, rows))) * close
    opening = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(opening, close) + spread[0], np.minimum(opening, close) - spread[1]
    values = np.column_stack((opening, high, low, close, generator.lognormal(10, 0.5, rows)))
    times = np.datetime64("2024-01-02T00:00", "ns") + np.arange(rows) * np.timedelta64(1, "h")
    return Window(symbol, 0, values[:context], values[context:], times)


def seconds(call: Callable[[], Any], device: str) -> tuple[float, float]:
    """Wall-clock seconds of one call, and CPU seconds of the process."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started, used = time.perf_counter(), time.process_time()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started, time.process_time() - used


def measure(case: Case, options: argparse.Namespace) -> list[str]:
    """One row of the table: the columns of HEADER."""
    windows = [walk(f"S{number}", case.context, options.horizon) for number in range(case.symbols)]
    upstream = build(case.size, KronosUpstream, options.device)
    static = build(case.size, KronosStatic, options.device)
    if case.mode != "eager":
        static.compile(case.mode)
    timed = windows if options.all_symbols else windows[:1]

    def run_static() -> np.ndarray:
        return static.forecast(windows, options.samples, options.seed)

    def run_upstream() -> np.ndarray:
        return upstream.forecast(timed, options.samples, options.seed)

    torch.compiler.reset()
    with HealthRecorder() as recorder:
        first, _ = seconds(run_static, options.device)
        run_static()
        recorder.end_of_warm_up()
        pairs = list(in_turn(run_upstream, run_static, options.repeats, options.device))
        # Tokens that differ move a price by far more than rounding does.
        same = np.isclose(run_static()[: len(timed)], run_upstream(), rtol=1e-4).all(axis=-1).mean()
        beyond = beyond_weights(run_upstream, run_static, static)
    health = recorder.record()
    scale = len(windows) / len(timed)
    published, fast = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
    ratio, by_cpu = (statistics.median(slow[kind] * scale / quick[kind] for slow, quick in pairs) for kind in (0, 1))
    return [
        case.size,
        case.mode,
        str(case.symbols),
        str(case.context),
        f"{published * scale:.2f}",
        f"{fast:.3f}",
        f"**{ratio:.1f}x**",
        f"{by_cpu:.1f}x",
        f"{100 * same:.1f}%",
        f"{health['graphs']} / {len(health['graph_breaks'])} / {health['recompiles_after_warm_up']}",
        f"{health['compile_seconds']['total']:.0f}" if case.mode != "eager" else "",
        f"{first:.1f}",
        " / ".join(f"{size / 1e6:.0f}" for size in beyond),
    ]


def beyond_weights(
    run_upstream: Callable[[], Any], run_static: Callable[[], Any], static: KronosStatic
) -> tuple[int, int]:
    """Bytes of host memory beyond the weights: the peak of an `upstream` call; static's buffers and a call's peak."""
    peaks = []
    for call in (run_upstream, run_static):
        with MemoryMeter() as meter:
            call()
        record = meter.record()
        peaks.append(record["host_peak_bytes"] - record["host_begin_bytes"])
    weights = static.weights
    kept = sum(each.nbytes for each in static.decoder.buffers()) - sum(each.nbytes for each in weights.buffers())
    kept += sum(table.nbytes for table in (weights.table_s1, weights.table_s2, weights.table_query))
    return peaks[0], peaks[1] + kept


HEADER = (
    "size",
    "mode",
    "symbols",
    "context",
    "upstream s",
    "static s",
    "ratio",
    "by CPU seconds",
    "same paths",
    "graphs / breaks / recompiles after warm-up",
    "compile s",
    "first call s",
    "MB beyond the weights, upstream / static",
)


def in_turn(
    reference: Callable[[], Any], variant: Callable[[], Any], repeats: int, device: str
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Pairs of `seconds`, reference and variant, the order turned at every pair."""
    for number in range(repeats):
        if number % 2:
            fast = seconds(variant, device)
            yield seconds(reference, device), fast
        else:
            slow = seconds(reference, device)
            yield slow, seconds(variant, device)


def cases(options: argparse.Namespace) -> list[Case]:
    """Sizes by symbols at the context, and one sliding case a size at max_context."""
    found = [
        Case(size, mode, symbols, options.context)
        for size in options.sizes
        for mode in options.modes
        for symbols in options.symbols
    ]
    if not options.no_sliding:
        found += [Case(size, mode, 1, 512) for size in options.sizes for mode in options.modes]
    return found


def environment(options: argparse.Namespace) -> str:
    """One line on what the figures belong to."""
    return (
        f"{platform_line(options.device)}; {options.samples} samples, horizon {options.horizon}, "
        f"max_context {SETTINGS['max_context']}, temperature {SETTINGS['temperature']}, top-p {SETTINGS['top_p']}, "
        f"float32, {options.repeats} pairs"
    )


def platform_line(device: str) -> str:
    """Date, processor or GPU, threads and versions."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else processor_name()
    return (
        f"{datetime.date.today()}, {name}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table of ratios."""
    parser = argparse.ArgumentParser(prog="python -m tools.kronos", description=main.__doc__)
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=list(SIZES))
    parser.add_argument("--modes", nargs="+", default=["default"], help="modes of torch.compile, or eager")
    parser.add_argument("--symbols", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--horizon", type=int, default=30)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-sliding", action="store_true", help="leave out the case with a context of 512")
    parser.add_argument("--all-symbols", action="store_true", help="time upstream on every symbol, not on one")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(environment(options) + "\n")
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
    for case in cases(options):
        print("| " + " | ".join(measure(case, options)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
