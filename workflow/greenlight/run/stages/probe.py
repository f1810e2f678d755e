"""probe: teacher-forced numerics of a variant against the reference in float64, and calls of several threads."""

from __future__ import annotations

import argparse

from greenlight.layout import Layout
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.run.records import write_record
from greenlight.run.trial import Runner, run_with_cache, trial_request


def probe(layout: Layout, job: Job, options: argparse.Namespace, run: Runner = run_with_cache) -> None:
    """Run the trial and record it; where it fails, once more without threads, so that they cost no other evidence."""
    request = trial_request(layout, job, options.symbols)
    child = "greenlight.run.children.numerics"
    trials = [run(layout, job, child, request)]
    if trials[0]["kind"] != "ok" and request["together"]:
        trials.append(run(layout, job, child, request | {"together": None}, name="without-threads"))
    write_record(layout.record("probe", job["model"], job["variant"]), job, trials=trials)


if __name__ == "__main__":
    run_stage("Compare the numerics of a variant with float64.", probe, "symbols+")
