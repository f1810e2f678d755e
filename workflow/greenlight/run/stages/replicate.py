"""replicate: forecasts with further seeds, where one seed does not decide between a variant and its partner."""

from __future__ import annotations

import argparse
from typing import Any

from greenlight.files import read_json
from greenlight.judgement.comparison import Arms, Limits, compare, undecided
from greenlight.judgement.tables import read_scores
from greenlight.layout import Layout
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.run.records import write_record
from greenlight.run.trial import Runner, run_with_cache, trial_request
from greenlight.variants import Variant


def replicate(layout: Layout, job: Job, options: argparse.Namespace, run: Runner = run_with_cache) -> None:
    """A record for every variant of a model that has a partner: with a trial where the scores leave open which is
    better, and with none where they decide, or can't be read, which fails the variant anyway.
    """
    model, arms = job["model"], _arms(layout, job)
    windows = {symbol: int(job["windows"]) for symbol in job["symbols"]}
    limits = Limits(**job["limits"])
    needed = undecided(compare(arms, windows, limits), limits)
    for variant, partner in job["partners"].items():
        trials = []
        if variant in needed:
            asked = _request(layout, job, variant) | {"scores": arms[variant].plain(), "family": len(arms)}
            trials = [run(layout, _of_variant(job, variant), "greenlight.run.children.replication", asked)]
        read = [file for name in (variant, partner) if (file := layout.window_scores(model, name)).is_file()]
        target = layout.record("replicate", model, variant)
        write_record(target, job, variant=variant, trials=trials, inputs=layout.hashes(read))


def _arms(layout: Layout, job: Job) -> dict[str, Arms]:
    """The scores of each variant that has a partner, and its partner's, where both are whole."""
    rows = [(symbol, window) for symbol in job["symbols"] for window in range(job["windows"])]
    scores = {}
    for variant in {*job["partners"], *job["partners"].values()}:
        file = layout.window_scores(job["model"], variant)
        found, problems = read_scores(file, job["model"], variant, rows, job["horizon"])
        if found is not None and not problems:
            scores[variant] = found.metrics
    errors, partners = job["limits"]["errors"], job["partners"].items()
    both = [(own, other) for own, other in partners if {own, other} <= set(scores)]
    return {own: Arms.of_scores(scores[own], scores[other], errors) for own, other in both}


def _of_variant(job: Job, variant: str) -> Job:
    chosen = Variant.parse(variant)
    parts = {"implementation": chosen.implementation, "mode": chosen.mode, "precision": chosen.precision}
    return job | {"variant": variant} | parts


def _request(layout: Layout, job: Job, variant: str) -> dict[str, Any]:
    """What the child is told; `seconds_each` is what predict took for one forecast of every window in both arms."""
    partner = job["partners"][variant]
    records = [
        read_json(layout.predict_record(job["model"], name, shard))
        for name in (variant, partner)
        for shard in range(job["shards"])
    ]
    seconds = sum(record["trials"][0]["result"]["forecast_seconds"] for record in records)
    request = trial_request(layout, _of_variant(job, variant), job["symbols"])
    return request | {"partner": partner, "seconds_each": seconds}


if __name__ == "__main__":
    run_stage("Forecast with further seeds where one does not decide.", replicate)
