"""Runs in which nothing differs, gathered in a file: the rate of false alarms and its bound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from greenlight.errors import UserError
from greenlight.files import read_json, write_json
from greenlight.run.table import ROWS
from tools.agreement import CHILDREN, CONFIG, alarmed, configuration, earlier_runs, measure, table
from tools.quick_run import STAGES

ROOT = Path(__file__).parents[2]


def run(gate="pass", *blocking, seed=1):
    reasons = [reason for *_, reason in blocking]
    checks = {"numerics": {"pass": 4}} | {name: {status: 1} for name, _, _, status, _ in blocking}
    about = {"variants": ["toto upstream-eager", "toto static-eager"]}
    about |= {"gate": gate, "reasons": reasons, "chosen": {"toto": "static-eager"}, "seed": seed, "seconds": 60.0}
    return about | {"checks": checks, "blocking": list(map(list, blocking))}


ALARM = run("fail", ("numerics", "toto", "static-eager", "fail", "the error is too large"), seed=7)
OPEN = run("fail", ("quiet-machine", "toto", None, "inconclusive", "others are at work"), seed=8)


def test_every_child_of_a_stage_that_a_run_starts_is_there():
    """One that is not would fail each variant, and each run would be counted as a false alarm."""
    assert set(CHILDREN) == {f"greenlight.run.children.{ROWS[stage].child}" for stage in (*STAGES, "replicate")}


def test_an_alarm_is_a_run_that_says_that_something_differs_and_not_one_that_can_not_say():
    assert [alarmed(one) for one in (run(), ALARM, OPEN)] == [False, True, False]


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
    assert "1 of 3 were left open, which blocks: a check could not say: 33.3%, at most" in text
    assert "- seed 7: the error is too large" in text and "- seed 8: others are at work" in text
    assert "| `numerics` | 9 | 8 | 0 | 1 | 0 | 1 |" in text


def test_runs_are_added_to_those_of_the_same_configuration_only(tmp_path):
    out = tmp_path / "runs.json"
    assert earlier_runs(out) == []
    write_json(out, {"config": CONFIG, "runs": [run(seed=3)]})
    before = out.read_bytes()
    measure(0, configuration(), "trainingdata", out)
    assert out.read_bytes() == before and earlier_runs(out) == read_json(out)["runs"]
    write_json(out, {"config": {**CONFIG, "threads": 2}, "runs": [run(seed=3)]})
    with pytest.raises(UserError, match="made with another configuration; name another file by --out"):
        measure(1, configuration(), "trainingdata", out)
    out.write_text("[]")
    with pytest.raises(UserError, match="this is no file of runs"):
        earlier_runs(out)


def test_a_run_is_of_the_models_that_are_named_compiled_or_not():
    models = configuration(["kronos"], compiled=True)["models"]
    assert models.pop("kronos")["variants"] == ["upstream-eager", "static-eager", "static-default"]
    assert models == {"toto": None}
    assert all("static-default" not in model["variants"] for model in configuration()["models"].values())
    with pytest.raises(UserError, match="--models nobody: expected some of toto, kronos, chronos-2"):
        configuration(["nobody", "toto"])


def test_the_command_refuses_a_file_of_other_runs_in_words(tmp_path):
    out = tmp_path / "runs.json"
    write_json(out, {"config": {}, "runs": []})
    command = [sys.executable, "-m", "tools.agreement", "--runs", "1", "--out", str(out)]
    environment = {"PYTHONPATH": str(ROOT / "workflow"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("greenlight: ") and "Traceback" not in done.stderr
