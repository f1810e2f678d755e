"""Copies of published packages, imported from any folder, several of one name beside each other in a process.

A copy gets a name of its own, and its own imports of the package's name lead to that name, wherever in the code they
stand: a copy of `toto` never runs a line of the installed `toto`, nor of another copy.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from greenlight.api import Implementation, UserError

# How many folders deep a copy of a package is looked for.
_DEEPEST = 3
_FOLDERS: dict[str, tuple[Path, str]] = {}
"""By a copy's own name, its folder and the name that the package has by itself."""


def import_copy(folder: Path, package: str, module: str) -> ModuleType:
    """A module of the copy of a package.

    Args:
        folder: the package itself, with its modules; nothing is written to it.
        package: the name by which the package's own code imports it, such as `toto`.
        module: name in the package, such as `model.backbone`.

    Raises:
        Exception: whatever its import raises.
    """
    place = folder.resolve()
    own = next((name for name, known in _FOLDERS.items() if known == (place, package)), None)
    if own is None:
        own = f"{package}_copy_{len(_FOLDERS) + 1}"
        _FOLDERS[own] = (place, package)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # before the one that reads any folder as it is
    return importlib.import_module(f"{own}.{module}")


def copies_of(
    code: Mapping[str, str], like: Implementation, name: str, files: Sequence[str], key: str
) -> dict[str, Implementation]:
    """An implementation of each copy that the settings name, but for its folder as `like`.

    Args:
        code: folders by the name of the implementation; the others as for `package_in`, which says what is raised.
    """
    return {
        own: replace(
            like,
            published=True,
            copies="upstream",
            folders={f"code.{own}": package_in(folder, name, files, f"{key}.{own}")},
        )
        for own, folder in code.items()
    }


def package_in(folder: str, name: str, files: Sequence[str], key: str) -> str:
    """Where a copy of a package lies in a folder: the folder itself, or the one of its name in it, or a few deeper.

    Args:
        files: what the package has, relative to it.
        key: the configuration key that names the folder, for the message.

    Raises:
        UserError: no place has all files, and the message names those that the likeliest one lacks; or several have.
    """
    base = Path(folder).expanduser()
    deeper = [place for depth in range(1, _DEEPEST + 1) for place in sorted(base.glob("*/" * depth + name))]
    absent = {
        place: [file for file in files if not (place / file).is_file()]
        for place in (base / name, base, *(place for place in deeper if place.is_dir()))
    }
    found = [place for place in absent if not absent[place]]
    if found and (found[0] in (base / name, base) or len(found) == 1):
        return str(found[0])
    if found:
        raise UserError(
            f"{key}: {folder} holds {len(found)} copies of the package {name!r}: {', '.join(map(str, found[:4]))}; "
            "expected one. Name the folder of the one that is meant"
        )
    place = min(absent, key=lambda place: len(absent[place]))
    raise UserError(
        f"{key}: {', '.join(str(place / file) for file in absent[place])} not found; expected a folder that is a copy "
        f"of the package {name!r}, or holds one"
    )


def getattr_of_copy(folder: Path, package: str, module: str, name: str, key: str) -> Any:
    """What a module of a copy calls by a name; UserError names the file, and what it lacks."""
    place = folder / f"{module.replace('.', '/')}.py"
    try:
        found = import_copy(folder, package, module)
    except Exception as error:
        raise UserError(
            f"{key}: {place} can't be imported ({type(error).__name__}: {error}); install what it needs, or mend it"
        ) from error
    if not hasattr(found, name):
        raise UserError(f"{key}: {place} has no {name}; expected a copy of the published code that has it")
    return getattr(found, name)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of copies."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        own, *parts = name.split(".")
        if own not in _FOLDERS:
            return None
        folder, package = _FOLDERS[own]
        base = folder.joinpath(*parts)
        if base.is_dir():
            file = base / "__init__.py"
            loader = _Loader(name, file, package, own) if file.is_file() else None
            spec = ModuleSpec(name, loader, origin=str(file) if loader else None, is_package=True)
            spec.submodule_search_locations = [str(base)]
            spec.has_location = loader is not None
            return spec
        file = base.with_suffix(".py")
        if file.is_file():
            return importlib.util.spec_from_file_location(name, file, loader=_Loader(name, file, package, own))
        return None


class _Loader(importlib.abc.SourceLoader):
    """Reads a file and renames its imports; it has no times of files to tell, so no bytecode is kept."""

    def __init__(self, name: str, file: Path, package: str, own: str) -> None:
        self._name, self._file, self._package, self._own = name, file, package, own

    def get_filename(self, fullname: str) -> str:
        return str(self._file)

    def get_data(self, path: str | bytes) -> bytes:
        return Path(str(path)).read_bytes()

    def _parts(self) -> frozenset[str]:
        """What the package is made of, but for what is called as it is, or as a module of Python's own."""
        folder, _ = _FOLDERS[self._own]
        names = {path.stem for path in folder.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
        return frozenset(names - {self._package} - sys.stdlib_module_names)

    def source_to_code(self, data, path, *, _optimize=-1):  # type: ignore[no-untyped-def]
        tree = _Renamed(self._package, self._own, self._parts()).visit(ast.parse(data, filename=str(path)))
        return compile(ast.fix_missing_locations(tree), str(path), "exec", dont_inherit=True, optimize=_optimize)


class _Renamed(ast.NodeTransformer):
    """Imports of a package by its name become imports of a copy by its own name, bound to the same names as before.

    Imports of its parts as if they stood alone, such as `model.attention` in the first versions of `toto`, whose folder
    was put on sys.path, become imports of the copy's parts.
    """

    def __init__(self, package: str, own: str, parts: frozenset[str]) -> None:
        self._package, self._own, self._parts = package, own, parts

    def _new(self, name: str) -> str:
        top, dot, rest = name.partition(".")
        if top == self._package:
            return f"{self._own}{dot}{rest}"
        return f"{self._own}.{name}" if top in self._parts else name

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if not node.level and node.module:
            node.module = self._new(node.module)
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.AST]:
        """`import toto.model` binds `toto`, so the copy's own name, or its part's, is bound to that too."""
        added: list[ast.AST] = []
        for alias in node.names:
            new = self._new(alias.name)
            if new != alias.name and alias.asname is None:
                top = alias.name.partition(".")[0]
                binding = ast.Import(names=[ast.alias(name=self._new(top), asname=top)])
                added.append(ast.copy_location(binding, node))
            alias.name = new
        return [node, *added]
