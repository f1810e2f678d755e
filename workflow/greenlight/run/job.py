"""What a job description is, without how it is made: stages do not depend on the planning of others."""

from __future__ import annotations

from typing import Any

Job = dict[str, Any]

# Stages whose seconds are always judged.
TIMED = ("time", "sweep")


def job_name(job: Job) -> str:
    """Name of a job, such as `predict/toto/static-default/0`."""
    parts = (job["stage"], *(job[key] for key in ("model", "variant", "shard") if key in job))
    return "/".join(str(part) for part in parts)
