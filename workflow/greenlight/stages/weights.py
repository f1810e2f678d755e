"""weights: where the checkpoints of a model are; fetches a pinned revision from the hub once."""

from __future__ import annotations

import argparse

from greenlight.files import write_json
from greenlight.layout import Layout
from greenlight.models.weights import resolve_checkpoint, trained_until, weights_hash
from greenlight.provenance import digest
from greenlight.stages.command import run_stage
from greenlight.stages.jobs import Job


def find_weights(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Resolve each checkpoint and record its folder and hash; UserError says what to download to where."""
    folders, hashes, until = {}, {}, {}
    for name, (source, revision) in job["sources"].items():
        role = "tokenizer" if name.endswith("-tokenizer") else "model"
        setting = f"models.{job['model']}.{'tokenizer' if role == 'tokenizer' else 'source'}"
        folder = resolve_checkpoint(source, revision, embedded=name, setting=setting)
        folders[role], hashes[role] = str(folder.absolute()), weights_hash(folder)
        for symbol, time in trained_until(folder).items():
            until[symbol] = max(until.get(symbol, ""), str(time))
    write_json(
        layout.weights(job["model"]),
        {"key": digest(job), "job": job, "folders": folders, "hashes": hashes, "trained_until": until},
    )


if __name__ == "__main__":
    run_stage("Find or fetch the weights of a model.", find_weights)
