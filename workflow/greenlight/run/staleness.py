"""Which jobs are stale, and why: the plan held against the ledger. Snakemake, `why` and the run all go by it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection
from pathlib import Path

from greenlight.files import known_hashes, write_text
from greenlight.layout import Layout
from greenlight.run.job import Job
from greenlight.run.jobs import Plan
from greenlight.run.ledger import Entry, changes, damaged, listed, outputs_digest, read_entry
from greenlight.run.locking import run_at_work
from greenlight.run.records import stated_digest
from greenlight.run.seals import made_by_this_user
from greenlight.run.table import ROWS

STEP = 10_000_000  # nanoseconds
MARK = "Snakemake takes this file for a new input of every job that is stale; `snakemake --cores 1 why` says why.\n"


def outputs_of(layout: Layout, job: Job) -> list[Path]:
    """What a job leaves; the rules' outputs are among them."""
    return ROWS[job["stage"]].outputs(layout, job)


def stale_jobs(plan: Plan, layout: Layout) -> dict[str, list[str]]:
    """Reasons, a sentence each, by the name of every job that is stale, in the order of the workflow.

    A job is stale when its description has changed, when an output is not what it wrote, when a job that it
    follows has run since, and when one of those is stale.
    """
    stale: dict[str, list[str]] = {}
    digests: dict[str, str | None] = {}
    for name, job in plan.all_jobs():
        entry, before = read_entry(layout, name), plan.upstream(name)
        digests[name] = outputs_digest(entry)
        reasons = _own_reasons(plan, layout, job, entry)
        if not reasons and (again := [other for other in before if other in stale]):
            reasons = [f"{listed(again)} {'runs' if len(again) == 1 else 'run'} again"]
        if not reasons and entry is not None:
            moved = [other for other in before if entry["upstream"].get(other) != digests[other]]
            reasons = [f"{listed(moved)} left something else since"] if moved else []
        if reasons:
            stale[name] = reasons
    known_hashes.save(layout.known_hashes)  # of a copy of results, which is read once
    return stale


def forced_jobs(plan: Plan, layout: Layout, forced: Collection[str]) -> set[str]:
    """Names of the jobs that run because of Snakemake's --forcerun: those of its rules and files, and what follows.

    Args:
        forced: names of rules, and of output files relative to the working directory.
    """
    found: set[str] = set()
    for name, job in plan.all_jobs():
        own = ROWS[job["stage"]].rule(job) in forced or any(str(path) in forced for path in outputs_of(layout, job))
        if own or not found.isdisjoint(plan.upstream(name)):
            found.add(name)
    return found


def _own_reasons(plan: Plan, layout: Layout, job: Job, entry: Entry | None) -> list[str]:
    if entry is None:
        return ["it has not run to its end yet"]
    reasons = changes(entry, job, plan.modules(job)) or list(damaged(layout, entry))
    if reasons or job["stage"] != "compile" or made_by_this_user(stated_digest(layout, job["model"], job["variant"])):
        return reasons
    return ["its compile cache was not made by this user, and is code: it is compiled anew"]


def mark_stale(plan: Plan, layout: Layout, stale: Collection[str]) -> None:
    """Make the mark a little newer than whatever stale jobs have left; nothing is written where nothing is stale.

    Neither is it while a run is at work, whose jobs must not end with outputs older than the mark. An output with a
    time in the future, as a copy between machines may leave, is set back to now: also that of a job that is not stale,
    for Snakemake takes a job's output to be broken if it is older than an input.
    """
    mark = layout.stale_mark
    if (not stale and mark.is_file()) or run_at_work(layout):
        return
    now = time.time_ns()
    newest = 0
    for name, job in plan.all_jobs():
        for path in ROWS[job["stage"]].writes(layout, job):  # what Snakemake looks at
            with contextlib.suppress(OSError):
                if (modified := path.stat().st_mtime_ns) > now - STEP:
                    os.utime(path, ns=(now - STEP, now - STEP))
                if name in stale:
                    newest = max(newest, min(modified, now - STEP))
    write_text(mark, f"{MARK}{now}\n")  # Snakemake compares contents too
    os.utime(mark, ns=(newest + STEP, newest + STEP))
