"""Which code a job runs, known by its content wherever it lies: a version number proves nothing."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenlight.errors import NotAsPlanned
from greenlight.files import known_hashes
from greenlight.provenance import digest, import_closure

# Of a package with more files than this, `why` names the package only: what every job keeps stays small.
MOST_FILES = 300
_BYTECODE = (".pyc", ".pyo")


@dataclass(frozen=True)
class Code:
    """The code that a job runs.

    Attributes:
        modules: modules whose imports are followed.
        beside: folder of a plug-in that is a file; modules there are followed as ours are.
        packages: other people's packages, by the content of all their files.
        folders: (name, folder) of other people's code in a folder.
    """

    modules: tuple[str, ...]
    beside: str | None = None
    packages: tuple[str, ...] = ()
    folders: tuple[tuple[str, str], ...] = ()

    def contents(self, known: dict[str, dict[str, str]] | None = None) -> dict[str, str]:
        """Hash of every module, and of every file of others, by name.

        Args:
            known: contents of packages that were looked at just now, by name; those of others are added.
        """
        known = {} if known is None else known
        beside = Path(self.beside) if self.beside is not None else None
        found = import_closure(self.modules, beside=beside)
        for package in self.packages:
            if package not in known:
                known[package] = contents_of_package(package)
            found |= known[package]
        for name, folder in self.folders:
            found |= contents_of_folder(Path(folder).expanduser(), f"{name}: {folder}")
        return found

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "folders": [list(pair) for pair in self.folders]}

    @classmethod
    def of_plain(cls, value: dict[str, Any]) -> Code:
        """The reverse of `plain`."""
        return cls(
            tuple(value["modules"]),
            value["beside"],
            tuple(value["packages"]),
            tuple((name, folder) for name, folder in value["folders"]),
        )


def places_of(package: str) -> list[Path]:
    """Where `import package` finds its files in a trial: folders, or a file; empty where it is not installed.

    Nothing is imported. A trial looks in the working directory first, as `python -m` does.
    """
    top, *rest = package.split(".")
    with _as_in_a_trial(), contextlib.suppress(ImportError, ValueError):
        # Not importlib.util.find_spec: of a package that is imported already it gives that, wherever it came from.
        importlib.invalidate_caches()
        found_by = (finder.find_spec(top, None) for finder in sys.meta_path)
        spec = next((spec for spec in found_by if spec is not None), None)
        if spec is None:
            return []
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
        found = [Path(spec.origin)] if not folders and spec.origin else folders
        if rest:
            inner = [folder.joinpath(*rest) for folder in folders]
            found = [path for place in inner for path in (place, place.with_suffix(".py")) if path.exists()]
        return found
    return []


def code_run(packages: Iterable[str], folders: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Where other people's code lies here, and a hash over its contents: {"path", "hash"} by name."""
    found = {
        name: (", ".join(map(str, places_of(name))) or "not installed", contents_of_package(name)) for name in packages
    }
    found |= {name: (folder, contents_of_folder(Path(folder).expanduser(), name)) for name, folder in folders.items()}
    return {name: {"path": path, "hash": digest(contents)} for name, (path, contents) in found.items()}


def check_code_run(planned: Mapping[str, Mapping[str, str]], folders: Mapping[str, str]) -> None:
    """NotAsPlanned unless the code that this process would import, and has imported, is what its stage found.

    Args:
        planned: what `code_run` gave.
        folders: of the same.
    """
    found = code_run([name for name in planned if name not in folders], folders)
    for name, was in planned.items():
        if found[name] != was:
            raise NotAsPlanned(
                f"{name}: the trial would run {found[name]['path']} ({found[name]['hash']}), planned was {was['path']} "
                f"({was['hash']}); run again, and see PYTHONPATH"
            )
        if name not in folders and (file := _imported_elsewhere(name)):
            places = found[name]["path"]
            raise NotAsPlanned(f"{name} was imported from {file}, but planned was {places}; see PYTHONPATH")


def package_differences(judged: Mapping[str, str]) -> Iterator[str]:
    """Which packages are not here as they were when `code_run` gave their hashes, a sentence each."""
    for name, found in code_run(judged, {}).items():
        if (file := _imported_elsewhere(name)) or found["hash"] != judged[name]:
            yield f"the code of the package {name} in {file or found['path']} is not what was judged"


def _imported_elsewhere(package: str) -> str | None:
    """From which file this process has imported a package, where that is not where it would find it now."""
    top = package.split(".")[0]
    file: str | None = getattr(sys.modules.get(top), "__file__", None)
    return file if file and not any(Path(file).is_relative_to(place) for place in places_of(top)) else None


def portable(path: Path, package: str) -> str:
    """A path as another machine can read it: `package:name in it` if it is in a package, else by the working directory.

    `resolved` reads it.
    """
    for place in places_of(package):
        if path.is_relative_to(place):
            return f"{package}:{path.relative_to(place).as_posix()}"
    return os.path.relpath(path)


def resolved(text: str) -> Path:
    """The path that `portable` wrote, on this machine."""
    package, _, name = text.rpartition(":")
    return Path(places_of(package)[0], name) if package else Path(name)


@contextlib.contextmanager
def _as_in_a_trial() -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        sys.path[:] = before


def contents_of_package(package: str) -> dict[str, str]:
    """Hash of each file of a package by its name, such as `toto/model/attention.py`; see `contents_of_folder`."""
    places = places_of(package)
    label = package.replace(".", "/")
    found: dict[str, str] = {}
    for place in places:
        found |= contents_of_folder(place, label) if place.is_dir() else {f"{label}.py": _hash(place)}
    return found or {f"package {package}": "absent"}


def contents_of_folder(folder: Path, label: str) -> dict[str, str]:
    """Hash of each file below a folder by `label` and its name in it; one for all where there are many.

    Bytecode and hidden folders, such as `.git`, do not count. Links are followed.
    """
    found = {f"{label}/{name}": _hash(path) for name, path in sorted(_files(folder))}
    if len(found) <= MOST_FILES:
        return found
    digest = hashlib.sha256("\n".join(f"{name} {content}" for name, content in found.items()).encode())
    return {f"{label}/ ({len(found)} files)": digest.hexdigest()[:16]}


def copy_contents(folder: Path, to: Path) -> None:
    """Copy the files below a folder that `contents_of_folder` counts."""
    for name, path in _files(folder):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to / name)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """(name below the folder, path) of each file that counts."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [n for n in folders if n != "__pycache__" and not n.startswith(".")]
        below = place[len(str(folder)) + 1 :].replace(os.sep, "/")
        for name in files if real not in seen else ():
            path = f"{place}{os.sep}{name}"
            if not name.endswith(_BYTECODE) and not name.startswith(".") and os.path.isfile(path):
                yield f"{below}/{name}" if below else name, path
        seen.add(real)


def _hash(path: Path | str) -> str:
    return known_hashes.sha256(path)[:16]
