"""time: latency of a variant against the reference, in fresh processes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from greenlight.files import write_parquet
from greenlight.layout import Layout
from greenlight.measures.latency import pairs_table
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.run.records import write_record
from greenlight.run.trial import Runner, run_with_cache, trial_request


def time_variant(layout: Layout, job: Job, options: argparse.Namespace, run: Runner = run_with_cache) -> None:
    """One trial a process; the raw pairs of all go into one table, and a process that failed has none."""
    model, variant = job["model"], job["variant"]
    trials = _processes(layout, job, options.symbols, run)
    pairs = [trial["result"].pop("pairs", []) if trial["kind"] == "ok" else [] for trial in trials]
    write_parquet(layout.pairs(model, variant), pairs_table(model, variant, pairs))
    outputs = layout.hashes([layout.pairs(model, variant)])
    write_record(layout.record("time", model, variant), job, trials=trials, outputs=outputs)


def _processes(layout: Layout, job: Job, symbols: Sequence[str], run: Runner) -> list[dict[str, Any]]:
    """Every process times the same batch: where one had to make it smaller, all are run again with that batch."""
    request = trial_request(layout, job, symbols) | {"timed_windows": job["timing"]["windows"]}
    at_most: dict[str, int] | None = None
    given_up: list[dict[str, Any]] = []
    while True:
        trials: list[dict[str, Any]] = []
        for process in range(job["timing"]["processes"]):
            trial = run(
                layout,
                job,
                "greenlight.run.children.latency",
                request | {"process": process, "earlier": _earlier(trials)},
                name=f"process={process}",
                at_most=at_most,
                filled=process == 0 or not job["timing"]["fresh_compiles"],
            )
            trials.append(trial)
        windows = {trial["sizes"]["timed_windows"] for trial in trials}
        if len(windows) == 1:
            trials[0]["attempts"] = [*given_up, *trials[0]["attempts"]]
            return trials
        given_up += [attempt for trial in trials for attempt in trial["attempts"]]
        at_most = {"timed_windows": min(windows)}


def _earlier(trials: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The pairs of the processes so far; None where one failed, or they did not time the same batch."""
    if any(trial["kind"] != "ok" for trial in trials) or len({str(trial["sizes"]) for trial in trials}) > 1:
        return None
    return [{**pair, "process": number} for number, trial in enumerate(trials) for pair in trial["result"]["pairs"]]


if __name__ == "__main__":
    run_stage("Measure the latency of a variant against the reference.", time_variant, "symbols+")
