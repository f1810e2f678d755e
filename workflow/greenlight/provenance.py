"""Where a result comes from: code fingerprints, package versions, the machine, the git commit.

Nothing here imports torch: the Snakefile calls it at every parse.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from greenlight.files import sha256_of, write_json

FIRST_PARTY = ("greenlight", "greenlight_forecasters")
_ROOT = Path(__file__).resolve().parents[1]  # the folder that holds the packages

# Packages whose version shapes a stage's result. A change makes the stages that name them stale.
DATA_PACKAGES = ("numpy", "pandas", "pyarrow")
TORCH_PACKAGES = ("torch", "numpy", "safetensors")
JUDGE_PACKAGES = ("numpy", "scipy", "pyarrow")
REPORT_PACKAGES = ("jinja2", "matplotlib")


@cache
def _module_file(module: str, root: Path, beside: Path | None) -> tuple[Path, str] | None:
    """(file, name that is shown) of a first-party module; None if the name is an attribute or another package's.

    A module beside a plug-in's file is shown by its file's name there.
    """
    parts = module.split(".")
    folder = root if parts[0] in FIRST_PARTY else beside
    if folder is None:
        return None
    base = folder.joinpath(*parts)
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate, module if folder is root else candidate.relative_to(folder).as_posix()
    return None


class _WithoutTyping(ast.NodeTransformer):
    """Drops what only type checkers see, so that naming a type is no dependency."""

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test).endswith("TYPE_CHECKING") else node


class _WithoutDocstrings(ast.NodeTransformer):
    """Drops docstrings, so that rewording one makes nothing stale."""

    def _strip(self, node: Any) -> Any:
        self.generic_visit(node)
        body = node.body
        first = body[0].value if body and isinstance(body[0], ast.Expr) else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            node.body = body[1:] or [ast.Pass()]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _strip


Parsed = tuple[str, tuple[str, ...]]


class _ParsedCode:
    """What was found in files before, by their content: parsing all of them takes a second."""

    def __init__(self) -> None:
        self.known: dict[str, Parsed] = {}
        self.used: dict[str, Parsed] = {}

    def find(self, file: Path, module: str) -> Parsed:
        """The parsed file, from what is known where its bytes and name are the same."""
        content = file.read_bytes()
        key = f"{module} {file.name} {hashlib.sha256(content).hexdigest()}"
        if key not in self.used:
            self.used[key] = self.known.get(key) or _parse(content, file, module)
        return self.used[key]


_parsed_code = _ParsedCode()


def load_parsed_code(path: Path) -> None:
    """Use what `save_parsed_code` left, unless other code or another Python made it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["maker"] == _maker():
            _parsed_code.known = {key: (code, tuple(names)) for key, (code, names) in document["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def save_parsed_code(path: Path) -> None:
    """Keep what was found in files, for the next process; nothing is written where nothing is new."""
    if any(key not in _parsed_code.known for key in _parsed_code.used):
        write_json(path, {"maker": _maker(), "files": _parsed_code.used})


def _maker() -> str:
    return f"{sys.version} {_content_hash(Path(__file__))}"


@cache
def _parsed(file: Path, module: str, modified: int) -> Parsed:
    return _parsed_code.find(file, module)


def _parse(content: bytes, file: Path, module: str) -> Parsed:
    """(hash of the code without comments, docstrings and layout; names that it imports) of one file."""
    try:
        tree = ast.parse(content, filename=str(file))
    except (SyntaxError, ValueError):
        return hashlib.sha256(content).hexdigest(), ()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    names: list[str] = []
    for node in ast.walk(_WithoutTyping().visit(tree)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                origin = ".".join([*parents, origin] if origin else parents)
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    code = ast.dump(_WithoutDocstrings().visit(tree))
    return hashlib.sha256(code.encode()).hexdigest(), tuple(names)


def import_closure(modules: Iterable[str], root: Path = _ROOT, beside: Path | None = None) -> dict[str, str]:
    """Every first-party module that `modules` import, directly or not, with the hash of its code.

    Imports inside functions count; comments, docstrings and layout do not.

    Args:
        root: the folder of the first-party packages.
        beside: the folder of a plug-in that is a file; modules there count too, by the names of their files.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    required = frozenset(modules)
    waiting = list(required)
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        place = _module_file(module, root, beside)
        if place is None:
            if module in required:
                raise ModuleNotFoundError(f"there is no module {module}")
            continue
        file, shown = place
        found[shown], imported = _parsed(file, module, file.stat().st_mtime_ns)
        parent = module.rpartition(".")[0]
        waiting += [*imported, *([parent] if parent else [])]
    return dict(sorted(found.items()))


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, shortened to 16 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tree_digest(folder: Path, pattern: str = "*") -> str:
    """One hash over the names and contents of the files of some names below a folder, which need not exist."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file() and not path.name.startswith("."))
    return digest({path.relative_to(folder).as_posix(): sha256_of(path) for path in files})


def _content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def package_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of packages; a package that is not installed reads `absent`."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


@cache
def compiler() -> str:
    """Name and content hash of the C++ compiler that Inductor takes on a CPU: CXX, or g++; `absent` if there is none.

    A compile that failed for want of one is stale once there is one. Source: torch._inductor.config.cpp.cxx.
    """
    name = os.environ.get("CXX") or "g++"
    found = shutil.which(name)
    return f"{Path(name).name} {_content_hash(Path(found))[:16]}" if found else f"{Path(name).name} absent"


@cache
def processor_name() -> str:
    """The processor's own name, as the operating system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_commit(folder: Path) -> str:
    """Commit of the checkout around `folder`, `-dirty` where tracked files are changed, or `no-git`."""
    try:
        commit = _git(folder, "rev-parse", "--short=10", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "no-git"
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


def utc_now() -> str:
    """The time now, such as 2026-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(seconds_ago: float = 0.0) -> str:
    """The time now, or some seconds ago, to the millisecond, such as 2026-01-31T12:00:00.000Z."""
    then = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def user_name() -> str:
    """Who runs this: the GREENLIGHT_USER variable, git's user name, or the login name."""
    if os.environ.get("GREENLIGHT_USER"):
        return os.environ["GREENLIGHT_USER"]
    try:
        return _git(Path.cwd(), "config", "user.name")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("USER", "unknown")
