"""A command under a supervisor and limits: memory, time, progress; and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from greenlight.errors import shown
from greenlight.trials.environment import kept

PROGRESS_SECONDS = 15.0
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Limits:
    """What a trial may use: wall-clock seconds, and resident bytes of its process tree (None: no limit)."""

    seconds: float
    memory_bytes: int | None = None


@dataclass
class End:
    """How the child ended, as seen from outside."""

    exit_code: int | None = None
    signal: str | None = None
    seconds: float = 0.0
    peak_memory_bytes: int | None = None
    stopped_for: str = ""  # "time", "memory", or "" where the child ended by itself
    killed_by_kernel: bool = False


def supervise(command: list[str], log: Path, limits: Limits, environment: Mapping[str, str], what: str) -> End:
    """Run the command under the supervisor and the limits."""
    control_read, control_write = os.pipe()
    status_read, status_write = os.pipe()
    kills_before = _out_of_memory_kills()
    supervisor = [sys.executable, "-m", "greenlight.trials.supervisor", str(control_read), str(status_write)]
    with log.open("wb") as output, _interruptible():
        process = subprocess.Popen(
            [*supervisor, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # faulthandler from the first import on: a crash while importing torch leaves a stack as well.
            env={**kept(os.environ), "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1", **environment},
            pass_fds=(control_read, status_write),
            start_new_session=True,
        )
        os.close(control_read)
        os.close(status_write)
        watch = _Watch(process.pid, status_read, log, limits, what)
        try:
            watch.until_end()
        finally:
            os.close(control_write)  # the supervisor ends whatever still runs
            watch.drain()
            os.close(status_read)
            process.wait()
    status = watch.status
    return End(
        exit_code=status.get("exit_code"),
        signal=status.get("signal"),
        seconds=time.monotonic() - watch.begin,
        peak_memory_bytes=max(watch.peak_bytes, status.get("peak_memory_bytes") or 0) or None,
        stopped_for=watch.stopped_for,
        killed_by_kernel=_out_of_memory_kills() > kills_before,
    )


class _Watch:
    """Follows a running trial: limits, memory, progress."""

    def __init__(self, pid: int, status_fd: int, log: Path, limits: Limits, what: str) -> None:
        self.pid, self.status_fd, self.log, self.limits, self.what = pid, status_fd, log, limits, what
        self.begin = time.monotonic()
        self.status: dict[str, Any] = {}
        self.peak_bytes = 0
        self.stopped_for = ""
        self._buffer = b""
        self._tree: list[psutil.Process] = []
        self._tree_until = 0.0
        self._next_progress = self.begin + PROGRESS_SECONDS

    def until_end(self) -> None:
        """Return when the child has ended or was found over a limit."""
        while not self._read_status(_POLL_SECONDS):
            now = time.monotonic()
            used = self._memory(now)
            self.peak_bytes = max(self.peak_bytes, used)
            if self.limits.memory_bytes is not None and used > self.limits.memory_bytes:
                self.stopped_for = "memory"
            elif now - self.begin > self.limits.seconds:
                self.stopped_for = "time"
            if self.stopped_for:
                self._ask_for_stack()
                return
            if now >= self._next_progress:
                self._say(now, used)

    def drain(self) -> None:
        """Wait for the supervisor's last word."""
        while not self._read_status(15.0):
            return

    def _read_status(self, seconds: float) -> bool:
        """Read what the supervisor writes for a while; True when it has reported the end or is gone."""
        if "exit_code" in self.status or self.status.get("gone"):
            return True
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and select.select([self.status_fd], [], [], left)[0]:
            part = os.read(self.status_fd, 4096)
            if not part:
                self.status.setdefault("gone", True)
                return True
            *lines, self._buffer = (self._buffer + part).split(b"\n")
            for line in lines:
                self.status |= json.loads(line)
            if "exit_code" in self.status:
                return True
        return False

    def _memory(self, now: float) -> int:
        """Resident bytes of the process tree; shared pages count once where the sum is over the limit."""
        if now >= self._tree_until:
            with contextlib.suppress(psutil.Error):
                self._tree = psutil.Process(self.pid).children(recursive=True)
            self._tree_until = now + (0.0 if now - self.begin < 2 else 1.0)
        used = sum(_resident(one) for one in self._tree)
        if self.limits.memory_bytes is not None and used > self.limits.memory_bytes and len(self._tree) > 1:
            used = sum(_proportional(one) for one in self._tree)
        return used

    def _ask_for_stack(self) -> None:
        """Have the child's faulthandler write all stacks to the log; one without it ends by the signal."""
        with contextlib.suppress(ProcessLookupError, KeyError):
            os.kill(self.status["pid"], signal.SIGUSR1)
            time.sleep(0.3)

    def _say(self, now: float, used: int) -> None:
        lines = tail(self.log, 4096).splitlines()
        last = f"; last output: {shown(lines[-1].strip()[:120])}" if lines else ""
        print(
            f"greenlight: {self.what}: {now - self.begin:.0f} s of at most {self.limits.seconds:.0f} s, "
            f"{used / 2**30:.1f} GiB{last}",
            file=sys.stderr,
            flush=True,
        )
        self._next_progress = now + PROGRESS_SECONDS


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(full, "pss", 0) or full.rss)


def _out_of_memory_kills() -> int:
    """How many processes the kernel's out-of-memory killer has ended since boot (Linux; 0 elsewhere)."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def memory_of_machine() -> int:
    """Bytes that all processes here may hold: the machine's memory, or the limit of this container where it is less."""
    limits: list[int] = [psutil.virtual_memory().total]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(name).read_text(encoding="ascii")))
    return min(limits)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that `finally` ends the child; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tail(path: Path, size: int = 64 * 1024) -> str:
    """The end of a log as text."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - size))
        return file.read().decode("utf-8", errors="replace")
    return ""
