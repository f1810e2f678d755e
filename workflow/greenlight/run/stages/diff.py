"""diff: what is different from the accepted baselines, number by number, before anything is judged."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from greenlight.files import write_json
from greenlight.judgement.accept import current_documents, describe_changes
from greenlight.judgement.baseline import Baselines, Refused, accuracy_file, load_baselines, speed_file
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.rules import Rules
from greenlight.layout import Layout
from greenlight.provenance import digest
from greenlight.run.command import run_stage
from greenlight.run.job import Job


def diff(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Write diff.json: for each baseline its state and the changes, a line each."""
    expected = load_expected(layout.expected)
    # Scores and latencies alone: whether they are those of the forecasts is for judge to say.
    evidence = load_evidence(layout.root, expected, forecasts=False)
    baselines = load_baselines(Path(options.baselines), expected)
    now = current_documents(evidence, Rules.model_validate(job["rules"]))
    found = {name: _compare(name, document, baselines) for name, document in sorted(now.items())}
    write_json(layout.difference, {"key": digest(job), "baselines": found, "files": dict(baselines.files)})


def _compare(name: str, document: dict[str, Any], baselines: Baselines) -> dict[str, Any]:
    if document["kind"] == "accuracy":
        old: Any = baselines.accuracy.get(document["model"])
        assert name == accuracy_file(document["model"])
    else:
        old = baselines.speed
        assert name == speed_file(document["platform"]["id"])
    state = "absent" if old is None else "refused" if isinstance(old, Refused) else "compared"
    accepted = old.accepted.model_dump() if state == "compared" else None
    refused = asdict(old) if isinstance(old, Refused) else None
    return {"state": state, "accepted": accepted, "refused": refused, "changes": describe_changes(old, document)}


if __name__ == "__main__":
    run_stage("Compare the run with the stored baselines.", diff, "baselines")
