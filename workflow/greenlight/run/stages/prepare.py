"""prepare: price files as exported -> canonical series, and a report of what was found in each."""

from __future__ import annotations

import argparse
from pathlib import Path

from greenlight.data.options import ReadingOptions
from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.data.series import series_report, write_series
from greenlight.errors import UserError
from greenlight.files import write_json
from greenlight.layout import Layout
from greenlight.provenance import digest
from greenlight.run.command import run_stage
from greenlight.run.job import Job


def prepare(layout: Layout, job: Job, arguments: argparse.Namespace) -> None:
    """Read every file of the shard; all mistakes of all files are told in one message."""
    rules = RepairRules.model_validate(job["repair"])
    mistakes = []
    for symbol, file in zip(sorted(job["symbols"]), arguments.files, strict=True):
        try:
            options = ReadingOptions.model_validate(job["options"][symbol])
            series = read_series(Path(file), rules, job["minimum_rows"], options, symbol)
        except UserError as error:
            mistakes.append(str(error))
            continue
        write_series(layout.series(symbol), series)
        report = {"key": digest(job), "symbol": symbol, **series_report(series)}
        write_json(layout.data_report(symbol), report, durable=False)
    if mistakes:
        raise UserError("\n".join(mistakes))
    written = [layout.series(symbol) for symbol in sorted(job["symbols"])]
    write_json(layout.prepared(job["shard"]), {"key": digest(job), "job": job, "outputs": layout.hashes(written)})


if __name__ == "__main__":
    run_stage("Read price files.", prepare, "files+")
