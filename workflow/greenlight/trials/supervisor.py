"""A small process between the runner and a trial's child, so that nothing is left behind whatever ends them.

    python -m greenlight.trials.supervisor <control fd> <status fd> <command...>

It sits in a session of its own, so that a Ctrl-C or a kill of the runner's process group does not reach it;
it adopts every descendant whose parent ends (on Linux), and ends all of them when the child has ended, when
the other end of the control pipe is closed, or when the runner is gone. It writes one JSON line to the status
pipe: {"exit_code", "signal", "peak_memory_bytes", "left_over": descendants that it had to end}.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _become(command: list[str]) -> NoReturn:
    """In the forked process: own session, no core dump, first choice of the out-of-memory killer; exec."""
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError):  # Linux only, and not in every sandbox
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(command[0], command, os.environ)


def _end_descendants() -> int:
    """SIGKILL every descendant until none is left; returns how many there were (10 s at most are spent).

    Whose parent ends is this process's own child at once, so that it is enough, and quick enough for processes that go
    on in forks of their own, to end its children again and again.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        _reap(-1)
        children = _children()
        if not children:
            break
        for one in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        if ended.issuperset(children):  # what was ended takes a moment to be gone
            time.sleep(0.001)
        ended.update(children)
    return len(ended)


def _children() -> list[int]:
    own = os.getpid()
    with contextlib.suppress(OSError):  # not on every kernel
        return [int(one) for one in Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii").split()]
    with contextlib.suppress(psutil.Error):
        return [one.pid for one in psutil.Process().children(recursive=True)]
    return []


def _reap(child: int) -> dict[str, Any] | None:
    """Collect ended processes; the child's end as a record once it is among them."""
    found = None
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            scale = 1 if sys.platform == "darwin" else 1024
            found = {
                "exit_code": code if code >= 0 else None,
                "signal": signal.Signals(-code).name if code < 0 else None,
                "peak_memory_bytes": usage.ru_maxrss * scale,
            }


def main(control: int, status: int, command: list[str]) -> None:
    """Start the command, wait for its end or the runner's, leave nothing behind, report."""
    runner = os.getppid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    awake, wake = os.pipe()
    for descriptor in (awake, wake):
        os.set_blocking(descriptor, False)
    for descriptor in (awake, wake, control, status):
        os.set_inheritable(descriptor, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    child = os.fork()
    if child == 0:
        try:
            _become(command)
        finally:
            os._exit(127)
    os.write(status, json.dumps({"pid": child}).encode() + b"\n")
    ended = None
    while ended is None and os.getppid() == runner:
        ready, _, _ = select.select([control, awake], [], [], 1.0)
        if control in ready:  # the runner closed its end, or is gone
            break
        with contextlib.suppress(BlockingIOError):
            os.read(awake, 512)
        ended = _reap(child)
    left_over = _end_descendants()
    ended = ended or {"exit_code": None, "signal": "SIGKILL", "peak_memory_bytes": None}
    with contextlib.suppress(OSError):
        os.write(status, json.dumps({**ended, "left_over": left_over}).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
