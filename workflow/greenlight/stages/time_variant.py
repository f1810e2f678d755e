"""time: latency of a variant against the reference, in fresh processes."""

from __future__ import annotations

import argparse

from greenlight.files import write_parquet
from greenlight.layout import Layout
from greenlight.measures.latency import pairs_table
from greenlight.stages.command import run_stage
from greenlight.stages.job import Job
from greenlight.stages.records import write_record
from greenlight.stages.trial import run_with_cache, trial_request


def time_variant(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """One trial a process; the raw pairs of all go into one table, and a process that failed has none."""
    model, variant = job["model"], job["variant"]
    trials, pairs = [], []
    for process in range(job["timing"]["processes"]):
        request = trial_request(layout, job, options.symbols) | {"process": process}
        trial = run_with_cache(layout, job, "greenlight.stages.children.latency", request, name=f"process={process}")
        pairs.append((trial["result"] or {}).pop("pairs", []) if trial["kind"] == "ok" else [])
        trials.append(trial)
    write_parquet(layout.pairs(model, variant), pairs_table(model, variant, pairs))
    outputs = layout.hashes([layout.pairs(model, variant)])
    write_record(layout.record("time", model, variant), job, trials=trials, outputs=outputs)


if __name__ == "__main__":
    run_stage("Measure the latency of a variant against the reference.", time_variant, "symbols+")
