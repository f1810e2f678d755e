"""archive: a copy of the report with the evidence that it rests on, kept for good."""

from __future__ import annotations

import argparse
from pathlib import Path

from greenlight.files import write_json
from greenlight.layout import Layout
from greenlight.provenance import digest, git_commit, utc_now
from greenlight.report.archive import archive_run
from greenlight.run.command import run_stage
from greenlight.run.job import Job


def archive(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Archive the run and name its folder in archived.json."""
    folder = archive_run(layout, utc_now(), digest(job), git_commit(Path.cwd()))
    write_json(layout.archived, {"folder": folder.relative_to(layout.root).as_posix(), "key": digest(job)})


if __name__ == "__main__":
    run_stage("Archive the report and its evidence.", archive)
