"""One run at a time in a results folder, with locks that the system lets go of however a process ends.

Snakemake's own lock outlives a SIGKILL and then asks the user to unlock; the default profile switches it off. Jobs
may run on other machines that share the folder: there the process number of their run means nothing, so they end
when another run has taken its place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import IO

from greenlight.errors import UserError, say
from greenlight.layout import Layout
from greenlight.run.boundary import open_lock

# What a run's jobs are told of it: its name, its process, and where that process number counts.
RUN = "GREENLIGHT_RUN"
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_LOOK_FROM_AFAR_SECONDS = 2.0
# Some cluster file systems are mounted without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


# Locks are held as long as their files are open.
_held: list[IO[str]] = []


def claim_run(layout: Layout) -> None:
    """Hold the results folder for this run until the process ends.

    Waits for jobs of a run that was killed: they end by themselves within seconds.

    Raises:
        UserError: another run is at work in the folder.
    """
    held = _open(_run_file(layout))
    try:
        if not _lock(held, fcntl.LOCK_EX | fcntl.LOCK_NB):
            say(f"{layout.root} is on a file system without locks: start no second run in it")
    except BlockingIOError:
        _, _, other = held.read().strip().partition("\n")
        raise UserError(
            f"results_folder: another run is at work in {layout.root} ({other or 'unknown'}); "
            "wait for it, or set results_folder to another folder"
        ) from None
    run = uuid.uuid4().hex
    held.seek(0)
    held.truncate()
    held.write(f"{run}\nprocess {os.getpid()} on {socket.gethostname()}\n")
    held.flush()
    os.fsync(held.fileno())
    _wait_for_jobs(layout)
    os.environ[RUN] = f"{run} {os.getpid()} {_process_space()}"
    _held.append(held)


def run_at_work(layout: Layout) -> bool:
    """Whether another process holds the results folder for a run."""
    if not _run_file(layout).is_file():
        return False
    with os.fdopen(open_lock(_run_file(layout), write=False), encoding="utf-8") as file:
        try:
            _lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _wait_for_jobs(layout: Layout) -> None:
    jobs = _open(layout.root / ".jobs.lock")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            _lock(jobs, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    The job gets SIGTERM, as if a user had ended it, and its trial is ended with it: on the run's own machine when
    the run's process is gone, on another when another run holds the folder.

    Raises:
        SystemExit: that is so already, as for a job that waited in a cluster's queue.
    """
    held = _open(layout.root / ".jobs.lock")
    _lock(held, fcntl.LOCK_SH)
    run, _, rest = os.environ.get(RUN, "").partition(" ")
    process, _, space = rest.partition(" ")
    if run:
        if _replaced(layout, run):
            raise SystemExit(f"greenlight: {_GONE}")
        here = int(process) if space == _process_space() else None
        threading.Thread(target=_end_with, args=(layout, run, here), daemon=True).start()
    return held


_GONE = "the run that started this job is gone; ending"


def _end_with(layout: Layout, run: str, process: int | None) -> None:
    if process is not None:
        while Path(f"/proc/{process}").exists() or not Path("/proc/self").exists():
            time.sleep(_LOOK_SECONDS)
    else:
        while not _replaced(layout, run):
            time.sleep(_LOOK_FROM_AFAR_SECONDS)
    say(_GONE)
    os.kill(os.getpid(), signal.SIGTERM)


def _replaced(layout: Layout, run: str) -> bool:
    """Whether the folder is another run's, or gone. Opened anew each time, so that NFS asks its server."""
    try:
        first = _run_file(layout).read_text(encoding="utf-8").partition("\n")[0]
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return first not in ("", run)  # empty for a moment, while another run writes


def _process_space() -> str:
    """Where process numbers mean the same: a machine since its boot, or a container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def try_lock(path: Path) -> IO[str] | None:
    """Hold a lock file as long as it is open; None where another holds it. Without locks it seems that nobody does."""
    held = _open(path)
    try:
        _lock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    return held


def _run_file(layout: Layout) -> Path:
    return layout.root / ".run.lock"


def _lock(file: IO[str], how: int) -> bool:
    """Take a lock; False where the file system has none. BlockingIOError where another holds it."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _open(path: Path) -> IO[str]:
    return os.fdopen(open_lock(path), "r+", encoding="utf-8")
