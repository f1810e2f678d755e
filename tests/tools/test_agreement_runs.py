"""Runs in which nothing differs, gathered in a file: the rate of false alarms and its bound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from greenlight.errors import UserError
from greenlight.files import read_json, write_json
from greenlight.judgement.rules import Rules
from greenlight.run.table import ROWS
from greenlight.settings import load_settings
from tools.agreement import HORIZONS, MADE_WITH, alarmed, configuration, earlier_runs, gather, measure, table
from tools.forks import CHILDREN
from tools.quick_run import STAGES

ROOT = Path(__file__).parents[2]


def run(gate="pass", *blocking, seed=1, second=False):
    checks = {"numerics": {"pass": 4}} | {name: {status: 1} for name, _, _, status, _ in blocking}
    about = {"variants": ["toto upstream-eager", "toto static-eager"], "compiled_cold": [], "load_before": 0.1}
    about |= {"gate": gate, "chosen": {"toto": "static-eager"}, "seed": seed, "second": second, "cpu_seconds": 60.0}
    return about | {"checks": checks, "blocking": list(map(list, blocking))}


ALARM = run("fail", ("numerics", "toto", "static-eager", "fail", "the error is too large"), seed=7)
OPEN = run("fail", ("quiet-machine", "toto", None, "inconclusive", "others are at work"), seed=8)


def test_every_child_of_a_stage_that_a_run_starts_is_there():
    """One that is not would fail each variant, and each run would be counted as a false alarm."""
    assert set(CHILDREN) == {f"greenlight.run.children.{ROWS[stage].child}" for stage in (*STAGES, "replicate")}


HIDDEN = run("pass", ("slow-calls", "toto", "static-eager", "fail", "slow now and then"), seed=9)


def test_an_alarm_is_a_run_that_says_that_something_differs_and_not_one_that_can_not_say():
    assert [alarmed(one) for one in (run(), ALARM, OPEN)] == [False, True, False]


def test_a_variant_that_is_stopped_is_an_alarm_even_where_the_gate_passes_by_another():
    assert alarmed(HIDDEN)
    assert "- seed 9: slow-calls of toto static-eager fail: slow now and then" in table([{"runs": [HIDDEN]}])


@pytest.mark.parametrize(
    ("runs", "count", "rate"),
    [
        ([run()] * 299, "0 of 299", "0.0%, at most 1.0% at 95% confidence"),
        ([run()] * 32, "0 of 32", "0.0%, at most 8.9% at 95% confidence"),
        ([run()] * 8 + [ALARM, OPEN], "1 of 10", "10.0%, at most 39.4% at 95% confidence"),
        ([], "0 of 0", "0.0%, at most 100.0% at 95% confidence"),
    ],
)
def test_the_rate_has_its_exact_bound(runs, count, rate):
    line = f"{count} whole runs in which nothing differs gave a false alarm: {rate}."
    assert line in table([{"runs": runs}])


def test_runs_that_were_left_open_are_counted_apart_and_each_is_named():
    text = table([{"runs": [run(), ALARM, OPEN]}])
    assert "1 of 3 were left open: a check that could not say blocked a variant: 33.3%, at most" in text
    assert "fail: the error is too large" in text and "inconclusive: others are at work" in text
    assert "| `numerics` | 9 | 8 | 0 | 1 | 0 | 1 |" in text


def test_a_run_and_its_repetition_are_one_chance_of_what_does_not_hang_on_time():
    text = table([{"runs": [run(seed=n, second=twin) for n in range(150) for twin in (False, True)]}])
    assert "0 of 300 whole runs in which nothing differs gave a false alarm: 0.0%, at most 1.0% at 95%" in text
    assert "0 of 150 seeds did, where a run and its repetition count once: 0.0%, at most 2.0% at 95%" in text


def test_what_processes_left_in_files_is_gathered_once(tmp_path):
    out, one, other = tmp_path / "all.json", tmp_path / "one.json", tmp_path / "other.json"
    for file, seeds in ((one, (1, 2)), (other, (3,))):
        write_json(file, {"config": MADE_WITH, "runs": [run(seed=seed) for seed in seeds]})
    gather([one], out)
    gather([other], out)
    assert [found["seed"] for found in earlier_runs(out)] == [1, 2, 3]
    with pytest.raises(UserError, match="seed 3, first run of toto upstream-eager, toto static-eager, is in another"):
        gather([other], out)
    with pytest.raises(UserError, match="there is no such file"):
        gather([tmp_path / "none.json"], out)
    assert len(earlier_runs(out)) == 3


def test_runs_are_added_to_those_of_the_same_configuration_only(tmp_path):
    out = tmp_path / "runs.json"
    assert earlier_runs(out) == []
    write_json(out, {"config": MADE_WITH, "runs": [run(seed=3)]})
    before = out.read_bytes()
    measure(0, [configuration("toto")], "trainingdata", out)
    assert out.read_bytes() == before and earlier_runs(out) == read_json(out)["runs"]
    write_json(out, {"config": {**MADE_WITH, "threads": 2}, "runs": [run(seed=3)]})
    with pytest.raises(UserError, match="made with another configuration; name another file by --out"):
        measure(1, [configuration("toto")], "trainingdata", out)
    out.write_text("[]")
    with pytest.raises(UserError, match="this is no file of runs"):
        earlier_runs(out)


def test_a_run_is_of_a_model_that_is_named_compiled_or_not():
    models = configuration("kronos", compiled=True)["models"]
    assert models["kronos"]["variants"] == ["upstream-eager", "static-eager", "static-default"]
    assert models["toto"] is None and "chronos-2" not in models
    assert "static-default" not in configuration("toto")["models"]["toto"]["variants"]
    with pytest.raises(UserError, match="--models nobody: expected some of toto, kronos, chronos-2"):
        configuration("nobody")


@pytest.mark.parametrize("model", HORIZONS)
def test_a_run_has_the_default_rules_but_for_the_load_of_others(model):
    own = load_settings(configuration(model, compiled=True), []).rules.model_dump()
    usual = Rules().model_dump()
    assert own["speed"].pop("foreign_load") == 1.0 and usual["speed"].pop("foreign_load") < 1.0
    assert own == usual


def test_the_command_refuses_a_file_of_other_runs_in_words(tmp_path):
    out = tmp_path / "runs.json"
    write_json(out, {"config": {}, "runs": []})
    command = [sys.executable, "-m", "tools.agreement", "--runs", "1", "--out", str(out)]
    environment = {"PYTHONPATH": str(ROOT / "workflow"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("greenlight: ") and "Traceback" not in done.stderr
