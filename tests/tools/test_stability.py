"""What the table of runs that are judged again says of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from greenlight.files import write_json
from greenlight.layout import Layout
from tools.stability import Judged, judge_again, problem_with

LOSERS = {
    "static-eager": "passes, 0.5 [0.4, 0.6] times as fast as static-default",
    "static-reduce-overhead": "the same as static-default on this device",
    "upstream-default": "slow-calls: 5% of calls",
}


def judged(condition: str = "cores-1", verdict: str = "pass", toto: str | None = "static-default") -> Judged:
    return Judged(condition, verdict, (), (("toto", toto),), 1.0)


def test_the_same_choice_in_all_that_pass_is_no_problem():
    assert problem_with([judged(), judged("loaded", "fail", None), judged("cores-2")]) == ""


def test_another_choice_is_a_problem_wherever_it_passes():
    assert "differently" in problem_with([judged(), judged("loaded", toto="static-eager")])
    assert problem_with([judged(), judged("loaded", "fail", "static-eager")]) == ""


def test_runs_that_never_pass_on_an_empty_machine_prove_nothing():
    assert "no run passes" in problem_with([judged(verdict="fail"), judged("loaded")])


@pytest.mark.parametrize("leaves", [True, False])
def test_a_run_that_leaves_no_verdict_is_not_taken_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: bool
):
    layout, given = Layout(tmp_path), []

    def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        given.append(command)
        if leaves:
            write_json(layout.verdict, {"gate": "pass", "reasons": []})
        return subprocess.CompletedProcess(command, 0, "the last words")

    write_json(layout.verdict, {"gate": "pass", "reasons": []})
    write_json(layout.decision, {"models": {"toto": {"chosen": "static-default", "losers": LOSERS}}})
    monkeypatch.setattr(subprocess, "run", run)
    if not leaves:
        with pytest.raises(RuntimeError, match="the last words"):
            judge_again(layout, "cores-2")
        return
    again = judge_again(layout, "cores-2")
    assert again.chosen == (("toto", "static-default"),)
    assert again.reasons == ("toto upstream-default: slow-calls: 5% of calls",)
    assert given[0][given[0].index("--forcerun") :][:4] == ["--forcerun", "time", "--cores", "2"]
