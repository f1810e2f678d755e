"""Times of files never matter: results of the future, of one second, or of long ago are done in one run."""

from __future__ import annotations

import os
import time

import pytest

from greenlight.layout import Layout
from greenlight.run.planning import make_plan
from greenlight.run.staleness import mark_stale, stale_jobs
from tests.workflow.project import SMALL

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("shift", "deleted", "rule"),
    # What is newer than the clock could be taken for done; of what is old, the shortest chain is enough.
    [(86400.0 * 365, "scores/model=toto/**/windows.parquet", "score_toto"), (-86400.0 * 365, "report.md", "report")],
)
def test_results_of_another_time_are_as_good_and_what_is_stale_is_done_in_one_run(copied, shift, deleted, rule):
    results = copied.folder / "results"
    moment = time.time() + shift
    for path in results.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (moment, moment))
    failed = copied.read("verdict.json")["gate"] != "pass"
    waiting = {"gate": 1} if failed else {}
    assert copied.stale() == waiting
    next(results.glob(deleted)).unlink()
    assert copied.stale().get(rule) == 1
    copied.snakemake()
    assert copied.stale() == waiting


def test_a_stale_job_has_a_mark_newer_than_what_it_left_in_the_future(tmp_path, monkeypatch):
    """The mark is what Snakemake goes by; outputs dated in the future are set back to now."""
    monkeypatch.chdir(tmp_path)
    from tools.simulate import write_universe

    write_universe(tmp_path / "prices", 2, rows=120, seed=3)
    config = SMALL | {"models": {"kronos": {"variants": ["upstream-eager"]}, "toto": None}}
    plan, layout = make_plan(config, [])
    assert isinstance(layout, Layout)
    layout.expected.parent.mkdir(parents=True, exist_ok=True)
    layout.expected.write_text("{}")
    os.utime(layout.expected, (time.time() + 10**6,) * 2)
    stale = stale_jobs(plan, layout)
    assert "expect" in stale
    mark_stale(plan, layout, stale)
    assert layout.expected.stat().st_mtime_ns < layout.stale_mark.stat().st_mtime_ns <= time.time_ns()
