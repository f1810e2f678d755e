"""The plan of the run: checked settings, symbols, shards, and the job description of every stage.

Every rule takes its job description as one string parameter. It names all that the result depends on, so a rule
is stale exactly when the string changes (or an output is gone); the files that users own are `ancient`, because
their content is in the description and their time says nothing.
"""

import json
import os
import sys
from pathlib import Path

try:
    from greenlight.errors import UserError
    from greenlight.stages.jobs import job_text
    from greenlight.stages.locking import claim_run
    from greenlight.stages.planning import PLANNED_DEVICE, make_plan
    from greenlight.stages.resources import resources_of
except ModuleNotFoundError as error:
    raise WorkflowError(
        f"{error}. Greenlight's environment is not complete: run `make env` and then `.venv/bin/snakemake --cores 1`, "
        "or `pip install --no-deps -e .` in an environment made from envs/."
    )

# Jobs run `python -m greenlight…`: the Python that runs Snakemake, also where its environment is not activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

try:
    PLAN, LAYOUT = make_plan(config, workflow.configfiles, for_a_job=workflow.remote_exec)
except UserError as error:
    print(f"greenlight: {error}", file=sys.stderr)
    sys.exit(2)

os.environ["GREENLIGHT_DEVICE"] = PLAN.settings.device.model_dump_json()
os.environ["GREENLIGHT_SCRATCH"] = PLAN.settings.trials.scratch_folder or ""
os.environ[PLANNED_DEVICE] = json.dumps([PLAN.device, PLAN.device_name])
RESULTS = str(LAYOUT.root)
THREADS = PLAN.settings.threads
MODELS = sorted({model for model, _ in PLAN.variants})
SHARDS = dict(enumerate(PLAN.shards))


wildcard_constraints:
    model="[a-z0-9-]+",
    variant="[a-z0-9-]+",


def job_of(stage):
    """A parameter function: the description of this job."""
    return lambda wildcards: job_text(getattr(PLAN, stage)(*dict(wildcards.items()).values()))


def needs(stage):
    """The resources of a stage's jobs: mem_mb, runtime in minutes, and gpu where there is one to ask for."""
    return resources_of(stage, PLAN.settings, PLAN.device)


def of_every_variant(path, model=None, compiled=False):
    """A path of the layout for each variant, of one model or of all, or for each compiled one."""
    return [
        path(m, v) for m, v in PLAN.variants if model in (None, m) and not (compiled and v.endswith("-eager"))
    ]


def of_timed(path):
    """A path of the layout for each variant that is timed."""
    return [path(m, v) for m, v in PLAN.timed]


def weights_and_cache(wildcards):
    """What a variant starts from: the weights, and its filled compile cache where it is compiled.

    The cache is named by its record: the time of a folder says nothing after a copy or a touch.
    """
    model, variant = wildcards.model, wildcards.variant
    if variant.endswith("-eager"):
        return [LAYOUT.weights(model)]
    return [LAYOUT.weights(model), LAYOUT.record("compile", model, variant)]


onstart:
    try:
        claim_run(LAYOUT)
    except UserError as error:
        print(f"greenlight: {error}", file=sys.stderr)
        sys.exit(2)
    LAYOUT.last_error.unlink(missing_ok=True)


onerror:
    if LAYOUT.last_error.is_file():
        print(f"\ngreenlight: {LAYOUT.last_error.read_text(encoding='utf-8')}", file=sys.stderr)
