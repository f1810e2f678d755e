"""judge: checks, verdict, decision, and the decision as shell variables. Always succeeds; `gate` fails."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenlight.files import write_text
from greenlight.judgement.expected import Expected
from greenlight.judgement.judge import Verdict
from greenlight.judgement.scope import scope_words
from greenlight.judgement.seal import write_sealed
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
    verdict, expected, made = write_verdict(layout, job, Path(options.baselines))
    chosen = {model: variant for model, variant in _variants(verdict).items() if variant is not None}
    write_bundle(layout, _word(verdict), verdict.reasons, chosen, expected, made)
    write_deployment(layout, job, verdict, made, process_notes(layout))


def write_verdict(layout: Layout, job: Job, baselines: Path) -> tuple[Verdict, Expected, dict[str, str]]:
    """Judge; write verdict.json and decision.json. Returns also what was expected, and {"made", "commit"}."""
    made = {"made": utc_now(), "commit": git_commit(Path.cwd())}
    evidence, _, _, verdict = judge_run(layout, job["rules"], baselines)
    document = verdict.to_dict() | {"key": digest(job), "provenance": made, "platform": evidence.expected.platform}
    models = {model: _decision(verdict, model) for model in verdict.decisions}
    write_sealed(layout.verdict, document)
    decision = {"gate": _word(verdict), "reasons": list(verdict.reasons), "models": models, "key": digest(job), **made}
    write_sealed(layout.decision, decision)
    return verdict, evidence.expected, made


def write_deployment(
    layout: Layout, job: Job, verdict: Verdict, made: dict[str, str], notes: Sequence[str] = ()
) -> None:  # fmt: skip
    """Write deploy.env."""
    deployment = Deployment(
        _word(verdict),
        _variants(verdict),
        **made,
        reasons=verdict.reasons,
        published=job["published"],
        scopes={model: scope_words(scope) for model, scope in verdict.scopes.items()},
        processes={model: scope.get("process", {}) for model, scope in verdict.scopes.items()},
        environment=job["environment"],
        bundle=layout.bundle if verdict.passed else None,
        notes=notes,
    )
    write_text(layout.deploy, deploy_text(deployment))


def _word(verdict: Verdict) -> str:
    return "pass" if verdict.passed else "fail"


def _variants(verdict: Verdict) -> dict[str, str | None]:
    """What to deploy by model."""
    return {model: _decision(verdict, model)["variant"] for model in verdict.decisions}


def _decision(verdict: Verdict, model: str) -> dict[str, Any]:
    """What to deploy for a model: nothing, where the gate does not pass, be it for another model."""
    decision = verdict.decisions[model].to_dict()
    variant = decision["judged"] if verdict.passed else None
    return {"variant": variant, "scope": verdict.scopes[model], **decision}


if __name__ == "__main__":
    run_stage("Judge the run.", judge_stage, "baselines")
