"""The MAE that is judged is that of the point forecast that production takes, and is called so."""

from __future__ import annotations

import numpy as np

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from greenlight.judgement.scope import scope_words
from tests.judgement.evidence_builder import TOTO, Effects, Run


def judged(folder, **changes):
    expected = load_expected(folder / "expected.json").model_copy(update=changes)
    return judge(load_evidence(folder, expected), Rules(), Baselines())


def skewed(symbol, paths):
    middle = np.median(paths, axis=1, keepdims=True)
    return paths + np.maximum(paths - middle, 0)


def test_scores_of_another_point_forecast_are_no_evidence(tmp_path):
    Run(effects={("toto", name): Effects(paths=skewed) for name in TOTO}).write(tmp_path)
    assert not judged(tmp_path).problems
    for point in ("mean", "trimmed-mean 0.2"):
        verdict = judged(tmp_path, point=point)
        assert not verdict.passed
        assert any("windows is not that of their forecasts" in problem["message"] for problem in verdict.problems)


def test_scores_of_the_point_forecast_are_and_sentences_name_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.judgement.evidence_builder.POINT", "trimmed-mean 0.2")
    Run().write(tmp_path)
    verdict = judged(tmp_path, point="trimmed-mean 0.2")
    assert verdict.passed
    reasons = [check.reason for check in verdict.checks if check.name in ("mae-not-worse", "naive-ratio", "mae-band")]
    assert reasons and all(
        reason.startswith("MAE of the mean without 20% at each end") for reason in reasons if reason.startswith("MAE")
    )
    assert sum(reason.startswith("MAE") for reason in reasons) >= 3
    assert scope_words(verdict.scopes["toto"]).endswith("; MAE of the mean without 20% at each end")


def test_the_price_that_was_forecast_is_part_of_the_scope(tmp_path):
    Run().write(tmp_path)
    scope = judged(tmp_path, target="low").scopes["toto"]
    assert scope["target"] == "low" and "windows in a call; of the low price" in scope_words(scope)
