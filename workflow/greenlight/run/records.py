"""Writing the records of jobs: sealed, with the description they were made under."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from greenlight.files import read_json
from greenlight.judgement.seal import RECORD_FORMAT, write_sealed
from greenlight.layout import Layout
from greenlight.provenance import digest, git_commit, utc_now
from greenlight.run.job import Job


def provenance_of(job: Job) -> dict[str, Any]:
    """What a file says of where it comes from."""
    return {"key": digest(job), "job": job, "commit": git_commit(Path.cwd()), "made": utc_now()}


def stated_digest(layout: Layout, model: str, variant: str) -> str | None:
    """The hash of a variant's compile cache, as its record has it; None where there is none."""
    try:
        found = read_json(layout.record("compile", model, variant))["cache"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def not_measured(outputs: Iterable[Path]) -> str:
    """What a trial of some records says where the machine failed, which is no finding; empty where none did."""
    for path in outputs:
        if path.name == "record.json" and path.is_file():
            document = read_json(path)
            trials = document.get("trials", []) if isinstance(document, dict) else []
            for trial in trials:
                if trial.get("kind") == "machine":
                    return f"machine: {trial['message']}"
    return ""


def write_record(path: Path, job: Job, **content: Any) -> None:
    """Write a stage's record, sealed: its job, key and provenance with the content."""
    document = {
        "format": RECORD_FORMAT,
        "stage": job["stage"],
        "model": job["model"],
        "variant": content.pop("variant", job.get("variant")),
        "key": digest(job),
        "job": job,
        "provenance": {"commit": git_commit(Path.cwd()), "made": utc_now()},
        **content,
    }
    write_sealed(path, document)
