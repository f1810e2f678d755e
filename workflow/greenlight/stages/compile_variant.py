"""compile: cold compile and warm-up of a variant in a trial; the filled cache is an output."""

from __future__ import annotations

import argparse

from greenlight.compilation.caches import cache_size, clear_cache
from greenlight.layout import Layout
from greenlight.stages.command import run_stage
from greenlight.stages.jobs import Job
from greenlight.stages.trial import run_with_cache, trial_request, write_record


def compile_variant(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Compile from an empty cache; whatever happens is recorded, and the stage succeeds."""
    cache = layout.cache(job["model"], job["variant"])
    clear_cache(cache)  # what an interrupted compile left would make this one warm
    before = cache_size(cache)
    trial = run_with_cache(
        layout,
        job,
        "greenlight.stages.children.warm_up",
        trial_request(layout, job) | {"cache_files_before": before["files"]},
        cache=cache,
    )
    write_record(
        layout.record("compile", job["model"], job["variant"]),
        job,
        trials=[trial],
        cache={"before": before, "after": cache_size(cache)},
    )


if __name__ == "__main__":
    run_stage("Compile and warm up a variant from an empty cache.", compile_variant)
