"""Writing the records of jobs: sealed, with the description they were made under."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from greenlight.files import json_text, write_json
from greenlight.judgement.seal import seal
from greenlight.provenance import digest, git_commit, utc_now
from greenlight.run.job import Job


def provenance_of(job: Job) -> dict[str, Any]:
    """What a file says of where it comes from."""
    return {"key": digest(job), "job": job, "commit": git_commit(Path.cwd()), "made": utc_now()}


def write_record(path: Path, job: Job, **content: Any) -> None:
    """Write a stage's record, sealed: its job, key and provenance with the content."""
    document = {
        "stage": job["stage"],
        "model": job["model"],
        "variant": content.pop("variant", job.get("variant")),
        "key": digest(job),
        "job": job,
        "provenance": {"commit": git_commit(Path.cwd()), "made": utc_now()},
        **content,
    }
    write_json(path, seal(json.loads(json_text(document))))
