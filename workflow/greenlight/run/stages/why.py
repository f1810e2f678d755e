"""why: for each stale job, in words, what has changed since it last ran; nothing is run."""

from __future__ import annotations

from typing import Any

from greenlight.run.command import run_target
from greenlight.run.planning import make_plan
from greenlight.run.staleness import stale_jobs


def why(config: dict[str, Any], files: list[str]) -> str:
    """One paragraph a stale job, in the order of the workflow."""
    plan, layout = make_plan(config, files)
    lines = []
    for name, reasons in stale_jobs(plan, layout).items():
        lines += [name, *(f"    {reason}" for reason in reasons)]
    return "\n".join(lines) if lines else "Nothing is stale."


if __name__ == "__main__":
    run_target(__doc__, why, beside_a_run=True)
