"""How long the jobs of the run at work took before, for the line that Snakemake's logger tells of each.

The Snakefile and the logger (`workflow/snakemake_logger_plugin_greenlight`) run in one process, and meet here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from greenlight.layout import Layout
from greenlight.run.ledger import read_entry, seconds_of
from greenlight.run.staleness import outputs_of

if TYPE_CHECKING:
    from greenlight.run.jobs import Plan

_expected: dict[str, float | None] = {}


def seconds_before(plan: Plan, layout: Layout, outputs: Collection[str]) -> dict[str, float | None]:
    """How long the jobs took when they last ran, by their outputs; None where one never did.

    Args:
        outputs: one of each job that is to run.
    """
    found: dict[str, float | None] = {}
    for name, job in plan.all_jobs():
        own = next((str(path) for path in outputs_of(layout, job) if str(path) in outputs), None)
        if own is not None:
            found[own] = seconds_of(read_entry(layout, name))
    return found


def expect_seconds(seconds: Mapping[str, float | None]) -> None:
    """Say, before a run, how long its jobs are expected to take, by their first outputs."""
    _expected.clear()
    _expected.update(seconds)


def seconds_left(done: Collection[str]) -> float | None:
    """Seconds, one after the other, of the jobs whose outputs are not `done`; None where one is not known."""
    left = [seconds for output, seconds in _expected.items() if output not in done]
    return None if not left or None in left else sum(seconds for seconds in left if seconds is not None)
