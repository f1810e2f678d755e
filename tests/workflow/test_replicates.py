"""A variant that draws the last token of each path with other random numbers: one seed can't tell if it is worse."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.workflow.project import SMALL, make_project

pytestmark = pytest.mark.slow
RECORD = "replicate/model=kronos/variant=static-eager/record.json"
NOISE = "        fill_noise(decoder.noise[: len(windows), :horizon], windows, seed)\n"
OTHER_LAST = "        fill_noise(decoder.noise[: len(windows), horizon - 1 : horizon], windows, seed + 1000)\n"


def configured(project, seed=7, symbols_per_job=2, **trials):
    config = deepcopy(SMALL) | {"seed": seed, "symbols_per_job": symbols_per_job}
    config["models"] = {"toto": None, "kronos": {"variants": ["upstream-eager", "static-eager"]}}
    config["evaluation"] |= {"extra_seconds": 600}
    config["rules"] |= {"accuracy": {"margin": 0.03}}
    config["trials"] = {"repeats": 1} | trials
    project.configure(config)


@pytest.fixture(scope="module")
def flipped(tmp_path_factory):
    """A run in which the two variants draw from the same distributions and differ by their draws."""
    project = make_project(tmp_path_factory.mktemp("flipped") / "project")
    source = project.folder / "workflow/greenlight_forecasters/kronos/static.py"
    text = source.read_text()
    assert text.count(NOISE) == 1
    source.write_text(text.replace(NOISE, NOISE + OTHER_LAST))
    configured(project)
    project.first_run = project.snakemake()
    return project


def check(project, name):
    checks = project.read("verdict.json")["checks"]
    (found,) = [entry for entry in checks if (entry["name"], entry["variant"]) == (name, "static-eager")]
    return found


@pytest.mark.long
def test_further_seeds_are_forecast_and_judged(flipped):
    assert flipped.first_run.returncode in (0, 1), flipped.first_run.stdout
    (trial,) = flipped.read(RECORD)["trials"]
    assert trial["kind"] == "ok", trial
    seeds, look = trial["result"]["seeds"], trial["result"]["look"]
    assert seeds == list(range(8, 8 + len(seeds))) and len(seeds) == 2 ** (look - 1) - 1 and look > 1
    assert check(flipped, "evidence-replicate")["status"] == check(flipped, "trials")["status"] == "pass"
    for name in ("mae-not-worse", "quantile-loss-not-worse"):
        found = check(flipped, name)
        assert found["status"] in ("pass", "inconclusive"), found
        assert found["details"]["seeds"] == 1 + len(seeds) and found["details"]["look"] == look
        assert f"mean of {1 + len(seeds)} seeds at look {look} of 5" in found["reason"]
    assert f"{1 + len(seeds)} seeds" in (flipped.folder / "results/report.md").read_text()
    assert flipped.stale() == ({"gate": 1} if flipped.first_run.returncode else {})


@pytest.mark.long
def test_a_further_seed_gives_the_errors_of_a_run_with_that_seed(flipped):
    """Of every symbol, those of the second shard included, in both arms."""
    (trial,) = flipped.read(RECORD)["trials"]
    config = flipped.config
    configured(flipped, seed=8, symbols_per_job=3)
    done = flipped.snakemake("score_kronos", "--config", "results_folder=next")
    flipped.configure(config)
    assert done.returncode == 0, done.stdout
    for arm, variant in (("own", "static-eager"), ("other", "upstream-eager")):
        table = pq.ParquetFile(flipped.folder / f"next/scores/model=kronos/variant={variant}/windows.parquet").read()
        keys = [f"{row['symbol']}/{row['window']}" for row in table.select(["symbol", "window"]).to_pylist()]
        assert keys == trial["result"]["windows"] and len(keys) == 6
        for error, rows in trial["result"][arm].items():
            assert np.allclose(rows[0], table.column(error).to_numpy(), rtol=1e-4)


@pytest.mark.long
def test_a_trial_that_fails_stops_the_variant_and_nothing_else(flipped):
    configured(flipped, replicate_seconds=0.2)
    done = flipped.snakemake()
    assert done.returncode in (0, 1), done.stdout
    assert [trial["kind"] for trial in flipped.read(RECORD)["trials"]] == ["time-out"]
    for name in ("evidence-replicate", "trials", "mae-not-worse", "quantile-loss-not-worse"):
        assert check(flipped, name)["status"] == "fail" and check(flipped, name)["blocking"]
    assert flipped.read("decision.json")["models"]["kronos"]["judged"] != "static-eager"
    assert "time-out" in (flipped.folder / "results/report.md").read_text()


def test_where_one_seed_decides_there_is_a_record_and_no_trial(finished):
    record = finished.read("replicate/model=toto/variant=static-default/record.json")
    assert record["trials"] == [] and len(record["inputs"]) == 2
    checks = {c["name"]: c for c in finished.read("verdict.json")["checks"] if c["variant"] == "static-default"}
    assert checks["evidence-replicate"]["status"] == "pass" and checks["mae-not-worse"]["details"]["seeds"] == 1
