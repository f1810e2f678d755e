"""What each job last ran under and left behind: the one place that says what is done, and what is stale.

An entry is written when a job has succeeded and removed when it starts. File times, Snakemake's own records and
the machine decide nothing, so a copy of the results is as good as the results.

    {"job": description, "modules": {module: hash of its code}, "started": time, "ended": time,
     "outputs": {path below the results folder: {"bytes", "modified", "changed", "inode", "sha256"}, null for a folder},
     "upstream": {job: digest of its outputs}}    of the jobs whose outputs this one read
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from greenlight.files import json_text, known_hashes, read_json, sha256_of, write_json
from greenlight.layout import Layout
from greenlight.provenance import digest, moment
from greenlight.run.job import Job

Entry = dict[str, Any]
_PLURAL = {"runs again": "run again", "is new": "are new", "is gone": "are gone"}


def read_entry(layout: Layout, name: str) -> Entry | None:
    """The entry of a job; None where there is none, or none that can be read."""
    try:
        entry = read_json(layout.entry(name))
        return entry if isinstance(entry["job"], dict) and isinstance(entry["outputs"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(layout: Layout, name: str) -> None:
    """Remove the entry of a job that starts, and with it the gate's pass: neither outlives new evidence."""
    layout.entry(name).unlink(missing_ok=True)
    layout.passed.unlink(missing_ok=True)


def enter(layout: Layout, name: str, job: Job, outputs: Iterable[Path], upstream: Iterable[str], **more: Any) -> None:
    """Write the entry of a job that has just succeeded.

    Args:
        outputs: what it left; a folder stands for the files below it, a compile cache for itself.
        upstream: names of the jobs whose outputs it read.
        more: `modules` and `started`.
    """
    found = {path.relative_to(layout.root).as_posix(): _state(path) for path in _files(outputs)}
    before = {other: outputs_digest(read_entry(layout, other)) for other in upstream}
    document = {"job": job, "outputs": found, "upstream": before, "ended": moment(), **more}
    write_json(layout.entry(name), document)


def seconds_of(entry: Entry | None) -> float | None:
    """How long a job took, its start included; None where the entry does not say."""
    try:
        started, ended = (datetime.fromisoformat((entry or {})[key]) for key in ("started", "ended"))
        return (ended - started).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def outputs_digest(entry: Entry | None) -> str | None:
    """One hash over the contents of what a job left; None where there is no entry."""
    if entry is None:
        return None
    return digest({path: state and state["sha256"] for path, state in entry["outputs"].items()})


def damaged(layout: Layout, entry: Entry) -> Iterator[str]:
    """What is no longer as the job left it, a sentence each.

    A file that the file system shows untouched is not read: its size, inode and times, that of its inode among them,
    which no tool sets back. Any other is read, so a new time with the same bytes does not count.
    """
    for name, state in entry["outputs"].items():
        path = layout.root / name
        try:
            found = os.stat(path)
        except OSError:
            yield f"{name} is gone"
            continue
        if state is None or all(state.get(name) == value for name, value in _untouched(found).items()):
            continue
        if found.st_size != state["bytes"] or _hash(path) != state["sha256"]:
            yield f"{name} is not what the job wrote"


def changes(entry: Entry, job: Job, modules: Mapping[str, str]) -> list[str]:
    """What has changed in a job's description since it last ran, a sentence each; empty where nothing has."""
    before, job = entry["job"], json.loads(json_text(job))
    if before == job:
        return []
    found = list(_differences(before, job, ()))
    if before.get("code") != job.get("code"):
        found = [line for line in found if not line.startswith("code ")]
        found += code_changes(entry.get("modules", {}), modules)
    return found or ["its description has changed"]


def _files(outputs: Iterable[Path]) -> Iterator[Path]:
    for path in outputs:
        if path.is_dir() and path.name != "cache":
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        else:
            yield path


def _state(path: Path) -> dict[str, Any] | None:
    if path.is_dir():
        return None
    found = path.stat()
    return {**_untouched(found), "sha256": sha256_of(path)}


def _untouched(found: os.stat_result) -> dict[str, int]:
    """By what a file that nobody wrote to, replaced or copied is known."""
    times = {"modified": found.st_mtime_ns, "changed": found.st_ctime_ns}
    return {"bytes": found.st_size, "inode": found.st_ino, **times}


def _hash(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return known_hashes.sha256(path)
    return None


def _differences(old: Any, new: Any, path: tuple[str, ...]) -> Iterator[str]:
    name = ".".join(path)
    if isinstance(old, dict) and isinstance(new, dict):
        if path == ("before",):
            yield from _upstream(old, new)
            return
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key, "absent"), new.get(key, "absent"), (*path, key))
    elif old != new:
        yield f"{name} was {_short(old)}, is {_short(new)}"


def _upstream(old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    again = sorted(key for key in new if key in old and old[key] != new[key])
    added, gone = sorted(set(new) - set(old)), sorted(set(old) - set(new))
    for names, words in ((again, "runs again"), (added, "is new"), (gone, "is gone")):
        if names:
            yield f"{listed(names)} {words if len(names) == 1 else _PLURAL[words]}"


def listed(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def code_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What differs between the contents of some code then and now, a sentence each."""
    return (
        [f"{_what(m)} has changed" for m in sorted(new) if m in old and old[m] != new[m]]
        + [f"{_what(m)} is run now" for m in sorted(set(new) - set(old))]
        + [f"{_what(m)} is no longer run" for m in sorted(set(old) - set(new))]
    )


def _what(name: str) -> str:
    is_file = "/" in name or name.endswith(".py")
    return name if name.startswith("package ") else f"{'file' if is_file else 'module'} {name}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
