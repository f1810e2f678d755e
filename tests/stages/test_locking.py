"""Jobs end with their run: on its own machine, on another one, and when they waited in a queue for too long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from greenlight.errors import UserError
from greenlight.layout import Layout
from greenlight.run.locking import RUN, claim_run

CLAIM = """
import os, sys, time
from pathlib import Path
from greenlight.layout import Layout
from greenlight.run.locking import RUN, claim_run
claim_run(Layout(Path(sys.argv[1])))
print(os.environ[RUN], flush=True)
time.sleep(60)
"""
JOIN = """
import sys, time
from pathlib import Path
from greenlight.layout import Layout
from greenlight.run.locking import join_run
held = join_run(Layout(Path(sys.argv[1])))
print("at work", flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Start a program; all are ended with the test."""
    started = []

    def begin(program, run=None):
        environment = {name: value for name, value in os.environ.items() if name != RUN}
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            env=environment | ({RUN: run} if run else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def as_seen_from_another_machine(run):
    name, process, _ = run.split(" ", 2)
    return f"{name} {process} another machine"


def test_a_job_ends_with_the_process_of_its_run(start):
    run, name = start(CLAIM)
    job, said = start(JOIN, name)
    assert said == "at work"
    run.kill()
    run.wait()
    assert job.wait(20) == -signal.SIGTERM
    assert "the run that started this job is gone" in job.stderr.read()


def test_on_another_machine_a_job_outlives_its_run_until_the_next_one(start):
    run, name = start(CLAIM)
    job, said = start(JOIN, as_seen_from_another_machine(name))
    assert said == "at work"
    run.kill()
    run.wait()
    time.sleep(2)
    assert job.poll() is None
    _, second = start(CLAIM)  # waits for the job
    assert second and second != name
    assert job.wait(20) == -signal.SIGTERM
    late, said = start(JOIN, as_seen_from_another_machine(name))
    assert said == "" and late.wait(20) == 1
    assert "the run that started this job is gone" in late.stderr.read()
    own, said = start(JOIN, as_seen_from_another_machine(second))
    assert said == "at work" and own.poll() is None


def test_a_second_run_is_refused_by_process_and_machine(start, tmp_path):
    run, _ = start(CLAIM)
    with pytest.raises(UserError, match=rf"another run is at work in .* \(process {run.pid} on \S+\)"):
        claim_run(Layout(tmp_path))


def test_a_job_by_hand_belongs_to_no_run(start):
    start(CLAIM)
    _, said = start(JOIN)
    assert said == "at work"
