"""What a job asks of the machine or a cluster: memory, time, a GPU, and whether it runs alone.

Nothing here is in a job description, so nothing is stale. `slots` is this workflow's own resource: a run on one machine
has as many as cores, every job takes one, and what is timed takes all, so that nothing else of the run is at work
beside it. A limit on threads (`--max-threads`, `--set-threads`) does not change that, as it would for `threads`.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import psutil

from greenlight.run.job import TIMED
from greenlight.run.table import ROWS, TRIAL_STAGES
from greenlight.settings import Settings
from greenlight.trials.gpu import alike, device_state, free_memory

# Beside a trial run two Snakemakes and the stage itself (measured: 0.4 GB together); a trial of the embedded models
# takes at most 1.1 GB on a CPU, and CUDA's libraries and the compiler's processes several more.
_OWN_MEMORY_MB = 2000
_TRIAL_MEMORY_MB = {"cpu": 6000, "cuda": 14000}
_MEMORY_MB = 4000
# Device memory that one trial is taken to need where `device.free_memory_gib` does not say it: a guess with room, for
# a trial that runs out of it measures less.
_DEVICE_GIB = 16.0
# Starting Python and Snakemake on a node, and copying compile caches on a slow file system.
_START_SECONDS = 600.0
_SECONDS = {"weights": 7200.0, "diagnose": 4 * 3600.0, "sweep": 12 * 3600.0}
_OTHER_SECONDS = 1800.0
# Limits of the memory group that the process is in, and what it uses now: cgroup 2 and 1.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def timed_stages(settings: Settings) -> set[str]:
    """The stages whose seconds are judged: some always, others where a limit on a start is configured.

    A limit that is set later judges seconds of a job that ran beside others; they are too long, never too short.
    """
    starts = {"compile": settings.rules.speed.cold_start_seconds, "predict": settings.rules.speed.warm_start_seconds}
    return {*TIMED, *(stage for stage, limit in starts.items() if limit is not None)}


def resources_of(stage: str, settings: Settings, device: str, cores: int | None = None) -> dict[str, int | str]:
    """mem_mb, runtime (minutes), slots or an exclusive node, and, on a GPU, gpu of a stage's jobs.

    A trial's time and memory follow from the limits in `trials`: the limit that is named in the evidence is reached
    before the cluster's.

    Args:
        stage: a stage's name, such as `compile`, or that of a target with jobs of its own, such as `diagnose`.
        settings: the checked configuration.
        device: the planned torch device.
        cores: of a run on one machine; None where each job gets a node, or a part of one, from a cluster.
    """
    alone = stage in timed_stages(settings)
    asked: dict[str, int | str] = {"mem_mb": _MEMORY_MB, "runtime": _minutes(_SECONDS.get(stage, _OTHER_SECONDS))}
    if stage in (*TRIAL_STAGES, "diagnose", "sweep"):
        kind = device.partition(":")[0]
        limit = settings.trials.memory_gib
        memory = _TRIAL_MEMORY_MB[kind] if limit is None else math.ceil(limit * 1024)
        asked = {"mem_mb": memory + _OWN_MEMORY_MB, "runtime": _minutes(_trial_seconds(stage, settings))}
        asked |= {"gpu": 1} if kind == "cuda" else {}
    if cores is not None:
        return asked | {"slots": cores if alone else 1}
    return asked | ({"slurm_extra": "--exclusive"} if alone else {})


def limits_of(settings: Settings, device: str, cores: int) -> dict[str, int]:
    """What all jobs of a run on this machine may take together: slots, mem_mb and, on a GPU, gpu."""
    limits = {"slots": cores, "mem_mb": max(1, free_memory_bytes() // 10**6)}
    return limits | ({"gpu": _beside_each_other(settings, device)} if device.startswith("cuda") else {})


def free_memory_bytes() -> int:
    """Memory of this machine that is free now, or of the memory group that this process is in where that is less."""
    free = int(psutil.virtual_memory().available)
    for limit, used in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: there is no limit
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(0, free)


def _beside_each_other(settings: Settings, device: str) -> int:
    """How many trials fit the memory of the devices; one a device where a trial has to hold it alone."""
    found = alike(device, device_state(), os.environ, settings.device.spread)
    each = settings.device.free_memory_gib or _DEVICE_GIB
    free = [None if settings.device.exclusive else free_memory(one) for one in found]
    return sum(1 if memory is None else max(1, int(memory / 2**30 / each)) for memory in free) or 1


def _trial_seconds(stage: str, settings: Settings) -> float:
    if stage in ("diagnose", "sweep"):
        return _SECONDS[stage]
    limit: float = getattr(settings.trials, f"{stage}_seconds")
    return _START_SECONDS + ROWS[stage].trials(settings) * (limit + settings.device.wait_seconds)


def _minutes(seconds: float) -> int:
    return math.ceil(seconds / 60)
