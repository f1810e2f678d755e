"""A logger of Snakemake's own plugin interface: one JSON line a job, with what the job asks for."""

from __future__ import annotations

import json
import os

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase):
    """Writes to the file that JOB_LIST names."""

    writes_to_stream = False
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record):
        if getattr(record, "event", None) == LogEvent.JOB_INFO:
            asked = {name: value for name, value in record.resources.items() if not name.startswith("_")}
            job = {"rule": record.rule_name, "threads": record.threads, "resources": asked}
            with open(os.environ["JOB_LIST"], "a", encoding="utf-8") as file:
                file.write(json.dumps(job, default=str) + "\n")
