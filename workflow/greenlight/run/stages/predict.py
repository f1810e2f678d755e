"""predict: forecast every window of a shard's symbols with a variant, from its compile cache."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from greenlight.layout import Layout
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.run.records import provenance_of, write_record
from greenlight.run.trial import Runner, run_with_cache, trial_request


def predict(layout: Layout, job: Job, options: argparse.Namespace, run: Runner = run_with_cache) -> None:
    """Run the trial; a symbol without a forecast gets a file of no rows, which no judge takes for evidence."""
    model, variant, shard = job["model"], job["variant"], job["shard"]
    name = f"shard={shard:04d}"
    made = layout.trial("predict", model, variant, name) / "forecasts"
    shutil.rmtree(made, ignore_errors=True)
    request = trial_request(layout, job, options.symbols) | {"forecasts": str(made)}
    trial = run(layout, job, "greenlight.run.children.forecast", request, name=name)
    for symbol in options.symbols:
        source, target = made / f"symbol={symbol}" / "part-0.parquet", layout.forecast(model, variant, symbol)
        if trial["kind"] == "ok" and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        else:
            _write_no_rows(target, job)
    shutil.rmtree(made, ignore_errors=True)
    written = [layout.forecast(model, variant, symbol) for symbol in options.symbols]
    write_record(layout.predict_record(model, variant, shard), job, trials=[trial], outputs=layout.hashes(written))


def _write_no_rows(target: Path, job: Job) -> None:
    # Imported here, so that a job whose forecasts are all there starts without pyarrow.
    from greenlight.files import write_parquet
    from greenlight.measures.forecasts import forecast_table

    write_parquet(target, forecast_table(job["model"], job["variant"], [], [], provenance_of(job)))


if __name__ == "__main__":
    run_stage("Forecast the symbols of a shard with a variant.", predict, "symbols+")
