"""What diff, judge and accept share: evidence, rules and baselines read from disk, and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greenlight.judgement.baseline import Baselines, load_baselines
from greenlight.judgement.evidence import Evidence, load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import Verdict, judge
from greenlight.judgement.rules import Rules
from greenlight.layout import Layout


def judge_run(layout: Layout, rules: dict[str, Any], baselines: Path) -> tuple[Evidence, Baselines, Rules, Verdict]:
    """Judge the evidence in the results folder under the rules and against the baselines."""
    expected = load_expected(layout.expected)
    evidence = load_evidence(layout.root, expected)
    checked, stored = Rules.model_validate(rules), load_baselines(baselines, expected)
    return evidence, stored, checked, judge(evidence, checked, stored)
