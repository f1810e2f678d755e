"""Taking back an earlier verdict: nothing says pass while something that it rests on is stale.

A run takes back what its jobs will make anew before the first of them starts, and before Snakemake removes an output;
so a run that is stopped, killed or fails leaves no pass of the run before.
"""

from __future__ import annotations

import contextlib
import html
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from greenlight.errors import UserError
from greenlight.files import write_json, write_text
from greenlight.judgement.seal import write_sealed
from greenlight.layout import Layout
from greenlight.provenance import git_commit, utc_now
from greenlight.report.markup import escape
from greenlight.run.deployment import UNDECIDED, Deployment, deploy_text, switches_in

# Targets that work beside a run; those that change no evidence, and the default one, which runs nothing itself.
BESIDE_A_RUN = ("forecast", "history", "power", "why")
LOOKING = ("all", "accept", "bisect", "compare", "diagnose", "sweep", *BESIDE_A_RUN)


def withdraw_for(layout: Layout, rules: Collection[str], models: Iterable[str]) -> None:
    """Take back what the jobs of some rules will make anew.

    Args:
        rules: names of the rules that Snakemake is about to run.
        models: that the run is about.

    Raises:
        UserError: it can't be taken back.
    """
    changing = set(rules) - set(LOOKING)
    if not changing:
        return
    reason = f"a run of {utc_now()} has begun and not finished"
    if changing - {"report", "archive", "gate"}:
        withdraw(layout, reason, models)
    elif "report" in changing:
        _take_back(layout, reason, models, _reports)
    else:
        _take_back(layout, reason, models)


def withdraw(layout: Layout, reason: str, models: Iterable[str]) -> None:
    """Have verdict, decision, deploy.env, the bundle and the report say that nothing is decided, and why.

    Args:
        models: to turn off in deploy.env, besides those that an older one names.

    Raises:
        UserError: it can't be said; what says otherwise is deleted then, if it can be.
    """
    _take_back(layout, reason, models, _deploy, _verdict, _reports)


def withdrawn(layout: Layout) -> bool:
    """Whether nothing says that something is decided."""
    with contextlib.suppress(OSError):
        return f"# Verdict: {UNDECIDED}\n" in layout.deploy.read_text(encoding="utf-8", errors="replace")
    return False


def _take_back(layout: Layout, reason: str, models: Iterable[str], *parts: Any) -> None:
    """Delete gate.passed, then let each part say that nothing is decided."""
    failed: list[str] = []
    models = list(models)
    for part in (_passed, *parts):
        try:
            part(layout, reason, models)
        except OSError as error:
            failed.append(f"{error.filename or layout.root} ({error.strerror or error})")
            own = (layout.passed, layout.deploy, layout.manifest, layout.verdict, layout.decision)
            for path in (*own, layout.report, layout.report_page, *layout.notices):
                with contextlib.suppress(OSError):
                    path.unlink()
    if failed:
        raise UserError(
            f"results_folder: what was decided before could not be taken back in {', '.join(failed)}; expected a "
            f"folder with free space that can be written to. Mend that, and use no deploy.env of {layout.root} before"
        )


def _passed(layout: Layout, reason: str, models: list[str]) -> None:
    layout.passed.unlink(missing_ok=True)


def _made() -> dict[str, str]:
    return {"made": utc_now(), "commit": git_commit(Path.cwd())}


def _deploy(layout: Layout, reason: str, models: list[str]) -> None:
    """Always: a shell that sources it turns compilation off."""
    older = layout.deploy.read_text(encoding="utf-8", errors="replace") if layout.deploy.is_file() else ""
    off, made = switches_in(older), _made()
    undecided = Deployment(UNDECIDED, dict.fromkeys(models), made["made"], made["commit"], [reason], also_off=off)
    write_text(layout.deploy, deploy_text(undecided))
    from greenlight.run.bundle import undecided_bundle  # reads tables: planning does not

    undecided_bundle(layout, reason, made)


def _verdict(layout: Layout, reason: str, models: list[str]) -> None:
    said = {"gate": UNDECIDED, "reasons": [reason], "models": {}}
    if layout.verdict.exists():
        document = {"format": 1, **said, "checks": [], "problems": [], "provenance": _made()}
        write_sealed(layout.verdict, document)
    if layout.decision.exists():
        write_json(layout.decision, {**said, **_made()})


def _reports(layout: Layout, reason: str, models: list[str]) -> None:
    for path in layout.notices:
        path.unlink(missing_ok=True)
    if layout.report.exists():
        text = f"# Not decided\n\nNothing is to be deployed: {escape(reason)}. Earlier reports are in `archive/`.\n"
        write_text(layout.report, text)
    if layout.report_page.exists():
        text = f"Nothing is to be deployed: {html.escape(reason)}. Earlier reports are in <code>archive/</code>."
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Not decided</title><p>{text}</p></html>\n'
        write_text(layout.report_page, page)
