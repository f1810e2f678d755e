"""Load of others is seen, told from one's own, and pairs beside it are timed again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from greenlight.run.children.latency import Quietly
from greenlight.trials.load import Watch, glance, is_busy, wait_until_quiet

# Ends by itself, should the test be killed; its parent ends at once, so that it is nobody's child.
BURN = "import os, sys, time\nif os.fork(): sys.exit()\nprint(os.getpid(), flush=True)\nend = time.time() + 60\n"
BURN += "while time.time() < end: pass"


@contextlib.contextmanager
def others(count):
    """Processes that are not ours and keep a processor busy each."""
    started = [subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE, text=True) for _ in range(count)]
    pids = [int(one.stdout.readline()) for one in started]
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for one in started:
            one.wait()
            one.stdout.close()


@pytest.fixture
def loaded():
    with others(2 * len(os.sched_getaffinity(0))):
        yield


def test_the_load_of_others_is_seen(loaded):
    found = glance()
    assert found["foreign"] > 0.5 and is_busy(found, 0.25), found
    assert found["processors"] == len(os.sched_getaffinity(0)) and found["device"] is None


def test_ones_own_work_is_not_foreign():
    watch, end = Watch(), time.perf_counter() + 0.5
    began = time.process_time()
    while time.perf_counter() < end:
        pass
    own = time.process_time() - began
    found = watch.read()
    assert found["foreign"] + own / (found["seconds"] * found["processors"]) < 1.15, (found, own)


def test_what_is_not_known_counts_as_busy():
    assert is_busy({"foreign": None, "device": None}, 1.0)
    assert is_busy({"foreign": 0.0, "device": {"throttled": ["power brake"]}}, 0.5)


def test_pairs_beside_others_are_timed_again_and_then_count_as_they_are(loaded):
    request = {"foreign_load": 0.25, "device": "cpu", "threads": 1, "timing": {"extra_seconds": 2.0}}
    asked = []

    def measure(pairs, controls, first):
        asked.append((pairs, controls, first))
        time.sleep(0.4)
        return [{}] * (pairs + controls)

    quietly = Quietly(request, measure)
    assert len(quietly.measure(4, 2, 0)) == 6
    assert len(asked) == len(quietly.loads) >= 2 and quietly.dropped == 6 * (len(asked) - 1)
    assert [load["kept"] for load in quietly.loads] == [False] * (len(asked) - 1) + [True]
    assert quietly.loads[-1]["foreign"] > 0.25


def test_any_load_may_be_allowed(loaded):
    request = {"foreign_load": 1.0, "device": "cpu", "threads": 1, "timing": {"extra_seconds": 9.0}}
    quietly = Quietly(request, lambda pairs, controls, first: [{}] * pairs)
    quietly.measure(4, 2, 0)
    assert quietly.dropped == 0


def test_waiting_ends_when_others_do():
    seen = [{"foreign": 0.9, "device": None}] * 3 + [{"foreign": 0.0, "device": None}]
    assert wait_until_quiet(0.25, 60.0, see=lambda device: seen.pop(0)) < 5 and not seen
    assert wait_until_quiet(0.25, 0.05, see=lambda device: time.sleep(0.06) or {"foreign": 1.0, "device": None}) < 5
