"""gate: the verdict and the decision in a few lines, and the exit code: 0 only if the verdict is a pass."""

from __future__ import annotations

import argparse
import sys

from greenlight.files import write_text
from greenlight.layout import Layout
from greenlight.report.markup import one_line
from greenlight.report.reading import Reader, at
from greenlight.report.variants import gate_word
from greenlight.stages.command import report_error, run_stage
from greenlight.stages.jobs import Job

REASONS_SHOWN = 8


def gate(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Print the verdict; write gate.passed where it is a pass, else exit with 1."""
    layout.passed.unlink(missing_ok=True)
    passed, text = summary(layout)
    if not passed:
        report_error(layout, text)
        sys.exit(1)
    print(text, flush=True)
    write_text(layout.passed, text + "\n")


def summary(layout: Layout) -> tuple[bool, str]:
    """(whether the gate passes, what to print). A verdict that is missing or can't be trusted never passes."""
    reader = Reader(layout.root)
    verdict = reader.json(layout.verdict, sealed=True)
    if not verdict:
        return False, (
            f"FAIL: there is no verdict that can be trusted ({'; '.join(reader.problems)}). "
            f"Delete {layout.verdict} and run the workflow again."
        )
    word, models = gate_word(verdict), at(verdict, "models", kind=dict, default={})
    reasons = [one_line(reason) for reason in at(verdict, "reasons", kind=list, default=[])]
    passed = word == "pass" and not reasons and bool(models)
    lines = [word.upper() if passed or word != "pass" else "FAIL: the verdict contradicts itself"]
    for model, entry in models.items():
        lines.append(f"  {model}: {_decision(entry)}")
    lines += [f"  - {reason}" for reason in reasons[:REASONS_SHOWN]]
    if len(reasons) > REASONS_SHOWN:
        lines.append(f"  - and {len(reasons) - REASONS_SHOWN} more")
    lines.append(f"  report: {layout.report} (as one page: {layout.report_page})")
    folder = at(reader.json(layout.archived, quiet=True), "folder", kind=str)
    if folder:
        lines.append(f"  archived: {layout.root / folder}")
    return passed, "\n".join(lines)


def _decision(entry: object) -> str:
    judged = at(entry, "decision", "judged", kind=str)
    if at(entry, "gate") != "pass" or judged is None:
        return f"deploy nothing ({judged or 'no variant passes'})"
    reason = at(entry, "decision", "reason", kind=str, default="")
    return f"deploy {judged}" + (f" ({one_line(reason)})" if judged == at(entry, "decision", "chosen") else "")


if __name__ == "__main__":
    run_stage("Print the verdict; exit with 0 only if it is a pass.", gate)
