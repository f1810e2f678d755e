"""The registry of checks is what rules, judgement and docs go by."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from greenlight.judgement import checks, judge
from greenlight.judgement.registry import CHECKS, NAMES, demanded
from greenlight.judgement.rules import ALWAYS_BLOCK, DEFAULT_SEVERITY, Rules
from tests.judgement.evidence_builder import KRONOS, TOTO, Run
from tests.judgement.test_verdict import verdict_of
from tools.check_table import PAGE, with_table

ROOMS = Path(checks.__file__).parent


def test_names_are_unique_and_rules_have_them_all():
    assert len(NAMES) == len(CHECKS) and list(DEFAULT_SEVERITY) == list(NAMES)
    assert all(NAMES[name].severity == "block" for name in ALWAYS_BLOCK)
    assert Rules().severity_of("graph-breaks") == NAMES["graph-breaks"].severity == "warn"


def test_the_docs_list_the_checks_as_they_are():
    """`python -m tools.check_table` writes them."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page


@pytest.mark.parametrize("row", CHECKS, ids=lambda row: row.name)
def test_a_check_is_made_in_the_room_that_its_row_names(row):
    """Or in `judge`, which makes those of a variant that was not measured."""
    text = (ROOMS / f"{row.room}.py").read_text()
    words = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    made = row.name in words or (
        row.name.startswith("evidence-") and any(str(w).startswith("evidence-") for w in words)
    )
    assert made, f"{row.room}.py does not make {row.name}"
    assert row.asks.endswith("?")


def test_checks_that_are_made_are_registered_and_rest_on_the_stages_that_are_named(tmp_path):
    verdict = verdict_of(tmp_path, Run(models={"toto": TOTO, "kronos": KRONOS}))
    assert len({check.name for check in verdict.checks}) > 50
    folders = {"scores": "score", "forecasts": "predict", "baselines": None}
    for check in verdict.checks:
        stages = {folders.get(folder := name.split("/")[0], folder) for name, _ in check.evidence} - {None}
        if check.name != "pairing-anchor":  # rests on what the check that stops it rests on
            assert stages <= set(NAMES[check.name].stages), check.name


def test_a_check_that_no_rule_made_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(judge.speed, "memory_checks", lambda subject: [])
    verdict = verdict_of(tmp_path, Run(models={"kronos": KRONOS}))
    missing = {check.name for check in verdict.blocking("kronos", "upstream-default")}
    assert missing == {"memory-growth", "memory-peak"} <= {*demanded("all"), *demanded("variants")}
