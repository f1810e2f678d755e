"""A SLURM of one node on this machine: munged, slurmctld and slurmd with a configuration of their own, and their end.

    python -m tests.workflow.slurm_node COMMAND …      run a command beside it

Needs the programs of Debian's packages slurmctld, slurmd, slurm-client and munge; root or not. Nothing of the
machine's own SLURM is read or written: sockets, keys, state and logs are in a temporary folder, which is removed.
Where the system allows it, jobs have process numbers of their own, as on another machine.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_DAEMONS = ("munged", "slurmctld", "slurmd")
PROGRAMS = (*_DAEMONS, "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0

# No cgroups, systemd or accounting: what a container has. One file stands for a GPU, so that jobs can ask for one.
_CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 NodeHostname={host} CPUs={cpus} RealMemory=1000000 Gres=gpu:1
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class CannotStart(Exception):
    """SLURM is not here, or does not start; says why."""


def missing_programs() -> list[str]:
    """Programs of SLURM that this machine does not have."""
    return [name for name in PROGRAMS if _path_of(name) is None]


def _path_of(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SBIN)


@contextlib.contextmanager
def slurm_node(cpus: int = 2) -> Iterator[dict[str, str]]:
    """Start SLURM; gives the environment variables that its commands need, and ends all of it.

    Raises:
        CannotStart: a program is missing, or does not start; with the end of its log.
    """
    if missing := missing_programs():
        raise CannotStart(f"SLURM is not installed (no {', '.join(missing)})")
    # Paths of sockets are limited to 107 characters: not below a test's own folder.
    folder = Path(tempfile.mkdtemp(prefix="slurm-node-"))
    started: list[tuple[str, subprocess.Popen[bytes]]] = []
    try:
        environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder}:{os.environ['PATH']}"}
        _configure(folder, cpus)
        munge = ["--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"]
        munge += [f"--{kind}-file={folder}/munge.{kind}" for kind in ("pid", "seed", "log")]
        started.append(("munged", _start(folder, "munged", *munge)))
        _wait(folder, started, lambda: (folder / "munge.socket").exists(), "munge has no socket")
        started.append(("slurmctld", _start(folder, "slurmctld", "-D", "-f", environment["SLURM_CONF"])))
        started.append(("slurmd", _start(folder, "slurmd", "-D", "-f", environment["SLURM_CONF"])))
        _wait(folder, started, lambda: _is_idle(environment), "the node does not become idle")
        yield environment
    finally:
        if len(started) == len(_DAEMONS):
            _end_jobs(environment)
        for _, process in reversed(started):
            _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path, cpus: int) -> None:
    """Write slurm.conf, gres.conf and munge's key."""
    folder.chmod(0o755)  # munge wants its socket to be reachable
    for name in ("state", "spool"):
        (folder / name).mkdir()
    with socket.socket() as one, socket.socket() as other:  # both open at once, so the ports differ
        for opened in (one, other):
            opened.bind(("127.0.0.1", 0))
        ports = {"controller_port": one.getsockname()[1], "node_port": other.getsockname()[1]}
    host, user = socket.gethostname().split(".")[0], pwd.getpwuid(os.geteuid()).pw_name
    text = _CONFIGURATION.format(folder=folder, host=host, user=user, cpus=cpus, **ports)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
    # The plugin's job steps forget SLURM_CONF, and read /etc/slurm, which is the machine's own.
    srun = folder / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_path_of("srun")} "$@"\n')
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))


def _start(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    path = _path_of(name)
    assert path is not None
    # Ends with this process, also where that is killed.
    command = [*(["setpriv", "--pdeathsig", "TERM"] if _path_of("setpriv") else []), path, *arguments]
    if name == "slurmd":
        command = [*_apart(), *command]
    with (folder / f"{name}.out").open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def _end_jobs(environment: dict[str, str]) -> None:
    """Cancel what still runs, and wait until the node has let go of it."""
    subprocess.run(["scancel", "--me"], env=os.environ | environment, capture_output=True)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline and not _is_idle(environment):
        time.sleep(0.2)


def _apart() -> list[str]:
    """What gives jobs process numbers of their own, as another machine has them, where that is allowed."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child=TERM", "--mount-proc"]
    try:
        allowed = subprocess.run([*unshare, "true"], capture_output=True).returncode == 0
    except OSError:
        allowed = False
    return unshare if allowed else []


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    if "unshare" in process.args:  # it heeds no SIGTERM while its child runs
        with contextlib.suppress(OSError, IndexError):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            os.kill(int(children.split()[0]), signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(folder: Path, started: list, ready, problem: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        ended = [name for name, process in started if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            name = ended[0] if ended else started[-1][0]
            raise CannotStart(f"{'ended: ' + name if ended else problem}: {_last_words(folder, name)}")
        time.sleep(0.1)


def _last_words(folder: Path, name: str) -> str:
    files = [folder / f"{name}.out", folder / f"{name}.log"]
    texts = [file.read_text(errors="replace") for file in files if file.exists()]
    return " | ".join("".join(texts).strip().splitlines()[-3:]) or "it said nothing"


def _is_idle(environment: dict[str, str]) -> bool:
    sinfo = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=os.environ | environment, capture_output=True, text=True
    )
    return sinfo.stdout.strip() == "idle"


if __name__ == "__main__":
    try:
        with slurm_node() as variables:
            sys.exit(subprocess.run(sys.argv[1:], env=os.environ | variables).returncode)
    except CannotStart as reason:
        sys.exit(f"slurm_node: {reason}")
