"""weights: what the checkpoints of a model hold. The plan has found, or fetched, them."""

from __future__ import annotations

import argparse

from greenlight.files import write_json
from greenlight.layout import Layout
from greenlight.provenance import digest
from greenlight.run.checkpoints import folders_of_job
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.weights import check_contents, trained_until, weights_hash


def find_weights(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Record the hash of each checkpoint, not its folder, which another machine has elsewhere.

    UserError where they are gone, or not what they were when the run was planned.
    """
    folders = folders_of_job(job)
    for role, folder in folders.items():
        check_contents(role, folder, job["checkpoints"][role])
    until: dict[str, str] = {}
    for folder in folders.values():
        for symbol, time in trained_until(folder).items():
            until[symbol] = max(until.get(symbol, ""), str(time))
    hashes = {role: weights_hash(folder) for role, folder in folders.items()}
    record = {"key": digest(job), "job": job, "hashes": hashes, "trained_until": until}
    write_json(layout.weights(job["model"]), record)


if __name__ == "__main__":
    run_stage("Find or fetch the weights of a model.", find_weights)
