"""Whether `static` gives what `upstream` gives at the published dimensions.

    python -m tools.kronos_exactness

Random weights. Each row: all tokens that both draw with the same random numbers, and the largest difference of the
teacher-forced logits over all steps. Exit code 1 where a row is outside the limits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.upstream import KronosUpstream
from tools.kronos import SIZES, build, platform_line, walk

# By number format: the largest difference of logits, and the smallest share of equal tokens.
LIMITS = {"float32": (2e-5, 0.999), "float64": (1e-12, 0.999)}
# Factor of the heads' weights: as initialised the distributions are flat; times 5 logits reach 12, which is sharp, and
# about where the absolute limit of float32 stands: rounding grows with the logits.
SHARPNESS = {"flat": 1.0, "sharp": 5.0}


@dataclass(frozen=True)
class Case:
    """What is compared."""

    size: str
    dtype: str
    context: int
    horizon: int
    samples: int
    symbols: int
    shape: str = "flat"


def cases() -> list[Case]:
    """Contexts of 16 to 700 (max_context is 512), horizons of 1 to 120, 1 to 128 samples, 1 to 64 symbols."""
    mini = [
        (16, 1, 1, 1), (64, 120, 1, 1), (256, 30, 8, 1), (500, 30, 2, 1), (512, 12, 4, 1), (700, 6, 2, 2),
        (16, 5, 128, 1), (32, 4, 2, 64),
    ]  # fmt: skip
    small = [(16, 4, 8, 2), (128, 12, 8, 1), (508, 8, 2, 1), (512, 4, 2, 1)]
    base = [(16, 4, 8, 2), (128, 6, 4, 1), (512, 3, 2, 1)]
    double = [(48, 8, 4, 2), (512, 3, 2, 1)]
    found = [Case("mini", "float32", *case, shape=shape) for case in mini for shape in SHARPNESS]
    for size, own in (("small", small), ("base", base)):
        found += [Case(size, "float32", *case, shape=shape) for case in own for shape in SHARPNESS]
    return found + [
        Case(size, "float64", *case, shape=shape)
        for size in SIZES
        for case, shape in zip(double, SHARPNESS, strict=True)
    ]


def compare(case: Case, mode: str) -> tuple[float, int, float, float]:
    """Share of equal tokens, how many tokens there were, largest difference of logits, largest logit."""
    windows = [walk(f"S{number}", case.context, case.horizon) for number in range(case.symbols)]
    dtype, sharpness = getattr(torch, case.dtype), SHARPNESS[case.shape]
    upstream, static = (
        build(case.size, kind, "cpu", dtype=dtype, sharpness=sharpness, windows_per_batch=case.symbols)
        for kind in (KronosUpstream, KronosStatic)
    )
    if mode != "eager":
        static.compile(mode)
    found = static.sample(windows, case.samples, 1)[1]
    equal = []
    for row, window in enumerate(windows):
        expected = upstream.sample(window, case.samples, 1)
        equal += [part[row] == other[:, case.context :] for part, other in zip(found, expected, strict=True)]
    share = torch.stack(equal)
    logits, own = upstream.probe(windows), static.probe(windows)
    names = ("s1_logits", "s2_logits")
    furthest = max(float(np.abs(own[name] - logits[name]).max()) for name in names)
    largest = max(float(np.abs(logits[name]).max()) for name in names)
    return float(share.double().mean()), share.numel(), furthest, largest


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table, one row a case."""
    parser = argparse.ArgumentParser(prog="python -m tools.kronos_exactness", description=main.__doc__)
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=list(SIZES))
    parser.add_argument("--mode", default="eager", help="mode of torch.compile for static, or eager")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f"{platform_line('cpu')}; static in mode {options.mode}\n")
    print(
        "| size | format | context | horizon | samples | symbols | weights | equal tokens | logits differ by | of | s |"
    )
    print("|" + "---|" * 11)
    good = True
    for case in cases():
        if case.size not in options.sizes:
            continue
        torch.compiler.reset()
        started = time.perf_counter()
        share, count, furthest, largest = compare(case, options.mode)
        limit, least = LIMITS[case.dtype]
        good &= furthest <= limit and share >= least
        print(
            f"| {case.size} | {case.dtype} | {case.context} | {case.horizon} | {case.samples} | {case.symbols} | "
            f"{case.shape} | {100 * share:.3f}% of {count} | {furthest:.1e} | "
            f"{largest:.1f} | {time.perf_counter() - started:.1f} |",
            flush=True,
        )
    print("\nAll within the limits." if good else "\nNot all within the limits.")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
