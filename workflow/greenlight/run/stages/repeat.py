"""repeat: further fresh processes of a variant, so that it has run `trials.repeats` times in all."""

from __future__ import annotations

import argparse

from greenlight.files import read_json
from greenlight.layout import Layout
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.run.records import write_record
from greenlight.run.trial import run_with_cache, trial_request


def repeat(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Run the trials one after the other, with the windows in a call and the bits of predict's first shard."""
    first = read_json(layout.predict_record(job["model"], job["variant"], 0))["trials"][0]
    wanted = first["result"]["first_call_hash"] if first["kind"] == "ok" else None
    request = trial_request(layout, job, options.symbols) | {"first_call_hash": wanted}
    trials = [
        run_with_cache(
            layout,
            job,
            "greenlight.run.children.repetition",
            request,
            name=f"repeat={number}",
            at_most=first["sizes"],
        )
        for number in range(job["trials"])
    ]
    write_record(layout.record("repeat", job["model"], job["variant"]), job, trials=trials)


if __name__ == "__main__":
    run_stage("Run a variant in further fresh processes.", repeat, "symbols+")
