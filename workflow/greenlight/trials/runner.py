"""Running risky work in a child process of its own, and saying how it ended."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from greenlight.files import read_json, write_json
from greenlight.provenance import moment
from greenlight.trials.kinds import (
    FROM_OUTSIDE,
    HOST_MEMORY_ADVICE,
    MACHINE_ADVICE,
    MEMORY_KINDS,
    SIGNAL_ADVICE,
    TIME_OUT_ADVICE,
    classify_exception,
    exception_in_log,
)
from greenlight.trials.process import End, Limits, memory_of_machine, supervise, tail

__all__ = ["Limits", "run_trial", "run_trial_shrinking"]

_TAIL_LINES = 20
_TAIL_CHARACTERS = 4000


def run_trial(
    module: str,
    request: dict[str, Any],
    *,
    folder: Path,
    limits: Limits,
    environment: Mapping[str, str] | None = None,
    progress: str = "",
) -> dict[str, Any]:
    """Run `python -m <module> <request.json> <result.json>` in isolation and return the trial's record.

    Never raises for what the child did. The child has its own session, inherits of os.environ what
    `greenlight.trials.environment` lists, with `environment` on top, and its standard output and error go to
    `<folder>/output.log`, which is kept. The record is `ok` only if the child exited with 0 and left a result that
    carries this request's id. When the runner is interrupted, ends or is killed, the child and all its descendants are
    ended too.

    A trial that others may have ended (a signal from outside, a lost supervisor, memory that others took) is run once
    more in a fresh process; `interrupted` says so. What ends so again is the variant's own where that can be, else the
    kind is `machine`, which says nothing of the variant.

    Args:
        module: a module whose main calls `greenlight.trials.child.serve`.
        request: what the child's function is given; JSON values only.
        folder: the trial's own folder; one trial at a time.
        limits: wall-clock and memory limit.
        environment: variables to set for the child; recorded, so nothing secret.
        progress: what the trial does, for the progress line on standard error every 15 s.

    Returns:
        {"kind", "message", "traceback", "log_tail", "advice", "exit_code", "signal", "seconds",
        "peak_memory_bytes", "started", "ended", "module", "environment", "attempts", "result"}; kinds are in
        `greenlight.trials.kinds.KINDS`.
    """
    once = partial(_run_once, module, request, Path(folder), limits, environment or {}, progress or module)
    record, end = once()
    if not _by_others(record, end):
        return record
    first = record["message"]
    (Path(folder) / "output.log").replace(Path(folder) / "output-interrupted.log")
    record, end = once()
    record["interrupted"] = first
    if record["kind"] == "machine" and end.signal is not None and not end.killed_by_kernel:
        own = _finding("signal", f"{record['message']}, twice in fresh processes", record["traceback"], "")
        record |= own | {"advice": SIGNAL_ADVICE.get(end.signal, "")}
    return record


def _by_others(record: Mapping[str, Any], end: End) -> bool:
    """Whether a trial may have been ended by others, so that running it once more tells."""
    return record["kind"] == "machine" and (end.signal is not None or end.exit_code is None)


def _run_once(
    module: str, request: dict[str, Any], folder: Path, limits: Limits, environment: Mapping[str, str], progress: str
) -> tuple[dict[str, Any], End]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("result.json", "error.json"):
        (folder / name).unlink(missing_ok=True)
    identity = uuid.uuid4().hex
    write_json(folder / "request.json", {"id": identity, "request": request, "environment": dict(environment)})
    started = moment()
    begin = [sys.executable, "-m", "greenlight.trials.begin", module]
    command = [*begin, str(folder / "request.json"), str(folder / "result.json")]
    end = supervise(command, folder / "output.log", limits, environment, progress)
    log = tail(folder / "output.log")
    record: dict[str, Any] = {
        "exit_code": end.exit_code,
        "signal": end.signal,
        "seconds": round(end.seconds, 3),
        "peak_memory_bytes": end.peak_memory_bytes,
        "started": started,
        "ended": moment(),
        "module": module,
        "environment": dict(environment),
        "log_tail": "\n".join(log.splitlines()[-_TAIL_LINES:])[-_TAIL_CHARACTERS:],
        "attempts": [],
        "interrupted": "",
        "result": None,
    }
    return record | _judge(folder, identity, end, log, limits), end


def run_trial_shrinking(
    module: str,
    request: dict[str, Any],
    *,
    folder: Path,
    limits: Limits,
    sizes: Sequence[str],
    environment: Mapping[str, str] | None = None,
    progress: str = "",
    before: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """`run_trial`, again with half of each of `sizes` as long as memory runs out and one of them is above 1.

    The last attempt's record is returned, with the earlier ones under `attempts` and the sizes that each used under
    `sizes`; its message says what was tried. The output of attempt n is kept as `output-<n>.log`. Results must not
    depend on the sizes: that is the caller's promise.

    Args:
        limits: as for one trial; the time limit is that of all attempts together.
        sizes: keys of the request that hold batch sizes; one that it lacks is left out.
        before: called before each attempt, such as to start each from the same files.
    """
    used = {key: int(request[key]) for key in sizes if key in request}
    attempts: list[dict[str, Any]] = []
    while True:
        before()
        spent = sum(attempt["seconds"] for attempt in attempts)
        record = run_trial(
            module,
            request | used,
            folder=folder,
            limits=replace(limits, seconds=max(1.0, limits.seconds - spent)),
            environment=environment,
            progress=(progress or module) + (f", {_words(used)}" if attempts else ""),
        )
        record["sizes"] = used
        if record["kind"] not in MEMORY_KINDS or all(size <= 1 for size in used.values()):
            break
        (Path(folder) / "output.log").replace(Path(folder) / f"output-{len(attempts) + 1}.log")
        attempts.append({name: value for name, value in record.items() if name != "attempts"})
        used = {key: max(1, size // 2) for key, size in used.items()}
    record["attempts"] = attempts
    if attempts:
        tried = "; ".join(f"{_words(one['sizes'])} ({one['kind']})" for one in attempts)
        record["message"] = f"{record['message']} with {_words(used)}, after {tried}"
    return record


def _words(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {size}" for key, size in sizes.items())


def _judge(folder: Path, identity: str, end: End, log: str, limits: Limits) -> dict[str, Any]:
    """kind, message, traceback, advice and result from what the child left and how it ended."""
    error = _read_own(folder / "error.json", identity)
    result = _read_own(folder / "result.json", identity)
    if end.stopped_for == "time":
        message = f"not done after {limits.seconds:g} s"
        return _finding("time-out", message, _stack(log), TIME_OUT_ADVICE)
    if end.stopped_for == "memory":
        assert limits.memory_bytes is not None
        message = f"over the memory limit of {limits.memory_bytes / 2**30:.2f} GiB"
        return _finding("out-of-host-memory", message, _stack(log), HOST_MEMORY_ADVICE)
    if error is not None:
        kind, advice = classify_exception(error["chain"])
        own = kind in ("user-error", "missing-weights", "invalid-output", "not-as-planned")
        message = error["message"] if own else f"{error['name']}: {error['message']}"
        kept = error["result"] if kind == "invalid-output" else None
        return _finding(kind, message, error["traceback"], advice) | {"result": kept}
    if end.signal is not None:
        return _judge_signal(end, log, result)
    if end.exit_code == 0 and result is not None and isinstance(result.get("result"), dict):
        return {"kind": "ok", "message": "ok", "traceback": "", "advice": "", "result": result["result"]}
    if end.exit_code is None:
        return _finding("machine", "the trial's supervisor ended before the trial did", "", MACHINE_ADVICE)
    chain = exception_in_log(log)
    kind, advice = classify_exception(chain)
    if chain:
        name = chain[0]["types"][0] + ": " if chain[0]["types"] else ""
        return _finding(kind, name + chain[0]["message"], _last_traceback(log), advice)
    left = "a result of another trial" if (folder / "result.json").exists() else "no result"
    return _finding("other", f"exit code {end.exit_code} and {left}", "", "")


def _judge_signal(end: End, log: str, result: dict[str, Any] | None) -> dict[str, Any]:
    if end.signal == "SIGKILL" and end.killed_by_kernel:
        if 2 * (end.peak_memory_bytes or 0) < memory_of_machine():
            held = f"while it held {(end.peak_memory_bytes or 0) / 2**30:.2f} GiB of {memory_of_machine() / 2**30:.1f}"
            return _finding("machine", f"killed by the kernel for memory that others took, {held}", "", MACHINE_ADVICE)
        message = "killed by the kernel because the machine or its memory group ran out of memory"
        return _finding("out-of-host-memory", message, "", HOST_MEMORY_ADVICE)
    kind, advice = classify_exception(exception_in_log(log)) if end.signal == "SIGABRT" else ("other", "")
    late = " after it had written its result" if result is not None else ""
    message = f"ended by {end.signal}{late}"
    if kind == "other" and end.signal in FROM_OUTSIDE:
        return _finding("machine", message, _stack(log), MACHINE_ADVICE)
    if kind == "other":
        return _finding("signal", message, _stack(log), SIGNAL_ADVICE.get(str(end.signal), ""))
    return _finding(kind, f"{message}: {exception_in_log(log)[0]['message']}", _stack(log), advice)


def _finding(kind: str, message: str, traceback: str, advice: str) -> dict[str, Any]:
    lines = [part.strip() for part in message.splitlines() if part.strip()]
    # "backend='inductor' raised:" says nothing without the line after it.
    line = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    return {
        "kind": kind,
        "message": (" ".join(message.split()) if kind in ("user-error", "not-as-planned") else line)[:1000],
        "traceback": traceback.strip()[-_TAIL_CHARACTERS:],
        "advice": advice,
        "result": None,
    }


def _read_own(path: Path, identity: str) -> dict[str, Any] | None:
    """A file that the child of this request wrote, or None."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and value.get("id") == identity else None


def _stack(log: str) -> str:
    """What faulthandler wrote at the end of the log: all threads, most recent call first."""
    marks = ("Fatal Python error", "Current thread 0x", "Thread 0x")
    starts = [log.find(mark) for mark in marks if mark in log]
    return log[min(starts) :][:_TAIL_CHARACTERS] if starts else ""


def _last_traceback(log: str) -> str:
    mark = "Traceback (most recent call last)"
    return log[log.rindex(mark) :] if mark in log else ""
