"""gate: the verdict and the decision in a few lines, and the exit code: 0 only if the verdict is a pass."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenlight.errors import say, shown
from greenlight.files import sha256_of, write_text
from greenlight.layout import Layout
from greenlight.report.markup import fenced, one_line
from greenlight.report.reading import Reader, at
from greenlight.report.variants import gate_word
from greenlight.run.command import report_error, run_stage
from greenlight.run.job import Job

REASONS_SHOWN = 8
CHECK = "python -m greenlight_forecasters.check"


def gate(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Print the verdict; write gate.passed where it is a pass, else exit with 1."""
    layout.passed.unlink(missing_ok=True)
    passed, text = summary(layout, job.get("before", {}))
    _tell_ci(layout, passed, text)
    if not passed:
        report_error(layout, text)
        sys.exit(1)
    print(shown(text), flush=True)
    write_text(layout.passed, text + "\n")


def summary(layout: Layout, before: Mapping[str, str] | None = None) -> tuple[bool, str]:
    """(whether the gate passes, what to print). A verdict that is missing or can't be trusted never passes.

    Args:
        before: keys of the jobs `judge` and `archive` of this run, which their files must carry; None to compare none.
    """
    reader = Reader(layout.root)
    verdict = reader.json(layout.verdict, sealed=True)
    if not verdict:
        return False, (
            f"FAIL: there is no verdict that can be trusted ({'; '.join(reader.problems)}). "
            f"Delete {layout.verdict} and run the workflow again."
        )
    if foreign := foreign_files(layout, before or {}):
        return False, f"FAIL: {foreign[0]}."
    word, models = gate_word(verdict), at(verdict, "models", kind=dict, default={})
    reasons = [one_line(reason) for reason in at(verdict, "reasons", kind=list, default=[])]
    changed = changed_evidence(layout, verdict)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return False, f"FAIL: {changed[0]}{more} changed after it was judged. Run the workflow again."
    passed = word == "pass"
    lines = ["FAIL: the verdict contradicts itself" if word == "unknown" else word.upper()]
    for model, entry in models.items():
        lines.append(f"  {model}: {_decision(entry, passed)}")
    lines += [f"  - {reason}" for reason in reasons[:REASONS_SHOWN]]
    if len(reasons) > REASONS_SHOWN:
        lines.append(f"  - and {len(reasons) - REASONS_SHOWN} more")
    lines.append(f"  report: {layout.report} (as one page: {layout.report_page})")
    if passed and layout.manifest.is_file():
        lines.append(f"  to production: {layout.bundle} (before the deploy, there: {CHECK} {layout.bundle})")
    folder = at(reader.json(layout.archived, quiet=True), "folder", kind=str)
    if folder:
        lines.append(f"  archived: {layout.root / folder}")
    return passed, "\n".join(lines)


def _tell_ci(layout: Layout, passed: bool, text: str) -> None:
    """Append the summary to the page of a GitHub job, where `GITHUB_STEP_SUMMARY` names its file.

    The report was made before: where it says another thing than the gate, the gate's own words stand there, and
    the files for CI go, so that none of them shows a pass.
    """
    summary, *others = layout.notices
    said = summary.read_text(encoding="utf-8") if summary.is_file() else ""
    if said.startswith("# Greenlight: PASS\n") != passed:
        said = f"# Greenlight: {'PASS' if passed else 'FAIL'}\n\n{fenced(text)}\n"
        for path in (summary, *others):
            path.unlink(missing_ok=True)
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with open(page, "a", encoding="utf-8") as file:
                file.write(f"{said}\n")
        except OSError as error:
            say(f"{page}: the summary could not be appended ({error})")


def changed_evidence(layout: Layout, verdict: dict[str, Any]) -> list[str]:
    """Files that a verdict rests on and that are no longer what was judged, relative to the results folder."""
    listed = {
        str(at(entry, "file")): at(entry, "sha256", kind=str)
        for check in at(verdict, "checks", kind=list, default=[])
        for entry in at(check, "evidence", kind=list, default=[])
    }
    own = {name: digest for name, digest in listed.items() if not name.startswith("baselines/")}
    return [name for name, digest in sorted(own.items()) if _digest(layout.root / name) != digest]


def foreign_files(layout: Layout, before: Mapping[str, str]) -> list[str]:
    """What does not belong to this run and its verdict, in words; see `summary` for `before`."""
    reader = Reader(layout.root)
    for path, stage, sealed in (
        (layout.verdict, "judge", True),
        (layout.decision, "judge", True),
        (layout.archived, "archive", False),
    ):
        if stage in before:
            reader.json(path, sealed=sealed, key=before[stage])
    return reader.problems


def _digest(path: Path) -> str | None:
    """SHA-256 of a file; None where there is none to read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def _decision(entry: object, passed: bool) -> str:
    judged = at(entry, "decision", "judged", kind=str)
    if judged is None:
        return "deploy nothing (no variant passes)"
    if at(entry, "gate") != "pass":
        return f"deploy nothing ({judged}): it is held back, see below"
    if not passed:
        return f"{judged} passes, held back because the gate does not"
    reason = at(entry, "decision", "reason", kind=str, default="")
    return f"deploy {judged}" + (f" ({one_line(reason)})" if judged == at(entry, "decision", "chosen") else "")


if __name__ == "__main__":
    run_stage("Print the verdict; exit with 0 only if it is a pass.", gate)
