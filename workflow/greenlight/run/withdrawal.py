"""Taking back an earlier verdict: nothing says pass while something that it rests on is stale."""

from __future__ import annotations

from pathlib import Path

from greenlight.files import write_text
from greenlight.layout import Layout
from greenlight.plugins import MODELS
from greenlight.provenance import git_commit, utc_now
from greenlight.run.bundle import undecided_bundle
from greenlight.run.deployment import UNDECIDED, Deployment, deploy_text, switches_in


def withdraw(layout: Layout, reason: str) -> None:
    """Have deploy.env and the bundle say that nothing is decided, and why."""
    made = {"made": utc_now(), "commit": git_commit(Path.cwd())}
    older = layout.deploy.read_text(encoding="utf-8", errors="replace") if layout.deploy.is_file() else ""
    undecided = Deployment(
        UNDECIDED, dict.fromkeys(MODELS), **made, reasons=[reason], also_off=switches_in(older)
    )  # fmt: skip
    write_text(layout.deploy, deploy_text(undecided))
    undecided_bundle(layout, reason, made)
