"""compile: cold compile and warm-up of a variant in a trial; the filled cache is an output."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path
from typing import Any

from greenlight.layout import Layout
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.run.records import write_record
from greenlight.run.seals import remember
from greenlight.run.trial import TRACE, Runner, run_with_cache, trial_request
from greenlight.watch.caches import cache_digest, cache_size

PAGES_SECONDS = 300


def compile_variant(layout: Layout, job: Job, options: argparse.Namespace, run: Runner = run_with_cache) -> None:
    """Compile from an empty cache; whatever happens is recorded, and the stage succeeds."""
    cache = layout.cache(job["model"], job["variant"])
    trace = layout.trial("compile", job["model"], job["variant"]) / TRACE
    request = trial_request(layout, job)
    trial = run(layout, job, "greenlight.run.children.warm_up", request, cache=cache)
    made = cache_digest(cache)
    remember(made)
    write_record(
        layout.record("compile", job["model"], job["variant"]),
        job,
        trials=[trial],
        cache=cache_size(cache) | {"sha256": made},
        trace=trace_pages(trace, layout.root) if job["keep_trace"] else None,
    )


def trace_pages(folder: Path, root: Path) -> dict[str, Any]:
    """Have tlparse make pages of a kept TORCH_TRACE, where it is on PATH.

    Args:
        folder: the trace; the pages go beside it.
        root: the results folder, which the paths are relative to.

    Returns:
        {"folder", "files": number of logs, "pages": path of index.html or None, "note": why there are none}
    """
    logs = sorted(folder.glob("*.log"), key=lambda log: log.stat().st_size)
    kept = {"folder": folder.relative_to(root).as_posix(), "files": len(logs), "pages": None, "note": ""}
    tlparse = shutil.which("tlparse")
    if not logs:
        return kept | {"note": "torch left no trace"}
    if tlparse is None:
        return kept | {"note": "tlparse is not on PATH, so the trace has no pages: pip install tlparse"}
    pages = folder.with_name(f"{folder.name}_pages")
    # Child processes of the compiler may leave small logs of their own; the largest is the trial's.
    command = [tlparse, str(logs[-1]), "-o", str(pages), "--overwrite", "--no-browser"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PAGES_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return kept | {"note": f"tlparse failed: {error}"}
    if done.returncode or not (pages / "index.html").is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return kept | {"note": f"tlparse ended with exit code {done.returncode}: {last}"[:500]}
    return kept | {"pages": (pages / "index.html").relative_to(root).as_posix()}


if __name__ == "__main__":
    run_stage("Compile and warm up a variant from an empty cache.", compile_variant)
