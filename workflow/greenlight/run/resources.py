"""What a job asks of a cluster: memory, time and a GPU. Nothing here is in a job description, so nothing is stale."""

from __future__ import annotations

import math

from greenlight.run.modules import TRIAL_STAGES
from greenlight.settings import Settings

# Beside a trial run two Snakemakes and the stage itself (measured: 0.4 GB together); a trial of the embedded models
# takes at most 1.1 GB on a CPU, and CUDA's libraries and the compiler's processes several more.
_OWN_MEMORY_MB = 2000
_TRIAL_MEMORY_MB = {"cpu": 6000, "cuda": 14000}
_MEMORY_MB = 4000
# Starting Python and Snakemake on a node, and copying compile caches on a slow file system.
_START_SECONDS = 600.0
_SECONDS = {"weights": 7200.0, "diagnose": 4 * 3600.0}
_OTHER_SECONDS = 1800.0


def resources_of(stage: str, settings: Settings, device: str) -> dict[str, int]:
    """mem_mb, runtime (minutes) and, on a GPU, gpu of a stage's jobs.

    A trial's time and memory follow from the limits in `trials`: the limit that is named in the evidence is reached
    before the cluster's.

    Args:
        stage: a stage's name, such as `compile`, or that of a target with jobs of its own, such as `diagnose`.
        settings: the checked configuration.
        device: the planned torch device.
    """
    if stage not in (*TRIAL_STAGES, "diagnose"):
        return {"mem_mb": _MEMORY_MB, "runtime": _minutes(_SECONDS.get(stage, _OTHER_SECONDS))}
    kind = device.partition(":")[0]
    limit = settings.trials.memory_gib
    memory = _TRIAL_MEMORY_MB[kind] if limit is None else math.ceil(limit * 1024)
    asked = {"mem_mb": memory + _OWN_MEMORY_MB, "runtime": _minutes(_trial_seconds(stage, settings))}
    return asked | ({"gpu": 1} if kind == "cuda" else {})


def _trial_seconds(stage: str, settings: Settings) -> float:
    if stage == "diagnose":
        return _SECONDS[stage]
    variants = max(len(model.variants) for _, model in settings.models.items())
    several = {"time": settings.timing.processes, "repeat": settings.trials.repeats, "replicate": variants}
    trials = several.get(stage, 1)
    limit = getattr(settings.trials, f"{stage}_seconds")
    return _START_SECONDS + trials * (limit + settings.device.wait_seconds)


def _minutes(seconds: float) -> int:
    return math.ceil(seconds / 60)
