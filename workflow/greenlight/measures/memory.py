"""Peak memory of a block, and readings between repeated calls."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import psutil


class MemoryMeter:
    """Peak memory of this process within a `with` block, and readings between calls.

        with MemoryMeter("cuda:0") as meter:
            for _ in range(20):
                call()
                meter.read()
        meter.record(), meter.readings["host_bytes"]

    The host's peak is the kernel's own high-water mark, reset on entry (Linux); where that is refused, the largest
    reading stands in and `exact` is False. The device's peak is that of torch's allocator, reset on entry: it
    leaves out the CUDA context and what libraries allocate themselves.

    Attributes:
        readings: {"host_bytes": resident bytes after each `read`, "device_bytes": bytes allocated on the device}.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.readings: dict[str, list[int]] = {"host_bytes": [], "device_bytes": []}
        self._process = psutil.Process()
        self._exact = False
        self._begin = 0
        self._peak: dict[str, Any] | None = None

    def __enter__(self) -> MemoryMeter:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._exact = True
        self._begin = self._process.memory_info().rss
        if self._on_device:
            import torch

            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        return self

    def __exit__(self, *exception: object) -> None:
        self._peak = self._now()

    def read(self) -> None:
        """Note the memory that is held now; between calls, when nothing is in flight."""
        self.readings["host_bytes"].append(self._process.memory_info().rss)
        if self._on_device:
            import torch

            self.readings["device_bytes"].append(torch.cuda.memory_allocated(self.device))

    def record(self) -> dict[str, Any]:
        """{"host_peak_bytes", "host_begin_bytes", "exact", "device_peak_bytes", "device_reserved_bytes"}.

        The device figures are None on a CPU.
        """
        return self._now() if self._peak is None else self._peak

    @property
    def _on_device(self) -> bool:
        return self.device.startswith("cuda")

    def _now(self) -> dict[str, Any]:
        record = {
            "host_peak_bytes": self._host_peak(),
            "host_begin_bytes": self._begin,
            "exact": self._exact,
            "device_peak_bytes": None,
            "device_reserved_bytes": None,
        }
        if self._on_device:
            import torch

            record["device_peak_bytes"] = torch.cuda.max_memory_allocated(self.device)
            record["device_reserved_bytes"] = torch.cuda.max_memory_reserved(self.device)
        return record

    def _host_peak(self) -> int:
        held: list[int] = [self._begin, self._process.memory_info().rss, *self.readings["host_bytes"]]
        if self._exact:
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    held.append(int(line.split()[1]) * 1024)
        return max(held)
