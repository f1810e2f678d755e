"""The thin command lines of stages and of the targets besides the run."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from greenlight.errors import UserError, from_outside, say, sentence_of, shown
from greenlight.files import write_text
from greenlight.layout import Layout
from greenlight.provenance import load_parsed_code, moment
from greenlight.run.boundary import check_paths
from greenlight.run.handover import check_code, planned
from greenlight.run.job import Job
from greenlight.run.ledger import enter, forget
from greenlight.run.locking import join_run
from greenlight.run.records import not_measured

USER_ERROR = 2
# What a shell gives for Ctrl-C; Snakemake says that it was one.
INTERRUPTED = 130


class Answer(str):
    """What a target says where that is no success: its process ends with exit code 1."""


def run_stage(description: str, stage: Callable[[Layout, Job, argparse.Namespace], None], *options: str) -> None:
    """Parse the command line, run the stage, and turn a user's mistake into one message and exit code 2.

    Args:
        description: what the stage does.
        stage: gets the layout, the description of the job that the command line names, and the further options.
        options: names of further options, each with one value or (ending in `+`) several.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    parser.add_argument("--job", required=True, help="name of a job of the run at work")
    for option in options:
        parser.add_argument(f"--{option.rstrip('+')}", nargs="+" if option.endswith("+") else None, required=True)
    arguments = parser.parse_args()
    layout = Layout(arguments.results)
    name, held, started = arguments.job, join_run(layout), moment(process_age())
    with contextlib.closing(held), _errors_told(lambda said: report_error(layout, said), f"{name}: "):
        plan = planned(layout, name)
        job = plan["job"]
        outputs = [layout.root / file for file in plan["outputs"]]
        check_paths(layout.root, [layout.entry(name), *outputs])
        forget(layout, name)
        load_parsed_code(layout.parsed_code)
        check_code(plan)
        stage(layout, job, arguments)
        check_code(plan)  # nor while it ran
        if said := not_measured(outputs):  # without an entry the job stays stale
            say(f"{name}: not measured: {said}")
        else:
            enter(layout, name, job, outputs, plan["upstream"], modules=plan["modules"], started=started)


@contextlib.contextmanager
def _errors_told(tell: Callable[[str], None], whose: str = "") -> Iterator[None]:
    """Turn a mistake of the user, or what the system refuses, into one message and exit code 2.

    Args:
        whose: what a message of the system begins with.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except UserError as error:
        tell(str(error))
        sys.exit(USER_ERROR)
    except OSError as error:
        if not from_outside(error):
            raise
        tell(whose + sentence_of(error))
        sys.exit(USER_ERROR)


def run_target(
    about: str, target: Callable[[dict[str, Any], list[str]], str | Answer], *, beside_a_run: bool = False
) -> None:
    """Parse the command line of a target besides the run, print what it says, and tell errors as `run_stage` does.

    Args:
        about: what the target does.
        target: gets the merged configuration and the names of its files.
        beside_a_run: whether a run may be at work, whose last error is then left as it is.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--config", type=json.loads, required=True, help="merged configuration as JSON")
    parser.add_argument("--files", nargs="*", default=[], help="configuration files, for messages")
    arguments = parser.parse_args()
    layout = Layout(Path(str(arguments.config.get("results_folder", "results"))))
    with _errors_told(say if beside_a_run else lambda said: report_error(layout, said)):
        said = target(arguments.config, arguments.files)
        if isinstance(said, Answer):
            report_error(layout, said)
            sys.exit(1)
        print(shown(said), flush=True)


def process_age() -> float:
    """Seconds since this process began, imports included; 0 where the system does not say (Linux does)."""
    with contextlib.suppress(OSError, ValueError, AttributeError, IndexError):
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    return 0.0


def report_error(layout: Layout, message: str) -> None:
    """Print a message, and keep it so that Snakemake can repeat it as the last thing a user reads."""
    say(message)
    with contextlib.suppress(OSError):
        write_text(layout.last_error, message + "\n")
