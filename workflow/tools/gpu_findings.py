"""What the parts of the GPU benchmark share: a file of findings, a turn on the device, timing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from greenlight.files import write_json

POLL_SECONDS = 0.1


class Findings:
    """What a part has found so far, kept in a file after every addition."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: dict[str, Any] = {}

    def keep(self, **values: Any) -> None:
        """Add values by name."""
        self._values |= values
        write_json(self._file, self._values)

    def wait_for_turn(self) -> None:
        """Wait until no other part runs on the device; the part then has it to itself until it ends."""
        self._file.with_suffix(".ready").touch()
        while not self._file.with_suffix(".go").exists():
            time.sleep(POLL_SECONDS)


def in_turn(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, to the end of what it started on the device, one after the other in each repeat."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            torch.cuda.synchronize()
            started = time.perf_counter()
            call()
            torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def memory_of(call: Callable[[], Any]) -> dict[str, int]:
    """Bytes on the device, as torch's allocator has them: held before a call, and at its peak."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return {
        "held_bytes": before,
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.memory_reserved(),
    }


def error_of(error: BaseException) -> str:
    """Type and the first 1500 characters of a message."""
    return f"{type(error).__name__}: {error}"[:1500]
