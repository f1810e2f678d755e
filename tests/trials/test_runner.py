"""Real children for each kind of end that a CPU can produce, and what is left behind: nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from greenlight.trials.kinds import KINDS
from greenlight.trials.runner import Limits, run_trial, run_trial_shrinking
from tests.children import python_path

CHILDREN = python_path(Path(__file__).parent / "children")
FIELDS = {
    "kind", "message", "traceback", "log_tail", "advice", "exit_code", "signal", "seconds",
    "peak_memory_bytes", "started", "ended", "module", "environment", "attempts", "result", "interrupted",
}  # fmt: skip


def trial(folder, end, *, limits=None, environment=None, module="endings", **request):
    record = run_trial(
        module,
        {"end": end, **request},
        folder=folder,
        limits=limits or Limits(seconds=60),
        environment={**CHILDREN, **(environment or {})},
    )
    assert set(record) == FIELDS
    assert record["kind"] in KINDS
    assert "\n" not in record["message"] and record["message"]
    json.dumps(record, allow_nan=False)
    return record


def test_ok_carries_the_result_and_what_was_set(tmp_path):
    record = trial(tmp_path, "ok", environment={"GREENLIGHT_TEST": "7"})
    assert record["kind"] == "ok"
    assert record["result"]["variable"] == "7"
    assert record["result"]["pid"] != os.getpid()
    assert record["exit_code"] == 0 and record["signal"] is None
    assert record["environment"]["GREENLIGHT_TEST"] == "7" and "PATH" not in record["environment"]
    assert record["peak_memory_bytes"] > 2**20
    assert "about to end by ok" in record["log_tail"]
    assert "about to end by ok" in (tmp_path / "output.log").read_text()


@pytest.mark.parametrize(
    ("end", "kind", "words"),
    [
        ("second_call", "other", "RuntimeError: failed at call 2"),
        ("invalid", "invalid-output", "path 3 of GOOG is NaN"),
        ("user_error", "user-error", "found 3, expected a list; write models: [toto]"),
        ("missing_weights", "missing-weights", "no model.safetensors in /weights"),
        ("missing_file", "missing-weights", "/nonexistent/model.safetensors"),
        ("handled_import", "other", "ValueError: unrelated"),
        ("optional_import", "other", "ValueError: unrelated"),
        ("out_of_memory_in_compiler", "out-of-device-memory", "backend='inductor' raised"),
        ("leave", "other", "exit code 0 and no result"),
        ("list", "other", "returned list, expected a dict"),
        ("exit", "other", "SystemExit"),
    ],
)
def test_ends_with_an_exit_code(tmp_path, end, kind, words):
    record = trial(tmp_path, end)
    assert record["kind"] == kind
    assert words in record["message"]
    assert (record["result"] is None) == (kind != "invalid-output")


def test_traceback_names_the_line_that_failed(tmp_path):
    record = trial(tmp_path, "second_call")
    assert "in second_call" in record["traceback"] and "endings.py" in record["traceback"]


def test_recorded_device_error_keeps_its_kind_through_a_real_child(tmp_path):
    text = "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported"
    record = trial(tmp_path, "second_call", text=text)
    assert record["kind"] == "launch-failure"
    assert "CUDA_LAUNCH_BLOCKING=1" in record["advice"]


def test_broken_import(tmp_path):
    record = trial(tmp_path, "", module="broken_import")
    assert record["kind"] == "missing-dependency"
    assert "nothing_of_this_name" in record["message"]
    assert "broken_import.py" in record["traceback"]


def test_module_that_does_not_exist(tmp_path):
    assert trial(tmp_path, "", module="no_such_child")["kind"] == "missing-dependency"


def test_segfault_leaves_a_python_stack(tmp_path):
    record = trial(tmp_path, "segfault")
    assert (record["kind"], record["signal"], record["exit_code"]) == ("signal", "SIGSEGV", None)
    assert "in segfault" in record["traceback"]


def test_sigkill_from_outside(tmp_path):
    record = trial(tmp_path, "killed")
    assert (record["kind"], record["signal"]) == ("signal", "SIGKILL")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_what_was_ended_from_outside_is_run_once_more(tmp_path, name):
    record = trial(tmp_path, "killed_once", marker=str(tmp_path / "marker"), signal=name)
    assert record["kind"] == "ok" and record["interrupted"] == f"ended by {name}"
    assert (tmp_path / "output-interrupted.log").is_file()


def test_what_ends_so_again_is_the_variants_own(tmp_path):
    record = trial(tmp_path, "killed")
    assert record["kind"] == "signal" and record["message"] == "ended by SIGKILL, twice in fresh processes"


def test_a_crash_that_does_not_repeat_is_still_a_crash(tmp_path):
    """Nobody ends a process by SIGSEGV from outside: a variant that crashes now and then does not run every time."""
    record = trial(tmp_path, "killed_once", marker=str(tmp_path / "marker"), signal="SIGSEGV")
    assert record["kind"] == "signal" and record["interrupted"] == ""


def test_a_full_disk_is_the_machines(tmp_path):
    record = trial(tmp_path, "disk_full")
    assert record["kind"] == "machine" and "free space" in record["advice"]


def test_crash_after_the_result_is_no_ok(tmp_path):
    record = trial(tmp_path, "late_crash")
    assert record["kind"] == "signal" and record["result"] is None
    assert "after it had written its result" in record["message"]


def test_a_hang_that_ignores_sigterm_is_ended_and_shows_where(tmp_path):
    record = trial(tmp_path, "hang", limits=Limits(seconds=2))
    assert record["kind"] == "time-out"
    assert "in hang" in record["traceback"]
    assert record["seconds"] < 30


@pytest.mark.parametrize("end", ["fill_memory", "fill_memory_in_grandchild"])
def test_memory_limit_counts_the_process_tree(tmp_path, end):
    record = trial(tmp_path, end, limits=Limits(seconds=60, memory_bytes=200 * 2**20))
    assert record["kind"] == "out-of-host-memory"
    assert record["peak_memory_bytes"] > 200 * 2**20


def test_result_of_an_earlier_trial_is_not_taken(tmp_path):
    assert trial(tmp_path, "ok")["kind"] == "ok"
    stale = (tmp_path / "result.json").read_text()
    record = trial(tmp_path, "leave")
    assert record["kind"] == "other" and not (tmp_path / "result.json").exists()
    (tmp_path / "kept.json").write_text(stale)
    # A child that puts the stale file back: its id is not this request's.
    (tmp_path / "stale_child.py").write_text(
        "import os, sys\nos.replace(os.path.join(os.path.dirname(sys.argv[2]), 'kept.json'), sys.argv[2])\n"
    )
    record = trial(tmp_path, "", module="stale_child", environment={"PYTHONPATH": str(tmp_path)})
    assert (record["kind"], record["message"]) == ("other", "exit code 0 and a result of another trial")


def test_nan_in_a_result_stays_visible(tmp_path):
    assert trial(tmp_path, "nan")["result"] == {"figure": "NaN"}


def shrinking(folder, **request):
    started = []
    record = run_trial_shrinking(
        "endings",
        request,
        folder=folder,
        limits=Limits(seconds=60),
        sizes=("batch_size", "other_size", "absent"),
        environment=CHILDREN,
        before=lambda: started.append(sorted(file.name for file in folder.glob("output*.log"))),
    )
    assert len(started) == len(record["attempts"]) + 1
    return record


def test_out_of_memory_is_retried_smaller(tmp_path):
    record = shrinking(tmp_path, end="by_size", batch_size=8, other_size=3)
    assert record["kind"] == "ok" and record["result"] == {"batch_size": 2}
    assert record["sizes"] == {"batch_size": 2, "other_size": 1}
    assert [one["sizes"]["batch_size"] for one in record["attempts"]] == [8, 4]
    assert all(one["kind"] == "out-of-host-memory" and "attempts" not in one for one in record["attempts"])
    assert record["message"] == (
        "ok with batch_size 2, other_size 1, after batch_size 8, other_size 3 (out-of-host-memory); "
        "batch_size 4, other_size 1 (out-of-host-memory)"
    )
    assert (tmp_path / "output-1.log").exists() and (tmp_path / "output-2.log").exists()


def test_a_batch_of_one_that_does_not_fit_is_the_failure(tmp_path):
    record = shrinking(tmp_path, end="out_of_memory", batch_size=2)
    assert record["kind"] == "out-of-host-memory" and record["sizes"] == {"batch_size": 1}
    assert len(record["attempts"]) == 1


def test_other_failures_are_not_retried(tmp_path):
    record = shrinking(tmp_path, end="second_call", batch_size=8)
    assert record["kind"] == "other" and record["attempts"] == [] and record["sizes"] == {"batch_size": 8}


def gone(pid, seconds=15.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("hang", [False, True])
def test_descendants_in_other_sessions_are_ended_too(tmp_path, hang):
    pid_file = tmp_path / "pid"
    record = trial(tmp_path, "orphans", pid_file=str(pid_file), hang=hang, limits=Limits(seconds=12 if hang else 60))
    assert record["kind"] == ("time-out" if hang else "ok")
    assert gone(int(pid_file.read_text()))


def test_a_fork_bomb_is_ended_with_all_that_came_of_it(tmp_path):
    record = trial(tmp_path, "fork_bomb", limits=Limits(seconds=3), environment={"GREENLIGHT_BOMB": str(tmp_path)})
    assert record["kind"] == "time-out"
    assert _with_variable(f"GREENLIGHT_BOMB={tmp_path}") == []


def _with_variable(text):
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if text.encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_runner_is_ended(tmp_path, number):
    pid_file = tmp_path / "pid"
    code = (
        # A shell's background jobs, this test run perhaps among them, hand down an ignored SIGINT.
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\nfrom greenlight.trials.runner import Limits, run_trial\n"
        f"run_trial('endings', {{'end': 'orphans', 'pid_file': {str(pid_file)!r}, 'hang': True}},"
        f" folder=Path({str(tmp_path)!r}), limits=Limits(seconds=60), environment={CHILDREN!r})"
    )
    runner = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    family = [one.pid for one in psutil.Process(runner.pid).children(recursive=True)]
    assert len(family) >= 3  # supervisor, child, grandchild
    runner.send_signal(number)
    runner.wait(30)
    assert runner.returncode != 0
    assert all(gone(pid) for pid in family)


def test_progress_is_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("greenlight.trials.process.PROGRESS_SECONDS", 0.5)
    trial(tmp_path, "hang", limits=Limits(seconds=2))
    shown = capsys.readouterr().err
    assert "endings: " in shown and "s of at most 2 s" in shown
    assert "last output: about to end by hang" in shown


def test_a_message_that_announces_its_reason_is_kept_with_it(tmp_path):
    record = trial(tmp_path, "second_call", text="backend='inductor' raised:\nCppCompileError: no such header\nmore")
    assert record["message"] == "RuntimeError: backend='inductor' raised: CppCompileError: no such header"
