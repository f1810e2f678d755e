"""clear: an empty, private compile cache for a variant, so that its compile is a cold one."""

from __future__ import annotations

import argparse

from greenlight.files import write_json
from greenlight.layout import Layout
from greenlight.provenance import digest, utc_now
from greenlight.run.boundary import check_paths
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.watch.caches import clear_cache


def clear(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Empty the variant's compile cache and record what was removed."""
    check_paths(layout.root, [layout.cache(job["model"], job["variant"])])
    removed = clear_cache(layout.cache(job["model"], job["variant"]))
    record = {"key": digest(job), "job": job, "cleared": utc_now(), **removed}
    write_json(layout.cleared(job["model"], job["variant"]), record)


if __name__ == "__main__":
    run_stage("Empty the compile cache of a variant.", clear)
