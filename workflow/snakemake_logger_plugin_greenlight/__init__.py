"""What Snakemake tells in the terminal: a line a job, with what runs, done of all, and how long is left.

`--verbose` and dry runs tell all that Snakemake tells, `--quiet` only what fails; its log file has all of it in any
case. Lines are plain, without colours and moves of the cursor, alike for terminals, files and screen readers.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

_FAILURES = (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR, LogEvent.ERROR)
# Of what has no event, all is told but Snakemake's words about itself.
_ITSELF = (
    "Assuming unrestricted shared",
    "Building DAG of jobs",
    "Execute ",
    "Provided ",
    "Rules claiming more threads",
    "Select jobs to execute",
    "Using shell:",
    "host:",
)


def _misquoted(record: logging.LogRecord) -> str:
    """What to write in place of a --config that the shell took apart; empty where a record tells something else."""
    _, ours, found = str(record.msg).rpartition("Invalid config definition")  # the end of a traceback as text
    if not ours:
        return ""
    found = found.rpartition("Unparsable value: ")[2].strip(") \n")
    return (
        f"greenlight: --config: found {found}, expected name=value with quotes around braces and spaces, such as "
        "--config seed=3 accept='{reason: \"new weights\"}'"
    )


class LogHandler(LogHandlerBase):
    """The handler that Snakemake makes for `logger: greenlight`."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        common = self.common_settings
        self.stream = sys.stdout if common.stdout else sys.stderr
        self.whole = ColorizingTextHandler(
            nocolor=common.nocolor or bool(os.environ.get("NO_COLOR")), stream=self.stream
        )
        shown = (common.quiet, common.debug_dag, common.verbose, common.dryrun, common.printshellcmds)
        self.whole.addFilter(DefaultFilter(*shown))
        self.whole.setFormatter(DefaultFormatter(common.quiet, common.show_failed_logs))
        self.everything = common.verbose or common.debug_dag or common.dryrun or common.printshellcmds
        self.begun, self.done, self.total = time.monotonic(), 0, 0
        self.outputs: dict[int, str] = {}
        self.finished: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record, in short or as Snakemake does."""
        event, told = getattr(record, "event", None), record.__dict__
        if record.levelno >= logging.ERROR and (said := _misquoted(record)):
            self._tell(said)
        elif event in _FAILURES and Quietness.ALL not in (self.common_settings.quiet or ()):
            self.whole.emit(record)  # past Snakemake's filter, which would leave it out where --quiet is set
        elif self.everything or record.levelno >= logging.WARNING or event in _FAILURES:
            self.whole.handle(record)
        elif event == LogEvent.PROGRESS:
            self.done, self.total = told["done"], told["total"]
        elif event == LogEvent.JOB_FINISHED:
            self.finished.append(self.outputs.get(told.get("job_id", told.get("jobid", -1)), ""))
        elif event == LogEvent.RUN_INFO:
            self.total = told.get("stats", {}).get("total", self.total)
        elif event == LogEvent.JOB_INFO:
            self.outputs[told["jobid"]] = (told.get("output") or [""])[0]
            if not self.common_settings.quiet and told["rule_name"] != "all":
                self._tell(self._job(told))
        elif event is None and not self.common_settings.quiet and not str(record.msg).startswith(_ITSELF):
            self._tell(str(record.msg))

    def _job(self, job: dict[str, Any]) -> str:
        """Such as `[12 of 32 done, 3 min, about 4 min left] Compiling kronos static-default from an empty cache`."""
        from greenlight.run.durations import seconds_left

        seconds = seconds_left(self.finished)
        estimate = "" if seconds is None else f", about {round(seconds / 60)} min left"
        estimate = ", under a minute left" if seconds is not None and seconds < 60 else estimate
        spent = round((time.monotonic() - self.begun) / 60)
        return f"[{self.done} of {self.total or '?'} done, {spent} min{estimate}] {job['rule_msg'] or job['rule_name']}"

    def _tell(self, text: str) -> None:
        if text.strip():
            self.stream.write(f"{text.strip()}\n")
            self.stream.flush()
