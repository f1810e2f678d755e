"""accept: store this run's evidence as the baseline of the next ones; shows first what that changes."""

from __future__ import annotations

from pathlib import Path

from greenlight.files import write_text
from greenlight.judgement.accept import accepted_text, build_baselines, describe_changes
from greenlight.judgement.baseline import ACCEPTED, baseline_text
from greenlight.layout import Layout
from greenlight.provenance import git_commit, user_name, utc_now
from greenlight.run.command import run_target
from greenlight.run.judging import judge_run
from greenlight.settings import Settings, load_settings


def accept(settings: Settings) -> str:
    """Write the baselines and return what was changed, in words; UserError for a run that must not be accepted."""
    layout, folder = Layout(Path(settings.results_folder)), Path(settings.baselines_folder)
    evidence, stored, rules, verdict = judge_run(layout, settings.rules.model_dump(mode="json"), folder)
    documents = build_baselines(
        evidence,
        verdict,
        rules,
        who=settings.accept.who or user_name(),
        when=utc_now(),
        commit=git_commit(Path.cwd()),
        reason=settings.accept.reason or "accepted without a further reason: the gate passed",
        forced=settings.accept.force,
    )
    lines = []
    for name, document in documents.items():
        old = stored.accuracy.get(document["model"]) if document["kind"] == "accuracy" else stored.speed
        changed = describe_changes(old, document)
        lines += [f"{folder / name}:", *(f"  {change}" for change in changed or ["nothing but who and when"])]
        write_text(folder / name, baseline_text(document))
    write_text(folder / ACCEPTED, accepted_text(folder, documents))
    return "\n".join([*lines, "Commit these files to keep the baseline."])


if __name__ == "__main__":
    run_target(__doc__, lambda config, files: accept(load_settings(config, files)))
