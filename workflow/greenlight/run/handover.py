"""What a run leaves for its jobs: their descriptions, upstream and outputs, and the code that they are to be.

Apart from planning, so that a job depends on no other stage's plan.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenlight.code import Code
from greenlight.errors import NotAsPlanned, UserError
from greenlight.files import read_json, write_json
from greenlight.layout import Layout
from greenlight.provenance import utc_now
from greenlight.run.ledger import code_changes, listed

if TYPE_CHECKING:
    from greenlight.run.jobs import Plan

PACKAGE = Path(__file__).resolve().parents[1]


def write_plan(plan: Plan, layout: Layout, outputs: Mapping[str, list[Path]]) -> None:
    """Leave for the jobs of this run what they are to do.

    Args:
        outputs: what each job leaves, by its name.
    """
    jobs: dict[str, Any] = {}
    for name, job in plan.all_jobs():
        files = [path.relative_to(layout.root).as_posix() for path in outputs[name]]
        jobs[name] = {"job": job, "upstream": plan.upstream(name), "outputs": files}
    code = {key: {"code": one.plain(), "contents": plan.contents(one)} for key, one in plan.codes.items()}
    write_json(layout.plan, {"started": utc_now(), "package": str(PACKAGE), "jobs": jobs, "code": code})


def planned(layout: Layout, name: str) -> dict[str, Any]:
    """{"job", "upstream", "outputs", "code", "modules", "package"} of a job of the run at work, by its name.

    `code` is what `check_code` takes, `modules` the contents of it when the run was planned, `package` the folder of
    greenlight then.
    """
    try:
        plan = read_json(layout.plan)
        found: dict[str, Any] = plan["jobs"][name]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{layout.plan}: there is no job {name!r} ({error}); expected one of the run at work. "
            "Jobs are started by `snakemake --cores 1`"
        ) from error
    code = plan["code"][found["job"]["code"]]
    return found | {"code": code["code"], "modules": code["contents"], "package": plan["package"]}


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
