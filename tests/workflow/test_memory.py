"""Memory that holds half of the windows in a call and not all of them: said, and without influence on a forecast."""

from __future__ import annotations

from copy import deepcopy

import pyarrow.parquet
import pytest

from tests.workflow.project import SMALL

RECORD = "predict/model=kronos/variant=static-eager/shard=0000/record.json"
FORECASTS = "forecasts/model=kronos/variant=static-eager/symbol=SIM_00000/part-0.parquet"


def predict(project, memory_gib=None):
    """(trial record, forecast rows) of Kronos, whose draws are tokens and so do not depend on rounding."""
    config = deepcopy(SMALL)
    config["symbols"] = ["SIM_00000"]
    config["trials"] |= {"memory_gib": memory_gib}
    config["evaluation"] |= {"context_length": 96, "horizon": 2, "windows": 8, "samples": 400}
    config["evaluation"]["windows_per_call"] = 8
    config["models"] = {"toto": None, "kronos": {"variants": ["upstream-eager", "static-eager"]}}
    project.configure(config)
    done = project.snakemake(f"results/{RECORD}")
    assert done.returncode == 0, done.stdout
    (trial,) = project.read(RECORD)["trials"]
    return trial, pyarrow.parquet.read_table(project.folder / "results" / FORECASTS).drop_columns(["model", "variant"])


@pytest.mark.slow
@pytest.mark.long
def test_half_the_windows_in_a_call_forecast_the_same(fresh):
    whole, forecasts = predict(fresh)
    # Four windows less take about 190 MiB less.
    reduced, again = predict(fresh, whole["peak_memory_bytes"] / 2**30 - 0.1)
    assert reduced["kind"] == "ok" and reduced["sizes"]["windows_per_call"] == 4
    assert [(one["kind"], one["sizes"]["windows_per_call"]) for one in reduced["attempts"]] == [
        ("out-of-host-memory", 8)
    ]
    assert reduced["reduced"].startswith("windows_per_call 4 in place of 8") and whole["reduced"] == ""
    assert again.num_rows == 8 * 2 and again.equals(forecasts)
