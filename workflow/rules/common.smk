"""The plan of the run: checked settings, symbols, shards, and the job description of every stage.

The table of stages (`run/table.py`) says which jobs there are; `run/staleness.py` finds which are stale, by their
descriptions and the contents of their outputs. A stale job gets a new file as input, so that Snakemake runs it, and all other inputs are
`ancient`, because file times say nothing after a copy, a clone or a touch. Series and forecasts, one a symbol, are
not listed as files: the record of the job that writes them stands for them here, the ledger knows each.
"""

import functools
import json
import os
import sys
from pathlib import Path

try:
    from greenlight.errors import UserError, sentence_of, shown
    from greenlight.run.durations import expect_seconds, seconds_before
    from greenlight.run.handover import write_plan
    from greenlight.run.locking import claim_run
    from greenlight.run.planning import PLANNED_DEVICE, make_plan, withdraw_after, without_baselines
    from greenlight.run.resources import limits_of, resources_of
    from greenlight.run.staleness import forced_jobs, mark_stale, outputs_of, stale_jobs
    from greenlight.run.table import ROWS
    from greenlight.run.withdrawal import BESIDE_A_RUN, LOOKING, withdraw_for
    from greenlight.trials.environment import dropped_words, steering
except ModuleNotFoundError as error:
    raise WorkflowError(
        f"{error}. Greenlight's environment is not complete: run `make env` and then `.venv/bin/snakemake --cores 1`, "
        "or `pip install --no-deps -e .` in an environment made from envs/."
    )

# Jobs run `python -m greenlight…`: the Python that runs Snakemake, also where its environment is not activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

# Snakemake knows its targets only after this; a diagnosis must come out where there is no device, too.
DIAGNOSING = any(argument.partition(":")[0] == "diagnose" for argument in sys.argv[1:])

try:
    PLAN, LAYOUT = make_plan(
        config, workflow.configfiles, for_a_job=workflow.remote_exec, diagnosing=DIAGNOSING, checkout=Path(workflow.basedir)
    )
    STALE = stale_jobs(PLAN, LAYOUT)
    STALE_MARK = str(LAYOUT.stale_mark)
    if not workflow.remote_exec:
        mark_stale(PLAN, LAYOUT, STALE)
except (UserError, OSError) as error:
    error = UserError(sentence_of(error)) if isinstance(error, OSError) else error
    print(f"greenlight: {shown(error)}", file=sys.stderr)
    only_looks = workflow.output_settings.dryrun or workflow.remote_exec or not set(LOOKING[1:]).isdisjoint(sys.argv)
    if said := "" if only_looks else withdraw_after(error, config, workflow.configfiles):
        print(said, file=sys.stderr)
    sys.exit(2)

os.environ["GREENLIGHT_DEVICE"] = PLAN.settings.device.model_dump_json()
os.environ["GREENLIGHT_SCRATCH"] = PLAN.settings.trials.scratch_folder or ""
os.environ[PLANNED_DEVICE] = json.dumps([PLAN.device, PLAN.device_name])
RESULTS = str(LAYOUT.root)
# A cluster's executor counts nodes; there, and where a node reads the workflow again, this machine sets no limits.
CORES = None if workflow.remote_exec or workflow.nodes is not None else workflow.cores
if CORES is not None:
    for resource, limit in limits_of(PLAN.settings, PLAN.device, CORES).items():
        if resource == "slots" or resource not in workflow.global_resources:  # as of `--resources mem_mb=…`
            workflow.global_resources[resource] = limit
THREADS = PLAN.settings.threads
SHARDS = dict(enumerate(PLAN.shards))


wildcard_constraints:
    model="[a-z0-9-]+",
    variant="[a-z0-9-]+",


@functools.cache
def forced():
    """Names of the jobs that run because the command line forces rules or files."""
    return forced_jobs(PLAN, LAYOUT, set(map(str, workflow.dag_settings.forcerun)))


def needs(stage):
    """The resources of a stage's jobs: see `run/resources.py`."""
    return resources_of(stage, PLAN.settings, PLAN.device, CORES)


onstart:
    rules_to_run = {job.rule.name for job in workflow.dag.needrun_jobs()}
    if not rules_to_run.issubset(BESIDE_A_RUN):
        try:
            claim_run(LAYOUT)
            withdraw_for(LAYOUT, rules_to_run, PLAN.model_names)
            waiting = {str(job.output[0]) for job in workflow.dag.needrun_jobs() if job.output}
            expect_seconds(seconds_before(PLAN, LAYOUT, waiting))
            write_plan(PLAN, LAYOUT, {name: outputs_of(LAYOUT, job) for name, job in PLAN.all_jobs()})
            LAYOUT.last_error.unlink(missing_ok=True)
        except (UserError, OSError) as error:
            said = sentence_of(error) if isinstance(error, OSError) else error
            print(f"greenlight: {shown(said)}", file=sys.stderr)
            sys.exit(2)
        for said in (dropped_words(steering(os.environ), PLAN.settings.trials.environment), without_baselines(PLAN.settings)):
            if said:
                print(f"greenlight: {said}", file=sys.stderr)


onerror:
    if LAYOUT.last_error.is_file():
        print(f"\ngreenlight: {shown(LAYOUT.last_error.read_text(encoding='utf-8'))}", file=sys.stderr)
