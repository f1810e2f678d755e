"""A reference that runs other people's code is held to independent code, by a bound that its own error can't move."""

from __future__ import annotations

import pytest

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.effects import Effects
from tests.judgement.evidence_builder import Run

NAME = "reference-as-published"


def judged(folder, independent="static-eager", **effects):
    """Checks of all variants of a run, by variant and name."""

    def adjust(manifest):
        for variant, entry in manifest["models"]["toto"]["variants"].items():
            entry["jobs"]["probe"]["independent"] = independent if variant == "upstream-eager" else None

    run = Run(effects={("toto", "upstream-eager"): Effects(**effects)}, adjust=adjust)
    results = run.write(folder)
    verdict = judge(load_evidence(results, load_expected(results / "expected.json")), Rules(), Baselines())
    return {(check.variant, check.name): check for check in verdict.checks}


def test_a_reference_that_gives_the_published_values_passes_and_no_other_variant_is_asked(tmp_path):
    checks = judged(tmp_path)
    assert checks["upstream-eager", NAME].status == "pass"
    assert ("static-eager", NAME) not in checks


@pytest.mark.parametrize(
    ("off", "words"),
    [(2e-4, "are not those of static-eager: off by"), (float("nan"), "no evidence: "), (None, "nothing was compared")],
)
def test_a_reference_that_is_off_stops_all_that_is_held_to_it(tmp_path, off, words):
    checks = judged(tmp_path, off_published=off)
    assert checks["upstream-eager", NAME].status == "fail" and words in checks["upstream-eager", NAME].reason
    assert checks["upstream-eager", "numerics"].status == "pass"  # which sees nothing of it
    for variant in ("static-eager", "static-default"):
        assert f"fails {NAME}" in checks[variant, "pairing-anchor"].reason


def test_where_there_is_no_independent_code_it_is_not_measured(tmp_path):
    assert judged(tmp_path, independent=None)["upstream-eager", NAME].status == "not-measured"
