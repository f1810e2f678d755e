"""What a run tells in the terminal through our logger of Snakemake."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.looks import look

WORKFLOW = Path(__file__).parents[2] / "workflow"
SNAKEFILE = """
from greenlight.run.durations import expect_seconds

onstart:
    expect_seconds({"one": 100, "two": 40})

rule all:
    input: "two"

rule first:
    message: "Making the first"
    output: "one"
    shell: "touch {output}"

rule second:
    message: "Making the second"
    input: "one"
    output: "two"
    shell: COMMAND
"""


@pytest.fixture
def run(tmp_path):
    """`run(*arguments, command=…)` runs two jobs; the text of the terminal."""

    def snakemake(*arguments, command="touch {output}", code=0):
        (tmp_path / "Snakefile").write_text(SNAKEFILE.replace("COMMAND", repr(command)))
        given = ["--cores", "1", "--logger", "greenlight", *arguments]
        environment = os.environ | {"PYTHONPATH": str(WORKFLOW)}
        done = look("snakemake", *given, folder=tmp_path, environment=environment)
        assert done.returncode == code, done.stdout
        return done.stdout

    return snakemake


def test_config_that_the_shell_took_apart_is_one_sentence_with_the_right_form(run):
    said = run("--config", "accept={reason:", "why}", code=1)
    assert said.startswith("greenlight: --config: found 'why}', expected name=value with quotes around braces")
    assert len(said.splitlines()) == 1


def test_a_run_tells_a_line_a_job_with_what_is_done_and_left(run):
    lines = run().splitlines()
    assert lines[:2] == [
        "[0 of 3 done, 0 min, about 2 min left] Making the first",
        "[1 of 3 done, 0 min, under a minute left] Making the second",
    ]
    assert lines[2].startswith("Complete log(s): ") and len(lines) <= 4
    log = Path(lines[2].removeprefix("Complete log(s): ")).read_text()
    assert "Finished jobid" in log and "Job stats" in log, "Snakemake's own log keeps all"
    assert "\x1b" not in "".join(lines)
    assert "Nothing to be done" in run()


def test_quiet_tells_nothing_of_a_run_that_succeeds_and_what_fails_otherwise(run):
    assert run("--quiet").strip() == ""
    told = run("--forceall", "--quiet", command="echo why; exit 3", code=1)
    assert "why" in told and "Error in rule second" in told and "Making the first" not in told


def test_verbose_and_dry_runs_tell_what_snakemake_tells(run):
    dry = run("-n")
    assert "Job stats" in dry and "This was a dry-run" in dry
    assert "Finished jobid" in run("--verbose")


def test_a_failure_is_told_whole(run):
    told = run(command="echo why; exit 3", code=1)
    assert "Error in rule second" in told and "why" in told and "exit code" in told


def test_no_color_is_honoured_on_a_terminal(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE.replace("COMMAND", repr("exit 1")))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "greenlight"]
    told = os.environ | {"PYTHONPATH": str(WORKFLOW), "TERM": "xterm-256color", "NO_COLOR": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=told, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # Linux tells so that the other end is closed
        while part := os.read(ours, 65536):
            said += part
    os.close(ours)
    assert process.wait() == 1 and b"Error in rule second" in said and b"\x1b" not in said
