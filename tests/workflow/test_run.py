"""A whole small run, by the command that users run, and what it leaves."""

from __future__ import annotations

import subprocess

import pyarrow.parquet as pq
import pytest

from greenlight.errors import UserError
from greenlight.judgement.seal import broken_seal
from greenlight.layout import Layout
from greenlight.measures.forecasts import FORECAST_SCHEMA
from tests.workflow.project import SMALL
from tools import scale

pytestmark = pytest.mark.slow
VARIANTS = [(m, v) for m, settings in SMALL["models"].items() for v in settings["variants"]]
SYMBOLS = ["SIM_00000", "SIM_00001", "SIM_00002"]


def test_the_exit_code_is_the_verdict(finished):
    verdict = finished.read("verdict.json")["gate"]
    assert finished.first_run.returncode == (0 if verdict == "pass" else 1), finished.first_run.stdout
    assert (finished.folder / "results/gate.passed").exists() is (verdict == "pass")


@pytest.mark.parametrize(("model", "variant"), VARIANTS)
def test_every_symbol_is_forecast_in_every_variant(finished, model, variant):
    evaluation = SMALL["evaluation"]
    for symbol in SYMBOLS:
        file = finished.folder / f"results/forecasts/model={model}/variant={variant}/symbol={symbol}/part-0.parquet"
        table = pq.ParquetFile(file).read()
        assert table.schema.remove_metadata().equals(FORECAST_SCHEMA)
        assert table.num_rows == evaluation["windows"] * evaluation["horizon"]
        assert table.column("symbol").unique().to_pylist() == [symbol]
        assert b"greenlight" in table.schema.metadata


def test_a_folder_of_forecasts_reads_as_one_table(finished):
    table = pq.read_table(finished.folder / "results/forecasts", partitioning=None)
    evaluation = SMALL["evaluation"]
    assert table.num_rows == len(VARIANTS) * len(SYMBOLS) * evaluation["windows"] * evaluation["horizon"]


@pytest.mark.parametrize(("model", "variant"), VARIANTS)
def test_every_trial_succeeded(finished, model, variant):
    stages = {"probe"} | ({"time"} if variant != "upstream-eager" else set())
    for stage in sorted(stages | (set() if variant.endswith("eager") else {"compile"})):
        record = finished.read(f"{stage}/model={model}/variant={variant}/record.json")
        assert broken_seal(record) is None
        assert [trial["kind"] for trial in record["trials"]] == ["ok"], record["trials"]


def test_the_compiled_variant_really_compiled(finished):
    compiled = finished.read("compile/model=toto/variant=static-default/record.json")
    health = compiled["trials"][0]["result"]["health"]
    assert health["engaged"] and health["graphs"] > 0
    assert compiled["trials"][0]["result"]["cache_files_before"] == 0 < compiled["cache"]["files"]


def test_forecasting_starts_from_the_compiled_cache(finished):
    record = finished.read("predict/model=toto/variant=static-default/shard=0000/record.json")
    cache = record["trials"][0]["result"]["health"]["cache"]
    assert cache["fx_hits"] > 0 and cache["fx_misses"] == 0


def test_the_decision_can_be_sourced_by_a_shell(finished):
    """The gate's own names say what was chosen; the switches of loaders are on for the published code only."""
    names = ("GREENLIGHT_VERDICT", *(f"{m}_{k}" for m in ("TOTO", "KRONOS") for k in ("COMPILE", "DISABLE_COMPILE")))
    own = [f"GREENLIGHT_{model}_VARIANT" for model in ("TOTO", "KRONOS")]
    done = subprocess.run(
        ["sh", "-euc", f'. ./results/deploy.env; printf "%s\\n" {" ".join(f"${name}" for name in (*names, *own))}'],
        cwd=finished.folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = dict(zip((*names, *own), (done.stdout + "\n\n").split("\n"), strict=False))
    decision = finished.read("decision.json")
    assert found["GREENLIGHT_VERDICT"] == decision["gate"]
    for model, name in (("toto", "TOTO"), ("kronos", "KRONOS")):
        assert found[f"GREENLIGHT_{name}_VARIANT"] == (decision["models"][model]["variant"] or "")
        assert (found[f"{name}_COMPILE"], found[f"{name}_DISABLE_COMPILE"]) == ("0", "1")


def test_the_run_is_archived_with_its_evidence(finished):
    folder = finished.folder / "results" / "archive"
    (run,) = [entry for entry in folder.iterdir() if entry.is_dir()]
    assert run.name.endswith(finished.read("verdict.json")["gate"])
    for name in ("report.md", "report.html", "verdict.json", "decision.json", "deploy.env"):
        assert (run / name).read_bytes() == (finished.folder / "results" / name).read_bytes()


def test_the_report_says_verdict_decision_and_what_was_not_measured(finished):
    text = (finished.folder / "results/report.md").read_text()
    assert finished.read("verdict.json")["gate"].upper() in text.upper().split("\n## ")[0]
    for model, variant in VARIANTS:
        assert model in text.lower() and variant in text
    assert "not measured" in text.lower()


def test_nothing_is_done_twice(finished):
    """A second run does nothing; only a gate that failed fails again."""
    failed = finished.read("verdict.json")["gate"] != "pass"
    assert finished.stale() == ({"gate": 1} if failed else {})
    # By the command of a user too, in place of the quicker one that tests look with.
    said = finished.snakemake("-n").stdout
    assert failed is not ("Nothing to be done" in said), said


def test_why_has_nothing_to_say(finished):
    done = finished.sooner("why", "--quiet", "all")
    assert done.returncode == 0, done.stdout
    waiting = finished.read("verdict.json")["gate"] != "pass"
    assert ("gate" if waiting else "Nothing is stale.") in done.stdout


def test_a_finished_run_says_where_its_time_went(finished, tmp_path):
    run = scale.read_run(Layout(finished.folder / "results"))
    assert run.symbols == len(SYMBOLS) and run.jobs["predict"] == 2 * len(VARIANTS)
    assert 0 < run.trials < sum(run.stages.values()) < run.wall
    rows = scale.stage_table(run).splitlines()[2:]
    assert len(rows) == len(run.stages) and any(row.startswith("| compile | 1 | ") for row in rows)
    with pytest.raises(UserError, match="there is no run in it; expected a results folder"):
        scale.read_run(Layout(tmp_path))
    assert (scale.ROOT / "Snakefile").is_file(), "the universes are run by this checkout's workflow"
