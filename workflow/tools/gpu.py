"""What only a GPU can show, in one run: `python -m tools.gpu --folder gpu-results`.

Random weights at true dimensions. Every part is a process of its own, so that a failure costs no other part. Parts
compile at the same time; what they time runs one part after the other, when no part compiles any more. Findings are
kept in `<folder>/results.json` and output in `<folder>/output.log` as they come.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from greenlight.files import read_json, write_json
from greenlight.measures.memory import MemoryMeter
from greenlight.trials.device_settings import DeviceSettings
from greenlight.trials.gpu import device_state, planned_device
from greenlight_forecasters.engine.options import isolation
from tools import gpu_kronos, gpu_toto
from tools.gpu_findings import POLL_SECONDS, Findings


def machine(findings: Findings) -> None:
    """Device, driver, versions; what NVML and the memory meter say; whether the exponential race is multinomial."""
    findings.keep(
        date=datetime.date.today().isoformat(),
        state=device_state(),
        planned=planned_device(DeviceSettings(device="auto")),
        python=platform.python_version(),
        torch=torch.__version__,
        isolation=isolation(),
        capability=torch.cuda.get_device_capability(),
        processors=os.cpu_count(),
    )
    with MemoryMeter("cuda:0") as meter:
        held = torch.ones(2**28, device="cuda")  # 1 GiB
        meter.read()
        del held
        meter.read()
    findings.keep(memory=meter.record(), readings=meter.readings)
    findings.keep(multinomial_is_race=_multinomial_is_race())


def _multinomial_is_race() -> dict[str, int]:
    """In how many of 1000 draws torch.multinomial on the device is argmax(p / exponential) of the same stream."""
    same = 0
    for seed in range(1000):
        chances = torch.rand(8, 1024, device="cuda").softmax(-1)
        torch.manual_seed(seed)
        drawn = torch.multinomial(chances, 1)[:, 0]
        torch.manual_seed(seed)
        noise = torch.empty_like(chances).exponential_(1)
        same += int((drawn == (chances / noise).argmax(-1)).all())
    return {"draws": 1000, "same": same}


def tests(findings: Findings) -> None:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "tests/compilation/test_on_gpu.py", "-v", "--tb=short"]
    done = subprocess.run(command, capture_output=True, text=True)
    findings.keep(exit_code=done.returncode, output=done.stdout.splitlines()[-150:], errors=done.stderr[-2000:])


PARTS: dict[str, Callable[..., None]] = {
    "machine": machine,
    "tests": tests,
    "kronos-crash": gpu_kronos.crash,
    "kronos-one": gpu_kronos.one_symbol,
    "kronos-many": gpu_kronos.many_symbols,
    "toto": gpu_toto.variant,
    "toto-precision": gpu_toto.precision,
    "toto-memory": gpu_toto.memory,
    "toto-exactness": gpu_toto.exact,
    "toto-readiness": gpu_toto.readiness,
    "stages": gpu_toto.stages,
}
ALONE = ("machine", "tests")  # first, and one after the other: they take all memory of the device
DEFAULT = (
    "machine,tests,kronos-crash:mini,kronos-one:small,kronos-one:mini,kronos-many:small,kronos-many:mini,"
    "toto:static-eager,toto:static-default,toto:static-reduce-overhead,toto:static-max-autotune,"
    "toto:upstream-reduce-overhead,toto:host-index-reduce-overhead,toto-precision:tf32,toto-precision:bf16,toto-memory,toto-exactness,toto-readiness,stages"
)


def run_part(name: str, folder: Path) -> None:
    """In a child: one part, `kind` or `kind:argument`; an exception is kept as a finding."""
    kind, _, argument = name.partition(":")
    findings = Findings(folder / f"{name}.json")
    try:
        PARTS[kind](findings, *([argument] if argument else []))
    except Exception as error:
        findings.keep(failed=f"{type(error).__name__}: {error}"[:2000], traceback=traceback.format_exc()[-4000:])
        raise


class Part:
    """A part's process and its files."""

    def __init__(self, name: str, folder: Path, compile_threads: int) -> None:
        self.name, self.file = name, folder / f"{name}.json"
        self.log = folder / f"{name}.log"
        self.began = time.monotonic()
        self.note = ""
        caches = {
            "TORCHINDUCTOR_CACHE_DIR": str(folder / f"cache-{name}"),
            "TORCHINDUCTOR_COMPILE_THREADS": str(compile_threads),
        }
        command = [sys.executable, "-m", "tools.gpu", "--part", name, "--folder", str(folder)]
        with self.log.open("w") as log:
            environment = {**os.environ, **caches, "PYTHONUNBUFFERED": "1"}
            # A session of its own, so that its compile workers end with it.
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    @property
    def ready(self) -> bool:
        """Whether it waits for its turn."""
        return self.file.with_suffix(".ready").exists()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def stop(self, why: str) -> None:
        """End it and what it started."""
        if not self.over:
            self.note = why
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def found(self) -> dict[str, Any]:
        """What it kept, how it ended, and the last of its output."""
        values = read_json(self.file) if self.file.exists() else {}
        lines = self.log.read_text(errors="replace").splitlines()
        return values | {
            "exit_code_of_part": self.process.returncode,
            "note": self.note,
            "seconds_of_part": round(time.monotonic() - self.began, 1),
            "log_tail": lines[-12:],
        }


def run_all(
    names: Sequence[str], folder: Path, compile_seconds: float, seconds: float, compile_threads: int = 4
) -> None:
    """Run the parts and write results.json after each.

    Args:
        compile_seconds: from the start; parts that are not ready for their turn by then are ended.
        seconds: from the start; whatever still runs is ended.
        compile_threads: of each part.
    """
    began = time.monotonic()
    results: dict[str, Any] = {}
    scratch = Path(tempfile.mkdtemp())

    def left(limit: float) -> float:
        return limit - (time.monotonic() - began)

    def note(part: Part) -> None:
        results[part.name] = part.found()
        write_json(folder / "results.json", results)
        with (folder / "output.log").open("a") as log:
            log.write(f"==== {part.name}\n{part.log.read_text(errors='replace')[-100_000:]}\n")
        print(f"{time.monotonic() - began:5.0f} s {part.name} {part.process.returncode} {part.note}", flush=True)

    def wait(parts: list[Part], limit: float, until_ready: bool) -> None:
        open_parts = list(parts)
        while open_parts:
            for part in list(open_parts):
                if not part.over and left(limit) <= 0:
                    part.stop("ended: out of time")
                if part.over:
                    note(part)
                if part.over or (until_ready and part.ready):
                    open_parts.remove(part)
            time.sleep(POLL_SECONDS)

    for name in names:
        if name.partition(":")[0] in ALONE:
            wait([Part(name, scratch, compile_threads)], compile_seconds, until_ready=False)
    parts = [Part(name, scratch, compile_threads) for name in names if name.partition(":")[0] not in ALONE]
    wait(parts, compile_seconds, until_ready=True)
    print(f"{time.monotonic() - began:5.0f} s no part compiles any more", flush=True)
    for part in parts:
        if not part.over:
            part.file.with_suffix(".go").touch()
            wait([part], seconds, until_ready=False)
    shutil.rmtree(scratch, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--parts", default=DEFAULT)
    parser.add_argument("--compile-seconds", type=float, default=390)
    parser.add_argument("--seconds", type=float, default=560)
    parser.add_argument("--compile-threads", type=int, default=4, help="of each part")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        run_part(options.part, options.folder)
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    run_all(options.parts.split(","), options.folder, options.compile_seconds, options.seconds, options.compile_threads)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
