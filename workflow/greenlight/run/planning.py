"""From a configuration as Snakemake merged it to the plan of the run, with every mistake told before anything runs."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greenlight.data.symbols import symbols_in
from greenlight.errors import UserError
from greenlight.files import known_hashes
from greenlight.layout import Layout
from greenlight.provenance import load_parsed_code, save_parsed_code, utc_now
from greenlight.run.boundary import check_results
from greenlight.run.handover import PACKAGE
from greenlight.run.jobs import Plan
from greenlight.run.locking import run_at_work
from greenlight.run.withdrawal import withdraw
from greenlight.settings import Settings, load_settings
from greenlight.trials.gpu import planned_device

# The device that a run was planned for, (torch device, name) as JSON; its jobs inherit it.
PLANNED_DEVICE = "GREENLIGHT_PLANNED_DEVICE"


def make_plan(
    config: Mapping[str, Any],
    files: Sequence[str | Path],
    *,
    for_a_job: bool = False,
    diagnosing: bool = False,
    checkout: Path | None = None,
) -> tuple[Plan, Layout]:
    """Check the configuration, find the symbols and the device.

    Args:
        config: the merged configuration, command line included.
        files: the configuration files, for messages.
        for_a_job: whether this is a job's machine reading the workflow again. The device is then the one that the
            run was planned for, so that job descriptions are the run's own wherever a job lands.
        diagnosing: plan with the device that was asked for even where it can't be had, so that the diagnosis can
            say why.
        checkout: the folder of the Snakefile, whose package must be the one that runs.

    Raises:
        UserError: anything that a user must mend first.
    """
    if checkout is not None:
        check_package(checkout)
    settings = load_settings(config, files)
    layout = Layout(Path(settings.results_folder))
    check_threads(settings)
    if not for_a_job:
        check_writable(layout.root)
    check_results(layout.root)
    wanted = "all" if settings.symbols == "all" else list(settings.symbols)
    left_out: list[str] = []
    data = settings.data
    symbols = symbols_in(Path(settings.data_folder), wanted, data.names, data.largest_file_mib, left_out)
    if left_out and not for_a_job:
        print(_left_out(settings.data_folder, left_out), file=sys.stderr)
    inherited = os.environ.get(PLANNED_DEVICE) if for_a_job else None
    try:
        device, name = json.loads(inherited) if inherited else planned_device(settings.device)
    except UserError:
        if not diagnosing:
            raise
        device, name = settings.device.device, "not to be had"
    plan = Plan(settings, symbols, device, name, tuple(left_out))
    load_parsed_code(layout.parsed_code)
    known_hashes.load(layout.known_hashes)
    list(plan.all_jobs())  # whatever a description needs, such as the weights, must be there before rules are made
    save_parsed_code(layout.parsed_code)
    known_hashes.save(layout.known_hashes)
    return plan, layout


def check_package(checkout: Path) -> None:
    """UserError unless the package that is imported is the checkout's own: the Snakefile would run other code."""
    own = (checkout / "workflow" / "greenlight").resolve()
    if own.is_dir() and own != PACKAGE:
        raise UserError(
            f"the Snakefile is {checkout / 'Snakefile'}, whose package is {own}, but `import greenlight` finds "
            f"{PACKAGE}. Run the environment of this checkout (`make env`, then .venv/bin/snakemake), or set "
            f"PYTHONPATH={own.parent}"
        )


def without_baselines(settings: Settings) -> str:
    """What a user should know where there is no folder of baselines, as a sentence; empty where there is one."""
    if Path(settings.baselines_folder).is_dir():
        return ""
    return (
        f"baselines_folder: there is no folder {settings.baselines_folder}, so that nothing is compared with an "
        "accepted run; `snakemake --cores 1 accept` makes it"
    )


def check_threads(settings: Settings) -> None:
    """UserError for more threads than this machine has, unless trials run on other machines (`device.name`)."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if settings.threads > here and settings.device.name is None:
        raise UserError(
            f"threads: {settings.threads}, expected at most {here}, the processors that this machine gives; set "
            "threads to fewer, or name the device of the machines that run the trials in device.name"
        )


def check_writable(folder: Path) -> None:
    """UserError unless files can be written to the folder, or the folder can be made."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        if not existing.is_dir():
            raise NotADirectoryError(f"{existing} is a file")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"results_folder: {folder} can't be written to ({reason}); expected a folder that "
            f"user {os.environ.get('USER', os.geteuid())} can write to. Set results_folder to another, "
            "or mend its permissions"
        ) from None


def withdraw_after(error: UserError, config: Mapping[str, Any], files: Sequence[str | Path]) -> str:
    """Take back an earlier verdict because a plan could not be made; returns the sentence that says so.

    Empty, and nothing is taken back, where the settings themselves can't be read, where there is no verdict, or where
    another run is at work.
    """
    try:
        settings = load_settings(config, files)
        layout = Layout(Path(settings.results_folder))
        if not layout.deploy.is_file() or run_at_work(layout):
            return ""
        reason = f"a run of {utc_now()} stopped before it began: {' '.join(str(error).split())}"
        withdraw(layout, reason, [model for model, _ in settings.models.items()])
    except (UserError, OSError):
        return ""
    return f"{layout.deploy} says now that nothing is decided, until a run finishes"


def _left_out(folder: str, names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return (
        f"{folder}: left out, since their names are no symbols: {shown}. Rename them to <SYMBOL>.csv, or set "
        f"data.names: `data: {{names: first-word}}`, or `data: {{names: {{{json.dumps(names[0])}: SYMBOL}}}}`"
    )
