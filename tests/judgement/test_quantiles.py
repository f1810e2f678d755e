"""A model whose forecasts are quantiles and depend on no seed: what it can't be asked, and what it must keep to."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from greenlight.api import DECILES
from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.forecasts import read_forecasts
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.evidence_builder import KRONOS, Effects, Run

STILL = {"other_seed_changed": 0.0, "other_symbol_changed": 0.0}


def verdict_of(folder, **reproducibility):
    """The verdict on a model that draws nothing; of its compiled variant some facts differ."""

    def draws_nothing(manifest):
        manifest["models"]["kronos"] |= {"random": False, "levels": list(DECILES)}
        for variant in manifest["models"]["kronos"]["variants"].values():
            variant["jobs"].pop("replicate", None)

    effects = {("kronos", name): Effects(latency=0.7, reproducibility=STILL) for name in KRONOS}
    effects["kronos", "upstream-default"] = Effects(latency=0.7, reproducibility=STILL | reproducibility)
    Run(models={"kronos": KRONOS}, adjust=draws_nothing, effects=effects).write(folder)
    return judge(load_evidence(folder, load_expected(folder / "expected.json")), Rules(), Baselines())


def test_what_it_can_t_be_asked_is_not_applicable_with_the_reason(tmp_path):
    verdict = verdict_of(tmp_path)
    assert verdict.passed, verdict.reasons
    assert verdict.decisions["kronos"].judged == "upstream-default"
    found = {c.name: c for c in verdict.checks if c.variant == "upstream-default" and c.status == "not-applicable"}
    assert set(found) == {"other-seed", "other-symbol", "samples-differ"}
    assert "draws no random numbers" in found["other-seed"].reason and "quantiles" in found["samples-differ"].reason
    assert not any(check.blocking for check in found.values())


@pytest.mark.parametrize(
    ("fact", "name"), [("other_seed_changed", "other-seed"), ("other_symbol_changed", "other-symbol")]
)
def test_one_that_draws_after_all_fails(tmp_path, fact, name):
    verdict = verdict_of(tmp_path, **{fact: 0.1})
    (check,) = [c for c in verdict.checks if (c.name, c.variant) == (name, "upstream-default")]
    assert check.status == "fail" and check.blocking and "says that the model draws no random numbers" in check.reason


@pytest.mark.parametrize("crossing", [False, True])
def test_quantiles_that_cross_are_a_fault_unless_the_plug_in_says_that_they_may(tmp_path, crossing):
    def quantiles(manifest):
        manifest["models"]["kronos"] |= {"random": False, "levels": list(DECILES), "crossing": crossing}
        for variant in manifest["models"]["kronos"]["variants"].values():
            variant["jobs"].pop("replicate", None)

    Run(models={"kronos": KRONOS}, adjust=quantiles).write(tmp_path)
    expected = load_expected(tmp_path / "expected.json")
    symbol = expected.rows()[0][0]
    written = next(tmp_path.glob(f"forecasts/model=kronos/variant=upstream-default/symbol={symbol}/*.parquet"))
    table = pq.read_table(written)
    turned = [[*row[:3], row[4], row[3], *row[5:]] for row in table.column("samples").to_pylist()]
    columns = {name: table.column(name) for name in table.column_names}
    columns |= {"q40": table.column("q50"), "q50": table.column("q40")}
    columns["samples"] = pa.array(turned, table.schema.field("samples").type)
    path = tmp_path / "turned.parquet"
    pq.write_table(pa.table(columns, schema=table.schema), path)
    found, problems = read_forecasts({symbol: path}, "kronos", "upstream-default", expected)
    own = np.array([one == symbol for one, _ in expected.rows()])
    assert found.whole[own].all() == crossing
    assert all("has quantiles that cross" in problem[1] for problem in problems) and bool(problems) != crossing
