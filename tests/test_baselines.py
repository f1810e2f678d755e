"""The shipped baselines are of the shipped configuration: a new setting that is left as it is must not block a run."""

from __future__ import annotations

from pathlib import Path

import yaml

from greenlight.judgement.baseline import AccuracyBaseline, load_baselines
from greenlight.judgement.checks.baseline import incomparable
from greenlight.judgement.expected import load_expected
from tools.quick_run import QuickRun

ROOT = Path(__file__).parents[1]


def test_the_default_run_can_be_compared_with_the_shipped_baselines(tmp_path):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    run = QuickRun(config | {"data_folder": str(ROOT / "trainingdata"), "results_folder": str(tmp_path)}, run=None)
    run.begin()
    expected = load_expected(run.layout.expected)
    accepted = load_baselines(ROOT / "config/baselines", expected).accuracy
    assert set(accepted) == set(config["models"])
    for model, found in accepted.items():
        assert isinstance(found, AccuracyBaseline), found
        assert incomparable(expected, model, found) == "", model
