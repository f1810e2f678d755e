"""Reading a results folder that may be incomplete: what can't be read becomes a sentence, never a crash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenlight.files import read_json
from greenlight.judgement.seal import broken_seal

if TYPE_CHECKING:
    import pyarrow


@dataclass
class Reader:
    """Reads files below a results folder.

    Attributes:
        root: the results folder.
        problems: what could not be read, a sentence each, in the order of reading.
    """

    root: Path
    problems: list[str] = field(default_factory=list)

    def json(self, path: Path, *, sealed: bool = False, quiet: bool = False, key: str | None = None) -> dict[str, Any]:
        """A JSON object; empty, and a problem, where it is missing, broken, its seal or its key is another."""
        name = path.relative_to(self.root).as_posix()
        try:
            value = read_json(path)
        except FileNotFoundError:
            return {} if quiet else self._problem(f"{name} is missing")
        except (OSError, ValueError, RecursionError):
            return self._problem(f"{name} is not readable as JSON")
        if not isinstance(value, dict):
            return self._problem(f"{name} is not a JSON object")
        if sealed and (reason := broken_seal(value)):
            return self._problem(f"{name} can't be trusted: {reason}")
        if key is not None and value.get("key") != key:
            what = "is that of another run, results folder or configuration"
            return self._problem(f"{name} {what}; run the workflow again, which makes it anew")
        return value

    def table(self, path: Path, columns: list[str]) -> pyarrow.Table | None:
        """Columns of a parquet file; None, and a problem, where it is missing, broken or lacks one of them."""
        import pyarrow as pa
        import pyarrow.parquet

        name = path.relative_to(self.root).as_posix()
        try:
            return pyarrow.parquet.ParquetFile(path).read(columns=columns).select(columns)
        except FileNotFoundError:
            self._problem(f"{name} is missing")
        except (OSError, pa.ArrowException, KeyError, ValueError):
            self._problem(f"{name} is not readable as a table of {', '.join(columns[:4])} and so on")
        return None

    def _problem(self, sentence: str) -> dict[str, Any]:
        if sentence not in self.problems:
            self.problems.append(sentence)
        return {}


def at(value: Any, *path: str | int, kind: type | tuple[type, ...] = object, default: Any = None) -> Any:
    """What lies at a path of keys and indices in nested JSON, or the default where it or its type is absent."""
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return default
    return value if value is not None and isinstance(value, kind) else default


def number(value: Any, *path: str | int) -> float | None:
    """The finite number at a path, or None; `write_json` writes what is not finite as text."""
    found = at(value, *path)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    return float(found) if abs(float(found)) < float("inf") else None


def trials_of(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The trials of a record."""
    for trial in at(record, "trials", kind=list, default=[]):
        if isinstance(trial, dict):
            yield trial


def code_rows(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """(implementation and package, where it lies and its hash) of other people's code that forecasts were made with."""
    found: dict[tuple[str, str], None] = {}
    for record in records:
        job = at(record, "job", kind=dict, default={})
        for trial in trials_of(record) if job.get("stage") == "predict" else ():
            for name, run in at(trial, "code_run", kind=dict, default={}).items():
                told = f"{at(run, 'path', default='')}, SHA-256 of its files {at(run, 'hash', default='')}"
                told += f", git commit {commit}" if (commit := at(run, "commit", kind=str)) else ""
                found[f"Code of {job.get('model')} {job.get('implementation')}: {name}", told] = None
    yield from found
