"""Where models are given returns, the errors of these are judged beside those of the prices that they imply."""

from __future__ import annotations

import pyarrow.compute as pc
import pytest

from greenlight.judgement.scope import scope_words
from greenlight.measures.returns import ERROR, with_returns
from tests.judgement.evidence_builder import TOTO, Effects, Run
from tests.judgement.test_points import judged

WORSE = "static-default"


@pytest.fixture
def given_returns(monkeypatch):
    monkeypatch.setattr("tests.judgement.evidence_builder.INPUT", "returns")


def by_name(verdict, variant):
    return {check.name: check for check in verdict.checks if check.variant == variant}


def test_errors_of_returns_are_judged_and_named(tmp_path, given_returns):
    Run().write(tmp_path)
    verdict = judged(tmp_path, input="returns")
    assert verdict.passed
    for variant in TOTO:
        found = by_name(verdict, variant)
        assert "the MAE of returns is " in found["naive-ratio"].reason
        if variant == "static-eager":
            assert found["returns-against-reference"].reason.startswith("MAE of returns ")
        elif variant != "upstream-eager":
            assert found["returns-not-worse"].status == "pass"
    assert scope_words(verdict.scopes["toto"]).endswith("; the model is given returns, not prices")


def test_scores_without_errors_of_returns_are_no_evidence_where_returns_are_given(tmp_path):
    Run().write(tmp_path)
    verdict = judged(tmp_path, input="returns")
    assert not verdict.passed
    assert by_name(verdict, WORSE)["returns-not-worse"].status == "fail"
    assert by_name(verdict, "static-eager")["returns-against-reference"].status == "fail"
    assert by_name(verdict, "upstream-eager")["naive-ratio"].status == "fail"
    assert "returns-not-worse" not in by_name(judged(tmp_path), WORSE)


def test_returns_that_are_worse_stop_a_variant_whose_prices_are_as_good(tmp_path, given_returns, monkeypatch):
    def worse(forecasts, *arguments):
        found = with_returns(forecasts, *arguments)
        factor = 1.1 if forecasts.column("variant")[0].as_py() == WORSE else 1.0
        place = found.column_names.index(ERROR)
        return found.set_column(place, ERROR, pc.multiply(found.column(ERROR), factor))

    monkeypatch.setattr("tests.judgement.evidence_builder.with_returns", worse)
    Run().write(tmp_path)
    found = by_name(judged(tmp_path, input="returns"), WORSE)
    assert found["mae-not-worse"].status == "pass"
    assert found["returns-not-worse"].status == "fail" and found["returns-not-worse"].blocking
    assert found["series-difference"].status == "fail"


def test_replicates_without_errors_of_returns_are_no_evidence(tmp_path, monkeypatch):
    Run(effects={("toto", WORSE): Effects(latency=0.7, replicated=(2, 0.0, 0.001))}).write(tmp_path)
    verdict = judged(tmp_path, input="log-returns")
    assert any("the errors returns_mae are missing" in problem["message"] for problem in verdict.problems)
