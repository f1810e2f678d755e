"""A plug-in outside the tree through the whole gate, by the command that users run."""

from __future__ import annotations

import re
import shutil
from copy import deepcopy
from pathlib import Path

import pytest

from tests.workflow.project import SMALL, make_project

pytestmark = pytest.mark.slow

DRIFT = Path(__file__).parent / "drift.py"
TRIALS = {"clear", "compile", "predict", "probe", "call", "time"}


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A project that has run with the plug-in of `drift.py` in a folder `gate`, and nothing else."""
    project = make_project(tmp_path_factory.mktemp("door") / "project", symbols=2)
    (project.folder / "gate").mkdir()
    shutil.copy(DRIFT, project.folder / "gate" / "drift.py")
    config = deepcopy(SMALL)
    config["models"] = {"toto": None, "kronos": None, "drift-1": {"plugin": "gate/drift.py:MODEL", "damping": 0.25}}
    # One small kernel is compiled sooner without a precompiled header, which takes a quarter of a minute.
    environment = {"TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0"}
    config["trials"] = {"repeats": 2, "environment": environment}
    config["evaluation"] |= {"extra_seconds": 0}
    config["timing"] |= {"extra_seconds": 0}
    config["evaluation"]["call"] = {"shapes": {"contexts": [32]}, "calls": 30}
    # It takes microseconds, which a busy machine moves by as much; what noise blocks is in test_quiet_machine.py.
    config["rules"]["severity"]["noise-of-choice"] = "warn"
    project.configure(config)
    project.first_run = project.snakemake()
    return project


def test_it_is_short():
    assert len(DRIFT.read_text().splitlines()) < 70


def test_the_gate_passes_and_shows_its_variants(gated):
    assert gated.first_run.returncode == 0, gated.first_run.stdout[-3000:]
    verdict = gated.read("verdict.json")
    variants = verdict["models"]["drift-1"]["variants"]
    assert set(variants) == {"plain-eager", "plain-default"}
    engaged = [c for c in verdict["checks"] if (c["name"], c["variant"]) == ("compile-engaged", "plain-default")]
    assert [check["status"] for check in engaged] == ["pass"], "its one compiled mode was compiled"
    called = {(c["variant"], c["name"]): c["status"] for c in verdict["checks"]}
    for name in ("shapes-stable", "concurrent-calls", "soak"):
        assert called["plain-default", name] == called["plain-eager", name] == "pass"
    asked = {c["name"] for c in verdict["checks"] if c["status"] == "not-applicable"}
    assert asked == {"other-seed", "other-symbol", "samples-differ"}
    report = (gated.folder / "results" / "report.md").read_text()
    assert "| 32 → 12, 2 windows, 8 samples | " in report
    assert "plain-default" in report and "not applicable: the model draws no random numbers" in report
    assert gated.read("decision.json")["models"]["drift-1"]["variant"] in variants
    deploy = (gated.folder / "results" / "deploy.env").read_text()
    assert re.search(r"GREENLIGHT_DRIFT_1_VARIANT=plain-", deploy)
    assert gated.stale() == {}


def test_an_edit_of_its_file_makes_exactly_its_stages_stale_and_why_names_it(gated):
    file = gated.folder / "gate" / "drift.py"
    before = file.read_text()
    file.write_text(before.replace("rows.sqrt()", "rows.pow(0.5)"))
    try:
        stale = gated.stale()
        words = gated.sooner("why").stdout
    finally:
        file.write_text(before)
    judged = {"score", "expect", "diff", "judge", "report", "archive", "gate"}
    assert {rule.partition("_")[0] for rule in stale} == TRIALS | judged
    assert "file drift.py has changed" in words
    assert gated.stale() == {}


def test_its_settings_are_refused_with_the_nearest_key(gated):
    config = deepcopy(gated.config)
    config["models"]["drift-1"] |= {"dampng": 0.5}
    before = gated.config
    gated.configure(config)
    try:
        done = gated.look()
    finally:
        gated.configure(before)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "models.drift-1.dampng: unknown key (did you mean 'damping'?)" in done.stdout


def test_it_has_a_baseline(gated):
    done = gated.sooner("accept", "--config", "accept={reason: the first}")
    assert done.returncode == 0, done.stdout[-2000:]
    accepted = (gated.folder / "config" / "baselines" / "accuracy" / "drift-1.json").read_text()
    assert "plain-default" in accepted
