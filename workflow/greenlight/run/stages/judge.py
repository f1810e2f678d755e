"""judge: checks, verdict, decision, and the decision as shell variables. Always succeeds; `gate` fails."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from greenlight.files import json_text, write_json, write_text
from greenlight.judgement.judge import Verdict
from greenlight.judgement.seal import seal
from greenlight.layout import Layout
from greenlight.provenance import digest, git_commit, utc_now
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.run.judging import judge_run
from greenlight.variants import Variant
from greenlight.watch.caches import cache_environment


def judge_stage(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Write verdict.json, decision.json and deploy.env."""
    evidence, _, _, verdict = judge_run(layout, job["rules"], Path(options.baselines))
    made = {"made": utc_now(), "commit": git_commit(Path.cwd())}
    document = verdict.to_dict() | {"key": digest(job), "provenance": made, "platform": evidence.expected.platform}
    write_json(layout.verdict, seal(json.loads(json_text(document))))
    models = {model: _decision(verdict, model) for model in verdict.decisions}
    gate = "pass" if verdict.passed else "fail"
    write_json(layout.decision, {"gate": gate, "reasons": list(verdict.reasons), "models": models, **made})
    write_text(layout.deploy, deploy_lines(layout, gate, models, made))


def _decision(verdict: Verdict, model: str) -> dict[str, Any]:
    """What to deploy for a model: nothing, where the gate does not pass, be it for another model."""
    decision = verdict.decisions[model].to_dict()
    return {"variant": decision["judged"] if verdict.passed else None, **decision}


def deploy_lines(layout: Layout, gate: str, models: dict[str, Any], made: dict[str, str]) -> str:
    """The decision as variables that a POSIX shell can source.

    Where the gate does not pass, every model is set to run eager and GREENLIGHT_VERDICT says so, so that a deploy
    script that does not look at the exit code deploys nothing that was not shown.
    """
    lines = [
        f"# Written by Greenlight at {made['made']}, commit {made['commit']}.",
        f"GREENLIGHT_VERDICT={gate}",
    ]
    caches: dict[str, str] = {}
    for model, decision in models.items():
        name, chosen = model.upper(), decision["variant"]
        variant = Variant.parse(chosen) if chosen else None
        compiled = bool(variant and variant.compiled)
        lines.append(f"# {model}: {chosen or 'the gate does not pass; eager until it does'}")
        lines.append(f"{name}_VARIANT={shlex.quote(chosen or '')}")
        lines.append(f"{name}_IMPLEMENTATION={shlex.quote(variant.implementation if variant else '')}")
        lines.append(f"{name}_PRECISION={variant.precision if variant else ''}")
        lines.append(f"{name}_COMPILE={int(compiled)}")
        lines.append(f"{name}_DISABLE_COMPILE={int(not compiled)}")
        lines.append(f"{name}_COMPILE_MODE={variant.mode if compiled else ''}")
        lines.append(f"{name}_COMPILE_BACKEND={'inductor' if compiled else ''}")
        if compiled:
            own = cache_environment(layout.cache(model, chosen))
            lines += [f"{name}_{key}={shlex.quote(value)}" for key, value in own.items()]
            caches |= {key: value for key, value in own.items() if key not in caches}
    lines.append("# One process a model; a process that runs both uses the first model's cache for both.")
    lines += [f"{key}={shlex.quote(value)}" for key, value in caches.items() if key != "TMPDIR"]
    names = sorted({line.partition("=")[0] for line in lines if not line.startswith("#")})
    return "\n".join([*lines, f"export {' '.join(names)}"]) + "\n"


if __name__ == "__main__":
    run_stage("Judge the run.", judge_stage, "baselines")
