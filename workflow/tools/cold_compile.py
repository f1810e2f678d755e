"""What compiling a static model costs from an empty cache: `python -m tools.cold_compile`.

Each case is a process of its own with an empty cache folder. Counted are the CPU seconds of that process until its
first forecast is there, of the compilers it started and of their children, less those of a second forecast; the
process starts Python and torch as well, which is told apart. With `--warm` each case starts once more from its cache.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from greenlight.watch.caches import cache_environment, cache_size
from tools import kronos

CASES = ("kronos-mini", "kronos-small", "kronos-base", "toto")


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def prepared(case: str) -> Callable[[], object]:
    """A call of the model's static implementation that compiles at its first run; CPU, published dimensions."""
    if case.startswith("kronos-"):
        static = kronos.build(case.removeprefix("kronos-"), kronos.KronosStatic, "cpu")
        static.compile("default")
        windows = [kronos.walk("S0", 256, 30)]
        return lambda: static.forecast(windows, 8, 0)
    from tools import toto  # needs toto-ts

    timed = toto.Case(horizon=96, samples=256, windows=1)
    run = toto.static_runner(
        "base", toto.Variant.parse("static-default"), Namespace(cases=[timed], context=512, device="cpu")
    )
    return lambda: run(timed)


def measure(case: str) -> dict[str, float]:
    """Of this process: CPU seconds before compiling, and those of the first call beyond the second; wall seconds."""
    started = time.perf_counter()
    run = prepared(case)
    before = cpu_seconds()
    run()
    first = cpu_seconds()
    wall = time.perf_counter() - started
    run()
    second = cpu_seconds() - first
    return {"before": before, "compile": first - before - second, "wall": wall}


def in_process(case: str, threads: int, environment: dict[str, str]) -> dict[str, float]:
    """`measure` in a process with this environment on top."""
    command = [sys.executable, "-m", __spec__.name, "--measure", case, "--threads", str(threads)]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table of CPU seconds."""
    parser = argparse.ArgumentParser(prog="python -m tools.cold_compile", description=main.__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["kronos-mini", "kronos-small"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--warm", action="store_true", help="start each case once more from the cache it filled")
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return 0
    print(kronos.platform_line("cpu") + "\n")
    print("| case | cache | CPU s in all | start of Python and weights | compilation | wall s | cache, MB |")
    print("|---|---|---|---|---|---|---|")
    for case in options.cases:
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:
                environment = cache_environment(Path(folder))
                for cache in ("empty", "filled")[: 1 + options.warm]:
                    found = in_process(case, options.threads, environment)
                    size = cache_size(Path(folder))["bytes"] / 1e6
                    print(
                        f"| {case} | {cache} | **{found['before'] + found['compile']:.1f}** | {found['before']:.1f} "
                        f"| {found['compile']:.1f} | {found['wall']:.1f} | {size:.1f} |",
                        flush=True,
                    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
