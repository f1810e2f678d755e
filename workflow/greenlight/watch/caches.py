"""Private compile caches: one folder that holds all that torch.compile leaves on disk.

The temporary directory belongs to it: Inductor keeps its precompiled C++ headers there, outside
TORCHINDUCTOR_CACHE_DIR, and a warm start without them builds them anew although every cache lookup is a hit
(measured on 2 CPU cores, torch 2.13, two small graphs: 2.2 s with, 7.9 s without, 19 s wholly cold). A
folder may be copied or moved as a whole, under the same user name. The header is about 150 MB on a CPU.
Switching it off (TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS=0) changes the cache key, so that both sides must,
and each C++ kernel then takes longer to compile (eight small kernels: 56 s against 28 s). Static models on a CPU need
none, because a graph's kernels are one file (`kernels`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from greenlight.files import sha256_of

# Variable -> sub-folder. They count only if set before Python starts.
CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
"""What a process that starts from a copy of a cache sets, and the sub-folders that they name."""
_PARTS = {**CACHES, "TMPDIR": "tmp"}


def cache_environment(folder: Path) -> dict[str, str]:
    """The environment of a trial whose compile cache is `folder`; the sub-folders are made.

    A deploy that starts from this cache must set the same three variables.
    """
    environment = {}
    for name, part in _PARTS.items():
        path = Path(folder).absolute() / part
        path.mkdir(parents=True, exist_ok=True)
        environment[name] = str(path)
    return environment


def clear_cache(folder: Path) -> dict[str, int]:
    """Empty a cache folder; returns {"files_removed", "bytes_removed"}.

    Only the sub-folders that `cache_environment` makes are removed, so that a wrong path loses nothing else.
    """
    size = cache_size(folder)
    for part in _PARTS.values():
        path = Path(folder) / part
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
    return {"files_removed": size["files"], "bytes_removed": size["bytes"]}


def cache_size(folder: Path) -> dict[str, int]:
    """{"files", "bytes"} of a cache folder; zeros where it does not exist."""
    sizes = [path.stat().st_size for path in _files(folder)]
    return {"files": len(sizes), "bytes": sum(sizes)}


def copy_cache(source: Path, destination: Path) -> dict[str, int]:
    """Copy a cache folder, in place of what was at `destination`; returns `cache_size` of the copy.

    Precompiled headers never change once written and are hard-linked where the file system allows it. An
    interrupted copy leaves `destination` without a cache, never with half of one.
    """
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    clear_cache(destination)
    for part in _PARTS.values():
        if not (Path(source) / part).is_dir():
            continue
        unfinished = Path(tempfile.mkdtemp(prefix=f".{part}.", suffix=".partial", dir=destination))
        try:
            shutil.copytree(Path(source) / part, unfinished / part, symlinks=True, copy_function=_copy_or_link)
            (unfinished / part).replace(destination / part)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return cache_size(destination)


def cache_contents(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a cache by its path below the folder, without temporary files and headers."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(_files(Path(folder)))
        if path.relative_to(folder).parts[0] in CACHES.values()
    }


def cache_digest(folder: Path) -> str:
    """One hash over all that a cache holds, temporary files, headers and links included."""
    found = hashlib.sha256()
    for part in _PARTS.values():
        for path in sorted((Path(folder) / part).rglob("*")):
            if path.is_symlink():
                content = f"link {os.readlink(path)}"
            elif path.is_file():
                content = sha256_of(path)
            else:
                continue
            found.update(f"{path.relative_to(folder).as_posix()}\0{content}\0".encode(errors="surrogateescape"))
    return found.hexdigest()


def join_caches(sources: Iterable[Path], destination: Path) -> None:
    """Copy the files of several caches into one, for a process that runs several models.

    Names are hashes of the contents, or of what they were made from; of two files of one name the first is kept.
    """
    for part in CACHES.values():
        (destination / part).mkdir(parents=True, exist_ok=True)
    for source in sources:
        for name in cache_contents(source):
            target = destination / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, target)


def _files(folder: Path) -> Iterator[Path]:
    for part in _PARTS.values():
        path = Path(folder) / part
        if path.is_dir() and not path.is_symlink():
            yield from (one for one in path.rglob("*") if one.is_file() and not one.is_symlink())


def _copy_or_link(source: str, destination: str) -> str:
    if source.endswith((".gch", ".pch")):
        try:
            os.link(source, destination)
            return destination
        except OSError:  # another file system, or one without hard links
            pass
    return shutil.copy2(source, destination)
