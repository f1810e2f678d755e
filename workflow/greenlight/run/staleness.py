"""Which jobs are stale, and why: the plan held against the ledger. Snakemake, `why` and the run all go by it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenlight.code import Code
from greenlight.errors import NotAsPlanned, UserError
from greenlight.files import read_json, write_json, write_text
from greenlight.layout import Layout
from greenlight.provenance import utc_now
from greenlight.run.job import Job
from greenlight.run.ledger import Entry, changes, code_changes, damaged, listed, outputs_digest, read_entry
from greenlight.run.locking import run_at_work
from greenlight.run.records import stated_digest
from greenlight.run.seals import made_by_this_user

if TYPE_CHECKING:
    from greenlight.run.jobs import Plan

PACKAGE = Path(__file__).resolve().parents[1]
STEP = 10_000_000  # nanoseconds
MARK = "Snakemake takes this file for a new input of every job that is stale; `snakemake --cores 1 why` says why.\n"


def upstream(plan: Plan, job: Job) -> list[str]:
    """Names of the jobs whose outputs a job reads; the rules' inputs say the same in files."""
    stage, model, variant = job["stage"], job.get("model"), job.get("variant")
    series = [f"prepare/{shard}" for shard in range(len(plan.shards))]
    match stage:
        case "compile":
            return [f"clear/{model}/{variant}", f"weights/{model}"]
        case "predict" | "probe" | "repeat" | "time":
            own = [f"prepare/{job.get('shard', 0)}", f"weights/{model}"]
            own += [f"predict/{model}/{variant}/0"] if stage == "repeat" else []
            return own + [name for name in (f"compile/{model}/{variant}",) if name in plan.trial_keys()]
        case "score":
            return series + [name for name in plan.trial_keys() if name.startswith(f"predict/{model}/")]
        case "replicate":
            measured = tuple(f"{other}/{model}/" for other in ("predict", "compile"))
            own = [f"weights/{model}", *(name for name in plan.trial_keys() if name.startswith(measured))]
            return [*series, *own, f"score/{model}"]
        case "expect":
            return series + [f"weights/{name}" for name in plan.model_names]
        case "diff" | "judge" | "report":
            evidence = [*series, *plan.trial_keys(), *(f"score/{name}" for name in plan.model_names)]
            evidence += [f"replicate/{name}" for name in plan.partners]
            after = {"diff": [], "judge": ["diff"], "report": ["diff", "judge"]}[stage]
            return [*evidence, *(f"weights/{name}" for name in plan.model_names), "expect", *after]
        case "archive":
            return ["judge", "report"]
        case "gate":
            return ["judge", "report", "archive"]
    return []


def outputs_of(layout: Layout, job: Job) -> list[Path]:
    """What a job leaves; the rules' outputs are among them."""
    stage, model, variant = job["stage"], job.get("model", ""), job.get("variant", "")
    match stage:
        case "prepare":
            files = [file for s in job["symbols"] for file in (layout.series(s), layout.data_report(s))]
            return [layout.prepared(job["shard"]), *files]
        case "weights":
            return [layout.weights(model)]
        case "clear":
            return [layout.cleared(model, variant)]
        case "compile":
            return [layout.record(stage, model, variant), layout.cache(model, variant)]
        case "predict":
            forecasts = [layout.forecast(model, variant, symbol) for symbol in job["symbols"]]
            return [layout.predict_record(model, variant, job["shard"]), *forecasts]
        case "probe" | "repeat":
            return [layout.record(stage, model, variant)]
        case "time":
            return [layout.record(stage, model, variant), layout.pairs(model, variant)]
        case "score":
            made = [(layout.window_scores(model, v), layout.record("scores", model, v)) for v in job["variants"]]
            return [*(file for both in made for file in both), layout.score_summary(model)]
        case "replicate":
            return [layout.record(stage, model, variant) for variant in job["partners"]]
    return {
        "expect": [layout.expected],
        "diff": [layout.difference],
        "judge": [layout.verdict, layout.decision, layout.deploy, layout.manifest, layout.bundle_cache],
        "report": [layout.report, layout.report_page, layout.figures, *layout.notices],
        "archive": [layout.archived],
        "gate": [layout.passed],
    }[stage]


def stale_jobs(plan: Plan, layout: Layout) -> dict[str, list[str]]:
    """Reasons, a sentence each, by the name of every job that is stale, in the order of the workflow.

    A job is stale when its description has changed, when an output is not what it wrote, when a job that it
    follows has run since, and when one of those is stale.
    """
    stale: dict[str, list[str]] = {}
    digests: dict[str, str | None] = {}
    for name, job in plan.all_jobs():
        entry, before = read_entry(layout, name), upstream(plan, job)
        digests[name] = outputs_digest(entry)
        reasons = _own_reasons(plan, layout, job, entry)
        if not reasons and (again := [other for other in before if other in stale]):
            reasons = [f"{listed(again)} {'runs' if len(again) == 1 else 'run'} again"]
        if not reasons and entry is not None:
            moved = [other for other in before if entry["upstream"].get(other) != digests[other]]
            reasons = [f"{listed(moved)} left something else since"] if moved else []
        if reasons:
            stale[name] = reasons
    return stale


def forced_jobs(plan: Plan, layout: Layout, forced: Collection[str]) -> set[str]:
    """Names of the jobs that run because of Snakemake's --forcerun: those of its rules and files, and what follows.

    Args:
        forced: names of rules, and of output files relative to the working directory.
    """
    found: set[str] = set()
    for name, job in plan.all_jobs():
        number = job.get("shard", job.get("model") if job["stage"] in ("score", "replicate") else None)
        rule = job["stage"] if number is None else f"{job['stage']}_{number}"
        own = rule in forced or any(str(path) in forced for path in outputs_of(layout, job))
        if own or not found.isdisjoint(upstream(plan, job)):
            found.add(name)
    return found


def _own_reasons(plan: Plan, layout: Layout, job: Job, entry: Entry | None) -> list[str]:
    if entry is None:
        return ["it has not run to its end yet"]
    reasons = changes(entry, job, plan.modules(job)) or list(damaged(layout, entry))
    if reasons or job["stage"] != "compile" or made_by_this_user(stated_digest(layout, job["model"], job["variant"])):
        return reasons
    return ["its compile cache was not made by this user, and is code: it is compiled anew"]


def mark_stale(plan: Plan, layout: Layout, stale: Collection[str]) -> None:
    """Make the mark a little newer than whatever stale jobs have left; nothing is written where nothing is stale.

    Neither is it while a run is at work, whose jobs must not end with outputs older than the mark. An output with a
    time in the future, as a copy between machines may leave, is set back to now.
    """
    mark = layout.stale_mark
    if (not stale and mark.is_file()) or run_at_work(layout):
        return
    now = time.time_ns()
    newest = 0
    for name, job in plan.all_jobs():
        for path in outputs_of(layout, job) if name in stale else ():
            with contextlib.suppress(OSError):
                if (modified := path.stat().st_mtime_ns) > now - STEP:
                    os.utime(path, ns=(now - STEP, now - STEP))
                newest = max(newest, min(modified, now - STEP))
    write_text(mark, f"{MARK}{now}\n")  # Snakemake compares contents too
    os.utime(mark, ns=(newest + STEP, newest + STEP))


def write_plan(plan: Plan, layout: Layout) -> None:
    """Leave for the jobs of this run what they are to do."""
    jobs: dict[str, Any] = {}
    for name, job in plan.all_jobs():
        jobs[name] = {"job": job, "upstream": upstream(plan, job), "code": job["code"]}
    code = {key: {"code": one.plain(), "contents": plan.contents(one)} for key, one in plan.codes.items()}
    write_json(layout.plan, {"started": utc_now(), "package": str(PACKAGE), "jobs": jobs, "code": code})


def planned(layout: Layout, name: str) -> dict[str, Any]:
    """{"job", "upstream", "code", "modules", "package"} of a job of the run at work, by its name (`job_name`).

    `code` is what `check_code` takes, `modules` the contents of it when the run was planned, `package` the folder of
    greenlight then.
    """
    try:
        plan = read_json(layout.plan)
        found = plan["jobs"][name]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{layout.plan}: there is no job {name!r} ({error}); expected one of the run at work. "
            "Jobs are started by `snakemake --cores 1`"
        ) from error
    code = plan["code"][found["code"]]
    own = {"code": code["code"], "modules": code["contents"], "package": plan["package"]}
    return {"job": found["job"], "upstream": found["upstream"], **own}


def check_code(plan: Mapping[str, Any]) -> None:
    """NotAsPlanned unless the code of a job, as `planned` gives it, is what it was when the run was planned."""
    if plan["package"] != str(PACKAGE):
        raise NotAsPlanned(
            f"the package greenlight is imported from {PACKAGE}, but the run was planned by the one in "
            f"{plan['package']}; see PYTHONPATH, and what is installed in {sys.prefix}"
        )
    if changed := code_changes(plan["modules"], Code.of_plain(plan["code"]).contents()):
        raise NotAsPlanned(
            f"{listed(changed)} since the run was planned, so that nothing of this job counts; run again"
        )
