"""judge: checks, verdict, decision, and the decision as shell variables. Always succeeds; `gate` fails."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from greenlight.files import json_text, write_json, write_text
from greenlight.judgement.judge import Verdict
from greenlight.judgement.seal import seal
from greenlight.layout import Layout
from greenlight.provenance import digest, git_commit, utc_now
from greenlight.run.bundle import process_notes, write_bundle
from greenlight.run.command import run_stage
from greenlight.run.deployment import Deployment, deploy_text
from greenlight.run.job import Job
from greenlight.run.judging import judge_run
from greenlight.run.withdrawal import withdraw, withdrawn


def judge_stage(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Write verdict.json, decision.json, the bundle, and deploy.env last; until then the latter turns all off."""
    if not withdrawn(layout):
        withdraw(layout, "judging has begun and not finished", job["published"])
    made = {"made": utc_now(), "commit": git_commit(Path.cwd())}
    evidence, _, _, verdict = judge_run(layout, job["rules"], Path(options.baselines))
    document = verdict.to_dict() | {"key": digest(job), "provenance": made, "platform": evidence.expected.platform}
    models = {model: _decision(verdict, model) for model in verdict.decisions}
    gate = "pass" if verdict.passed else "fail"
    write_json(layout.verdict, seal(json.loads(json_text(document))))
    write_json(layout.decision, {"gate": gate, "reasons": list(verdict.reasons), "models": models, **made})
    variants = {model: decision["variant"] for model, decision in models.items()}
    chosen = {model: variant for model, variant in variants.items() if variant is not None}
    write_bundle(layout, gate, verdict.reasons, chosen, evidence.expected, made)
    deployment = Deployment(
        gate,
        variants,
        **made,
        reasons=verdict.reasons,
        published=job["published"],
        environment=job["environment"],
        bundle=layout.bundle if verdict.passed else None,
        notes=process_notes(layout),
    )
    write_text(layout.deploy, deploy_text(deployment))


def _decision(verdict: Verdict, model: str) -> dict[str, Any]:
    """What to deploy for a model: nothing, where the gate does not pass, be it for another model."""
    decision = verdict.decisions[model].to_dict()
    return {"variant": decision["judged"] if verdict.passed else None, **decision}


if __name__ == "__main__":
    run_stage("Judge the run.", judge_stage, "baselines")
