"""What all stages that run a trial share: the request, the cache, the environment."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from greenlight.code import code_run
from greenlight.errors import UserError
from greenlight.files import read_json
from greenlight.layout import Layout
from greenlight.provenance import git_commit, processor_name
from greenlight.run.boundary import check_paths
from greenlight.run.checkpoints import folders_of_job
from greenlight.run.job import Job
from greenlight.run.records import provenance_of, stated_digest
from greenlight.run.seals import made_by_this_user
from greenlight.run.spreading import placed
from greenlight.trials.gpu import check_device_name, wait_for_device
from greenlight.trials.runner import Limits, run_trial_shrinking
from greenlight.variants import Variant
from greenlight.watch.caches import cache_digest, cache_environment, clear_cache, copy_cache

# How long to wait for a device changes no result, so it is not in the job description.
DEVICE_RULES = "GREENLIGHT_DEVICE"
# Where trials keep their caches changes no result either.
SCRATCH = "GREENLIGHT_SCRATCH"
# Where a trial's TORCH_TRACE goes, in the trial's folder.
TRACE = "torch_trace"
# Keys of a request by which a trial that runs out of memory is made smaller: windows in one call.
BATCH_SIZES = ("windows_per_call", "timed_windows")
# What runs a child for a stage, as `run_with_cache` does, and returns the trial's record.
Runner = Callable[..., dict[str, Any]]


def trial_request(layout: Layout, job: Job, symbols: Sequence[str] = ()) -> dict[str, Any]:
    """The job description with what a child needs to find its inputs: folders, series, training cut-offs."""
    weights = read_json(layout.weights(job["model"]))
    folders = folders_of_job(weights["job"])
    return job | {
        "folders": {role: str(path) for role, path in folders.items()},
        "code_run": code_run(job["packages"], job["folders_of_code"]),
        "not_before": weights["trained_until"],
        "series": {symbol: str(layout.series(symbol)) for symbol in symbols},
        "provenance": provenance_of(job),
    }


def run_with_cache(
    layout: Layout,
    job: Job,
    module: str,
    request: dict[str, Any],
    *,
    name: str = "",
    cache: Path | None = None,
    at_most: Mapping[str, int] | None = None,
    filled: bool = True,
) -> dict[str, Any]:
    """Run a child with a private compile cache and return the trial's record; where memory runs out, again smaller.

    The record names the windows in a call that were used (`sizes`), and says under `reduced` where these are fewer
    than the request asks for; empty where they are not.

    Args:
        module: the child's module.
        name: tells trials of one stage and variant apart.
        cache: the cache to fill, emptied before each attempt; None for one of its own, a new one for each attempt,
            deleted afterwards.
        at_most: sizes to begin with, where they are smaller than the request's; None for those that the variant's
            cache was filled for.
        filled: whether its own cache begins as a copy of the variant's filled one.

    Raises:
        UserError: the device is not free or another one, or weights or code are not those that the run was planned
            with.
    """
    folder = layout.trial(job["stage"], job["model"], job["variant"], name)
    check_paths(layout.root, [folder / "output.log", folder / "cache", folder / TRACE, *([cache] if cache else [])])
    scratch = scratch_folder()
    if scratch is not None:
        own = Path(tempfile.mkdtemp(prefix="greenlight-", dir=scratch))
    else:
        own = cache or folder / "cache"

    def begin() -> None:
        shutil.rmtree(folder / TRACE, ignore_errors=True)
        if cache is None and filled and Variant.parse(job["variant"]).compiled:
            copy_own_cache(layout, job["model"], job["variant"], own)
        else:
            clear_cache(own)  # what an interrupted compile, or a larger attempt, left would make this one warm
        cache_environment(own)  # makes the folders

    if at_most is None:
        at_most = {} if cache is not None else compiled_sizes(layout, job)
    start = {key: min(request[key], at_most.get(key, request[key])) for key in BATCH_SIZES if key in request}
    rules = json.loads(os.environ.get(DEVICE_RULES, "{}"))
    try:
        with placed(layout, job, rules) as shown:
            _wait_for(job, rules, shown)
            environment = trial_environment(own, job["threads"], job.get("environment", {})) | shown
            if job.get("keep_trace"):
                environment["TORCH_TRACE"] = str((folder / TRACE).absolute())
            memory = job["memory_gib"]
            record = run_trial_shrinking(
                module,
                request | start,
                folder=folder,
                limits=Limits(job["seconds"], int(memory * 2**30) if memory else None),
                sizes=BATCH_SIZES,
                environment=environment,
                progress=f"{job['stage']} {job['model']} {job['variant']} {name}".strip(),
                before=begin,
            )
    finally:
        if cache is not None and own != cache:
            copy_cache(own, cache)
        if own != cache:
            shutil.rmtree(own, ignore_errors=True)
    if record["kind"] == "not-as-planned":  # no finding about the variant: nothing is recorded, the job stays stale
        raise UserError(record["message"])
    ran = with_commits(request.get("code_run", {}), job.get("folders_of_code", {}))
    return record | {"reduced": _reduced(request, record), "code_run": ran}


def with_commits(ran: Mapping[str, Mapping[str, str]], folders: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What `code_run` gave, with the git commit of each folder of a copy that lies in a checkout.

    Args:
        folders: of the copies, by name.
    """
    commits = {name: git_commit(Path(folder).expanduser()) for name, folder in folders.items() if name in ran}
    known = {name: {"commit": commit} for name, commit in commits.items() if commit != "no-git"}
    return {name: {**found, **known.get(name, {})} for name, found in ran.items()}


def copy_own_cache(layout: Layout, model: str, variant: str, folder: Path) -> None:
    """Copy the filled cache of a variant; UserError unless it is what this user compiled, because it is code."""
    copy_cache(layout.cache(model, variant), folder)
    stated, found = stated_digest(layout, model, variant), cache_digest(folder)
    empty = found == hashlib.sha256().hexdigest()
    if not empty and (found != stated or not made_by_this_user(found)):
        clear_cache(folder)
        what = "was not made by this user" if found == stated else "is not what its record describes"
        raise UserError(
            f"{layout.cache(model, variant)}: this compile cache {what}; expected one that a run of this user filled, "
            "because it holds code that would be run. Compile anew: snakemake --cores 1 --forcerun clear"
        )


def compiled_sizes(layout: Layout, job: Job) -> dict[str, int]:
    """Windows in a call that a variant's cache was filled for; empty where it is not compiled, or that failed."""
    record = layout.record("compile", job["model"], job["variant"])
    if not Variant.parse(job["variant"]).compiled or not record.is_file():
        return {}
    trials = read_json(record)["trials"]
    return trials[0]["sizes"] if trials[0]["kind"] == "ok" else {}


def _reduced(request: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """What a trial did with smaller batches than it was asked for, in words."""
    fewer = [f"{key} {size} in place of {request[key]}" for key, size in record["sizes"].items() if size < request[key]]
    if not fewer:
        return ""
    ends = ", ".join(dict.fromkeys(attempt["kind"] for attempt in record["attempts"]))
    return f"{', '.join(fewer)} ({ends or 'as the trial before it'})"


def scratch_folder() -> Path | None:
    """The folder of `trials.scratch_folder` on this machine, variables put in; None where none is configured.

    Raises:
        UserError: there is no such folder here, or a variable in its name is not set.
    """
    configured = os.environ.get(SCRATCH, "")
    if not configured:
        return None
    folder = Path(os.path.expandvars(configured))
    if not folder.is_dir():
        shown = "" if str(folder) == configured else f", from {configured}"
        raise UserError(
            f"trials.scratch_folder: {socket.gethostname()} has no folder {folder}{shown}; expected one that exists on "
            "every machine that runs trials. Set it to another, or to null to keep caches in the results folder"
        )
    return folder


def trial_environment(cache: Path, threads: int, configured: Mapping[str, str]) -> dict[str, str]:
    """What every trial has set: what is configured, its compile cache, threads, and the seed of Python's hashes."""
    return {
        **configured,
        **cache_environment(cache),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONHASHSEED": "0",
    }


def _wait_for(job: Job, rules: Mapping[str, Any], shown: Mapping[str, str]) -> None:
    """Wait until the device is free, as configured; UserError where it does not become so in time.

    UserError too where this machine's device is not the one that the run was planned for, as on a cluster of nodes
    of several kinds: the job description names the device, and must not name a wrong one.

    Args:
        rules: settings of the device.
        shown: variables that show the trial one device of several.
    """
    device, name = job["device"], job["device_name"]
    if device == "cpu":
        check_device_name(name, processor_name())
        return
    from greenlight.trials.device_settings import DeviceSettings  # reads settings, which a CPU needs none of

    known = {"device": device, "spread": False, "name": name, "otherwise": "error"}
    wait_for_device(DeviceSettings.model_validate({**rules, **known}), {**os.environ, **shown})
