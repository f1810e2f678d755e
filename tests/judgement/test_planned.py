"""Records hold what was planned: other quantities, windows, steps, calls or files are refused by name."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from greenlight.files import sha256_of
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.reading import forecast_file, record_file
from greenlight.measures.numerics import BEYOND
from tests.judgement.evidence_builder import HORIZON, SAMPLES, TOTO, Run, reseal

VARIANT = "static-eager"
MODELS = {"toto": {name: TOTO[name] for name in ("upstream-eager", VARIANT)}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Run(models=MODELS).write(tmp_path_factory.mktemp("planned"))


def problems(folder):
    found = load_evidence(folder, load_expected(folder / "expected.json"))
    return [f"{problem.stage}: {problem.message}" for problem in found.variants["toto", VARIANT].problems]


def quantities(record):
    return record["trials"][0]["result"]["quantities"]


def fewer_windows(record):
    for quantity in quantities(record):
        quantity["windows"] = 3


def more_windows(record):
    for quantity in quantities(record):
        quantity["windows"] = 5


def fewer_steps(record):
    quantities(record)[-2]["steps"] -= 1


def more_steps(record):
    quantities(record)[-1]["steps"] += 1


def a_size_less(record):
    quantities(record)[:] = [quantity for quantity in quantities(record) if quantity["batch_size"] != 5]


def a_size_more(record):
    quantities(record).extend([quantity | {"batch_size": 7} for quantity in quantities(record)[:2]])


def a_quantity_less(record):
    quantities(record).pop()


def a_quantity_twice(record):
    quantities(record).append(quantities(record)[-1])


def beyond_that_nobody_planned(record):
    more = [quantity | {"quantity": quantity["quantity"] + BEYOND} for quantity in quantities(record)[:2]]
    quantities(record).extend(more)


def draws(record):
    return record["trials"][0]["result"]["draws"]


def no_draws(record):
    record["trials"][0]["result"]["draws"] = None


def a_window_less(record):
    draws(record)["windows"].pop()


def a_window_twice(record):
    draws(record)["windows"][1] = draws(record)["windows"][0]


def more_replicates(record):
    draws(record)["replicates"] = 9


def a_call_less(record):
    record["trials"][0]["result"]["memory_readings"].pop()


def a_forecast_more(record):
    record["outputs"]["forecasts/model=toto/variant=static-eager/symbol=XXX/part-0.parquet"] = "0" * 64


def a_forecast_less(record):
    record["outputs"].popitem()


def other_scores(record):
    record["inputs"]["forecasts/model=toto/variant=upstream-eager/symbol=SYM0/part-0.parquet"] = "0" * 64


CASES = {
    fewer_windows: ("probe", "logits of 3 windows, expected 4"),
    more_windows: ("probe", "logits of 5 windows, expected 4"),
    fewer_steps: ("probe", "logits of 6 steps, and of 5 with 5 in a call"),
    more_steps: ("probe", "token of 6 steps, and of 7 with 5 in a call"),
    a_size_less: ("probe", "it compared calls of 1, 3, 4, expected 1, 3, 4, 5"),
    a_size_more: ("probe", "it compared calls of 1, 3, 4, 5, 7, expected 1, 3, 4, 5"),
    a_quantity_less: ("probe", "it compared logits with 5 in a call, expected logits, token, each once"),
    a_quantity_twice: ("probe", "it compared logits, token, token with 5 in a call, expected logits, token, each once"),
    beyond_that_nobody_planned: ("probe", "calls of 1, 3, 4, 5, context beyond its longest, expected 1, 3, 4, 5"),
    no_draws: ("probe", "it drew no paths beside the reference's, expected the opposite"),
    a_window_less: ("probe", "it drew paths of 29 windows, expected 30"),
    a_window_twice: ("probe", "it drew paths of 29 windows, expected 30"),
    more_replicates: ("probe", "it drew 9 replicates at look 1, expected 8"),
    a_call_less: ("predict/0000", "it forecast in 3 calls, expected 4"),
    a_forecast_more: ("predict/0000", "symbol=XXX/part-0.parquet, which nobody planned"),
    a_forecast_less: ("predict/0000", "it wrote 2 of 3 files: forecasts/"),
    other_scores: ("score", "which nobody planned"),
}


@pytest.mark.parametrize("change", CASES, ids=lambda change: change.__name__)
def test_what_was_not_planned_is_refused_by_name(folder, change):
    job, words = CASES[change]
    path = folder / record_file(job, "toto", VARIANT)
    kept = path.read_bytes()
    reseal(path, change)
    try:
        found = problems(folder)
    finally:
        path.write_bytes(kept)
    assert any(problem.startswith(f"{job.split('/')[0]}: ") and words in problem for problem in found), found


@pytest.mark.parametrize("stage", ["warm_up_calls", "memory_readings"])
def test_a_timing_process_did_what_was_planned(tmp_path, stage):
    def adjust(manifest):
        for variant in manifest["models"]["toto"]["variants"].values():
            if "time" in variant["jobs"]:
                variant["jobs"]["time"]["warm_up_calls"] = 3

    Run(models=MODELS, adjust=adjust).write(tmp_path)
    assert not problems(tmp_path)

    def change(record):
        result = record["trials"][1]["result"]
        result[stage] = 2 if stage == "warm_up_calls" else result[stage][:-1]

    reseal(tmp_path / record_file("time", "toto", VARIANT), change)
    words = {"warm_up_calls": "it was warmed up by 2 calls, expected 3"}
    words["memory_readings"] = "it read memory after 31 of 32 pairs"
    assert problems(tmp_path) == [f"time: trial 1: {words[stage]}"]


def test_a_good_run_has_no_problem(folder):
    assert not problems(folder)


def fewer_samples(table):
    fewer = pa.array([row[:-1] for row in table.column("samples").to_pylist()], type=pa.list_(pa.float32()))
    return table.set_column(table.column_names.index("samples"), "samples", fewer)


def a_step_more(table):
    last = table.slice(len(table) - 1)
    return pa.concat_tables([table, last.set_column(4, "step", pa.array([HORIZON + 1], type=pa.int32()))])


def a_window_more(table):
    last = table.slice(len(table) - HORIZON)
    return pa.concat_tables([table, last.set_column(3, "window", pa.array([5] * HORIZON, type=pa.int32()))])


FORECASTS = {
    fewer_samples: f"SYM1 has {SAMPLES - 1} sample paths or levels in a row, expected {SAMPLES}",
    a_step_more: f"1 rows are not of toto, {VARIANT}, SYM1, its expected windows and steps",
    a_window_more: f"{HORIZON} rows are not of toto, {VARIANT}, SYM1, its expected windows and steps",
}


@pytest.mark.parametrize("change", FORECASTS, ids=lambda change: change.__name__)
def test_forecasts_of_another_shape_are_refused_by_name_even_where_the_record_says_so(tmp_path, change):
    folder = Run(models=MODELS).write(tmp_path)
    file = forecast_file("toto", VARIANT, "SYM1")
    table = pq.ParquetFile(folder / file).read()
    assert table.column_names[3:5] == ["window", "step"]
    pq.write_table(change(table), folder / file)
    for job, part in (("predict/0000", "outputs"), ("score", "inputs")):
        reseal(
            folder / record_file(job, "toto", VARIANT),
            lambda r, part=part: r[part].update({file: sha256_of(folder / file)}),
        )
    assert f"predict: {FORECASTS[change]}" in problems(folder)
