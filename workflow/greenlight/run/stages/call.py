"""call: a variant as production calls it, in a process of its own: many shapes, many calls."""

from __future__ import annotations

import argparse

from greenlight.layout import Layout
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.run.records import write_record
from greenlight.run.trial import Runner, run_with_cache, trial_request


def call(layout: Layout, job: Job, options: argparse.Namespace, run: Runner = run_with_cache) -> None:
    """Run the trial and record it."""
    trial = run(layout, job, "greenlight.run.children.calling", trial_request(layout, job))
    write_record(layout.record("call", job["model"], job["variant"]), job, trials=[trial])


if __name__ == "__main__":
    run_stage("Call a variant as production does.", call)
