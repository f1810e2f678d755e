"""What is kept of a run, and reading it again."""

from __future__ import annotations

import itertools
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greenlight.files import sha256_of
from greenlight.judgement.seal import write_sealed
from greenlight.layout import Layout
from greenlight.report.reading import Reader, at
from greenlight.report.variants import gate_word

LIMIT_BYTES = 20 * 1024 * 1024
FORECAST_BYTES = 4 * 1024 * 1024
MANIFEST = "archive.json"
_PARTIAL = ".partial"
_SEALED = ("verdict.json",)
_READ = ("verdict.json", "expected.json")
# What a page of the history shows or links to.
_CHECKED = (*_READ, "report.md", "report.html")


def archive_run(layout: Layout, when: str, key: str, commit: str, limit: int = LIMIT_BYTES) -> Path:
    """Copy the report and its evidence to a folder of their own; an archived run is never overwritten.

    The copy is built under a temporary name and renamed, so that an interrupted one is never taken for a run.
    Everything keeps its place relative to the results folder, so links of the report work in the copy.

    Args:
        when: UTC, such as 2026-01-31T12:00:00Z.
        key: key of the job, kept in the manifest.
        commit: what the verdict was made at, where the verdict does not say.
        limit: bytes in all; what does not fit is named in the manifest.

    Returns:
        The folder, archive/<time>-<commit>-<verdict>, with `-2` and so on where that exists.
    """
    layout.archive.mkdir(parents=True, exist_ok=True)
    for left in layout.archive.glob(f".*{_PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)
    verdict = Reader(layout.root).json(layout.verdict, sealed=True)
    commit = at(verdict, "provenance", "commit", kind=str, default=commit)
    word = gate_word(verdict) if verdict else "unknown"
    temporary = layout.archive / f".{secrets.token_hex(8)}{_PARTIAL}"
    temporary.mkdir()
    kept, left_out = _copy(layout, temporary, limit)
    stem = "-".join([re.sub(r"[-:]", "", when), re.sub(r"[^A-Za-z0-9.-]+", "-", commit), word])
    target = _free(layout.archive / stem)
    manifest = {"format": 1, "folder": target.name, "time": when, "commit": commit, "verdict": word, "key": key}
    write_sealed(temporary / MANIFEST, {**manifest, "files": kept, "left_out": left_out})
    return temporary.rename(target)


def _free(target: Path) -> Path:
    """A folder that is not there yet: the target, or it with a number."""
    others = (target.with_name(f"{target.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([target], others) if not path.exists())


def _copy(layout: Layout, target: Path, limit: int) -> tuple[dict[str, str], list[str]]:
    """Copy in the order of importance up to the limit; (hash by file, files left out)."""
    kept: dict[str, str] = {}
    left_out: list[str] = []
    forecasts = sorted(layout.root.glob("forecasts/model=*/variant=*/symbol=*/part-0.parquet"))
    small = sum(path.stat().st_size for path in forecasts) <= FORECAST_BYTES
    total = 0
    for path in [*_evidence(layout), *(forecasts if small else ())]:
        name, size = path.relative_to(layout.root).as_posix(), path.stat().st_size
        if total + size > limit:
            left_out.append(name)
            continue
        total += size
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        kept[name] = sha256_of(copy)
    return kept, left_out if small else [*left_out, "forecasts"]


def _evidence(layout: Layout) -> Iterator[Path]:
    """Files to keep, the most important first: what was decided, what it rests on, what it was made from."""
    files = (layout.verdict, layout.expected, layout.decision, layout.deploy, layout.difference, layout.report)
    yield from (path for path in (*files, layout.report_page, *layout.notices) if path.is_file())
    for pattern in (
        "figures/*.svg",
        "weights/model=*/record.json",
        "*/model=*/variant=*/record.json",
        "predict/model=*/variant=*/shard=*/record.json",
        "time/model=*/variant=*/pairs.parquet",
        "scores/model=*/variant=*/windows.parquet",
        "data/symbol=*/report.json",
    ):
        yield from sorted(path for path in layout.root.glob(pattern) if path.is_file())


def read_archived(folder: Path) -> dict[str, dict[str, Any]]:
    """{"manifest", "verdict", "expected"} of an archived run; ValueError says what is wrong with it."""
    manifest = _object(folder / MANIFEST, sealed=True)
    if manifest.get("format") != 1:
        raise ValueError(f"{MANIFEST} has the schema {manifest.get('format')!r}, expected 1: another version made it")
    if (name := manifest.get("folder", folder.name)) != folder.name:
        raise ValueError(
            f"it was archived as {name}: this is a copy, or was renamed. Delete it, or give it its name back"
        )
    files = at(manifest, "files", kind=dict, default={})
    absent = [name for name in files if not (folder / name).is_file()]
    if absent:
        raise ValueError(f"{absent[0]} is missing" + (f", and {len(absent) - 1} more" if len(absent) > 1 else ""))
    for name in _CHECKED:
        if name in files and sha256_of(folder / name) != files[name]:
            raise ValueError(f"{name} was changed after it was archived")
    found = {"manifest": manifest}
    for name in _READ:
        found[name.removesuffix(".json")] = _object(folder / name, sealed=name in _SEALED)
    return found


def _object(path: Path, *, sealed: bool) -> dict[str, Any]:
    reader = Reader(path.parent)
    value = reader.json(path, sealed=sealed)
    if reader.problems:
        raise ValueError(reader.problems[0])
    return value
