"""One run at a time in a results folder, with locks that the system lets go of however a process ends.

Snakemake's own lock outlives a SIGKILL and then asks the user to unlock; the default profile switches it off.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO

from greenlight.errors import UserError
from greenlight.layout import Layout

RUN_PROCESS = "GREENLIGHT_RUN_PROCESS"
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.5


# Locks are held as long as their files are open.
_held: list[IO[str]] = []


def claim_run(layout: Layout) -> None:
    """Hold the results folder for this run until the process ends.

    Waits for jobs of a run that was killed: they end by themselves within seconds.

    Raises:
        UserError: another run is at work in the folder.
    """
    held = _open(layout.root / ".run.lock")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = held.read().strip() or "unknown"
        raise UserError(
            f"results_folder: another run is at work in {layout.root} (process {other}); "
            "wait for it, or set results_folder to another folder"
        ) from None
    held.seek(0)
    held.truncate()
    held.write(str(os.getpid()))
    held.flush()
    _wait_for_jobs(layout)
    os.environ[RUN_PROCESS] = str(os.getpid())
    _held.append(held)


def _wait_for_jobs(layout: Layout) -> None:
    jobs = _open(layout.root / ".jobs.lock")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(jobs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UserError(
                    f"results_folder: a job of an earlier run is still at work in {layout.root}; "
                    "end it, or set results_folder to another folder"
                ) from None
            time.sleep(_LOOK_SECONDS)
        else:
            jobs.close()
            return


def join_run(layout: Layout) -> IO[str]:
    """A job's part: hold the folder's jobs lock, and end with the run that started the job.

    The job gets SIGTERM when that process is gone, as if a user had ended it: its trial is ended with it.
    """
    held = _open(layout.root / ".jobs.lock")
    fcntl.flock(held, fcntl.LOCK_SH)
    process = os.environ.get(RUN_PROCESS, "")
    if process.isdigit():
        threading.Thread(target=_end_with, args=(int(process),), daemon=True).start()
    return held


def _end_with(process: int) -> None:
    while Path(f"/proc/{process}").exists() or not Path("/proc/self").exists():
        time.sleep(_LOOK_SECONDS)
    print("greenlight: the run that started this job is gone; ending", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    return os.fdopen(descriptor, "r+", encoding="utf-8")
