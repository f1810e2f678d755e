"""What others do to the machine while something is timed: load of the processors, state of the GPU.

Read from the child that times, outside of what is timed. Linux tells; elsewhere shares are None, which judges nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from greenlight.trials.gpu import device_condition

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.5


class Watch:
    """What happens on the machine from now until `read`.

    Args:
        device: the torch device whose state is read at the end; a CPU has none.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.begin, self.busy, self.own, self.waited = self._now()

    def read(self) -> dict[str, Any]:
        """What happened until now.

        Returns:
            {"seconds", "processors": how many this process may run on, "foreign": share of their time that others
            used, "waited": seconds for which threads of this process waited for a processor, as a share of the
            time, "device": see `gpu.device_condition`, None on a CPU}
        """
        now, busy, own, waited = self._now()
        seconds = now - self.begin
        foreign = None
        if busy is not None and self.busy is not None and seconds > 0:
            foreign = max(0.0, (busy - self.busy) - (own - self.own)) / (seconds * len(self.processors))
        return {
            "seconds": seconds,
            "processors": len(self.processors),
            "foreign": None if foreign is None else min(1.0, foreign),
            "waited": None if waited is None or self.waited is None else max(0.0, waited - self.waited) / seconds,
            "device": device_condition(self.device),
        }

    def _now(self) -> tuple[float, float | None, float, float | None]:
        """(time, seconds that the processors were busy, seconds that this process and its own used, seconds waited)."""
        return time.perf_counter(), _busy_seconds(self.processors), _own_seconds(), _waited_seconds()


def glance(device: str = "cpu") -> dict[str, Any]:
    """What others do now: `Watch` over half a second in which this process does nothing."""
    watch = Watch(device)
    time.sleep(_LOOK_SECONDS)
    return watch.read()


def is_busy(found: dict[str, Any], limit: float) -> bool:
    """Whether others used more than a share of the processors, or disturb the GPU; what is not known counts as busy."""
    device = found["device"] or {}
    return found["foreign"] is None or found["foreign"] > limit or bool(device.get("throttled"))


def wait_until_quiet(limit: float, seconds: float, device: str = "cpu", see: Callable[..., Any] = glance) -> float:
    """Wait until others leave the machine alone, at most some seconds; returns those that it took."""
    begin = time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds and is_busy(see(device), limit):
        pass
    return spent


def _busy_seconds(processors: list[int]) -> float | None:
    """Seconds since boot that these processors worked for anybody, a hypervisor's other guests included."""
    wanted, busy = {f"cpu{number}" for number in processors}, 0.0
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
            name, *ticks = line.split()
            if name in wanted:
                # user, nice, system, idle, iowait, irq, softirq, steal; guests are within user.
                busy += sum(int(tick) for place, tick in enumerate(ticks[:8]) if place not in (3, 4)) / _TICKS
                wanted.remove(name)
        return None if wanted or not processors else busy
    return None


def _own_seconds() -> float:
    """Processor seconds of this process and all its descendants, the ended ones included."""
    used = sum(os.times()[:4])
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            used += sum(child.cpu_times()[:4])
    return used


def _waited_seconds() -> float | None:
    """Seconds for which this process' threads were ready to run and did not; None where the kernel does not count."""
    try:
        files = list(Path("/proc/self/task").glob("*/schedstat"))
        return sum(int(file.read_text().split()[1]) for file in files) / 1e9 if files else None
    except (OSError, ValueError, IndexError):
        return None
