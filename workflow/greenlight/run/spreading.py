"""On which of several GPUs a trial runs that is not timed: the one that fewest trials of this run are on."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from greenlight.layout import Layout
from greenlight.run.job import TIMED, Job
from greenlight.run.locking import try_lock
from greenlight.trials.gpu import alike, device_state


@contextlib.contextmanager
def placed(layout: Layout, job: Job, rules: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Hold a place on a device for as long as a trial runs; gives the variables that show the trial this device alone.

    Nothing is given where devices are not to be spread over (`device.spread`), or there is but one. What is timed gets
    the first: it must see as many devices as what compiled, for torch 2.11's cache keys differ by that. On a file
    system without locks every trial runs on the first device.
    """
    devices = []
    if rules.get("spread") and job["device"].startswith("cuda"):
        devices = alike(job["device"], device_state(), os.environ, spread=True)
    if len(devices) < 2:
        yield {}
        return
    if job["stage"] in TIMED:
        yield {"CUDA_VISIBLE_DEVICES": devices[0]["uuid"]}
        return
    for place, device in ((place, device) for place in itertools.count() for device in devices):
        name = re.sub(r"[^A-Za-z0-9-]", "_", device["uuid"])
        if (held := try_lock(layout.root / f".device-{name}-{place}.lock")) is not None:
            with held:
                yield {"CUDA_VISIBLE_DEVICES": device["uuid"]}
            return
