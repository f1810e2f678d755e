"""The `warm-cache` check: no process compiles what the compile stage did, shown by counters and by time."""

from __future__ import annotations

import pytest

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence, record_file
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.effects import HEALTH
from tests.judgement.evidence_builder import TOTO, Run, reseal
from tests.judgement.test_verdict import check_of

VARIANT = "static-default"
MODELS = {"toto": {name: TOTO[name] for name in ("upstream-eager", "static-eager", VARIANT)}}
WHOLE = {"fx_hits": 2, "fx_misses": 0, "aot_hits": 1, "aot_misses": 0}


def check_after(folder, stage, **result):
    """The check after results of a stage were changed in its record."""
    Run(models=MODELS).write(folder)
    place = record_file("predict/0000" if stage == "predict" else stage, "toto", VARIANT)

    def change(record):
        for trial in record["trials"]:
            trial["result"] |= result

    reseal(folder / place, change)
    evidence = load_evidence(folder, load_expected(folder / "expected.json"))
    return check_of(judge(evidence, Rules(), Baselines()), "warm-cache", VARIANT)


def health(**cache):
    return {"health": HEALTH | {"cache": WHOLE | cache}}


def test_what_is_found_in_the_cache_passes(tmp_path):
    check = check_after(tmp_path, "probe", **health())
    assert check.status == "pass", check.reason
    assert "0 missed" in check.reason


@pytest.mark.parametrize("stage", ["predict", "time"])
@pytest.mark.parametrize("counter", ["fx_misses", "aot_misses"])
def test_a_stage_that_compiles_again_is_caught(tmp_path, stage, counter):
    check = check_after(tmp_path, stage, **health(**{counter: 1}))
    assert check.status == "warn"
    assert "does not spare compilation" in check.reason


def test_a_stage_that_finds_nothing_is_caught(tmp_path):
    check = check_after(tmp_path, "probe", **health(fx_hits=0, aot_hits=0, fx_misses=2, aot_misses=1))
    assert check.status == "warn"
    assert check.reason == "probe found 0 of 3 in the cache, and compiled the others again"


def test_a_probe_may_compile_what_only_it_runs(tmp_path):
    assert check_after(tmp_path, "probe", **health(fx_misses=1, aot_misses=1)).status == "pass"


@pytest.mark.parametrize("stage", ["predict", "time"])
def test_a_hit_that_takes_as_long_as_compiling_is_caught(tmp_path, stage):
    check = check_after(tmp_path, stage, first_call_seconds=9.0)
    assert check.status == "warn"
    assert check.reason.endswith("but a first call took 75% of the cold compile, to be 60%")
