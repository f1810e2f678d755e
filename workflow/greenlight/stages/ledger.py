"""What each job last ran under, so that `why` can say in words what has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greenlight.files import read_json, write_json
from greenlight.layout import Layout
from greenlight.provenance import import_closure, utc_now
from greenlight.stages.jobs import Job, modules_of


def ledger_file(layout: Layout, name: str) -> Path:
    """The entry of a job such as `predict/toto/static-default/0`."""
    return layout.root / "jobs" / f"{name}.json"


def enter(layout: Layout, name: str, job: Job) -> None:
    """Write the entry of a job that has just succeeded."""
    modules = import_closure(*modules_of(job))
    write_json(ledger_file(layout, name), {"job": job, "modules": modules, "done": utc_now()})


def changes(layout: Layout, name: str, job: Job) -> list[str]:
    """What has changed for a job since it last ran, a sentence each; empty where nothing has."""
    try:
        entry = read_json(ledger_file(layout, name))
        before, modules = entry["job"], entry["modules"]
    except FileNotFoundError:
        return ["it has not run yet"]
    except (ValueError, KeyError, TypeError):
        return ["its entry in the ledger is not readable"]
    if before == job:
        return []
    found = list(_differences(before, job, ()))
    if before.get("code") != job.get("code"):
        found = [line for line in found if not line.startswith("code ")]
        found += _module_changes(modules, import_closure(*modules_of(job)))
    return found or ["its description has changed"]


def _differences(old: Any, new: Any, path: tuple[str, ...]) -> Iterator[str]:
    name = ".".join(path)
    if isinstance(old, dict) and isinstance(new, dict):
        if path in (("before",), ("keys",)):
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
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"{', '.join(names[:3])}{more} {words}"


def _module_changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    return (
        [f"module {m} has changed" for m in sorted(new) if m in old and old[m] != new[m]]
        + [f"module {m} is imported now" for m in sorted(set(new) - set(old))]
        + [f"module {m} is no longer imported" for m in sorted(set(old) - set(new))]
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
