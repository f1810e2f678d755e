"""Where the checkpoints of a model are, on this machine, by the description of its weights job."""

from __future__ import annotations

from pathlib import Path

from greenlight.code import resolved
from greenlight.random_weights import folder_of
from greenlight.run.job import Job
from greenlight.weights import checkpoint_folders


def folders_of_job(job: Job) -> dict[str, Path]:
    """Absolute folder of each checkpoint by its role; UserError as for `checkpoint_folders`."""
    made = {role: [str(folder_of(name)), None] for role, name in job["random_weights"].items()}
    embedded = {role: text and resolved(text) for role, text in job["embedded"].items()}
    return checkpoint_folders(job["model"], job["sources"] | made, embedded)
