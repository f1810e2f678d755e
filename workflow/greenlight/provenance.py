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
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "greenlight"
_ROOT = Path(__file__).resolve().parent

# Packages whose version shapes a stage's result. A change makes the stages that name them stale.
DATA_PACKAGES = ("numpy", "pandas", "pyarrow")
TORCH_PACKAGES = ("torch", "numpy", "safetensors")
MODEL_PACKAGES = {
    "toto": ("toto-ts", "gluonts", "rotary-embedding-torch", "einops"),
    "kronos": (),
}
# Modules that import code from a folder that the configuration names. No fingerprint sees that code, so its content
# stands in the descriptions of the jobs that run it (`published_code` in stages.jobs).
DYNAMIC_IMPORTS = ("greenlight.models.kronos.published",)
JUDGE_PACKAGES = ("numpy", "scipy", "pyarrow")
REPORT_PACKAGES = ("jinja2", "matplotlib")


@cache
def _module_file(module: str, root: Path) -> Path | None:
    """File of a first-party module, or None where the name is an attribute or another package's."""
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    base = root.joinpath(*parts[1:])
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


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


@cache
def _parsed(file: Path, module: str, modified: int) -> tuple[str, tuple[str, ...]]:
    """(hash of the code without comments, docstrings and layout; names that it imports) of one file."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    except SyntaxError:
        return hashlib.sha256(file.read_bytes()).hexdigest(), ()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                origin = ".".join([*parents, origin] if origin else parents)
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    code = ast.dump(_WithoutDocstrings().visit(tree))
    return hashlib.sha256(code.encode()).hexdigest(), tuple(n for n in names if n.split(".")[0] == PACKAGE)


def import_closure(modules: Iterable[str], without: Sequence[str] = (), root: Path = _ROOT) -> dict[str, str]:
    """Every first-party module that `modules` import, directly or not, with the hash of its code.

    Imports inside functions count; comments, docstrings and layout do not. A module under one of the packages in
    `without` is left out, together with what only it imports: a stage of one model does not depend on another.
    """
    found: dict[str, str] = {}
    required = frozenset(modules)
    waiting = list(required)
    while waiting:
        module = waiting.pop()
        if module in found or any(module == name or module.startswith(f"{name}.") for name in without):
            continue
        file = _module_file(module, root)
        if file is None:
            if module in required:
                raise ModuleNotFoundError(f"there is no module {module}")
            continue
        found[module], imported = _parsed(file, module, file.stat().st_mtime_ns)
        parent = module.rpartition(".")[0]
        waiting += [*imported, *([parent] if parent else [])]
    return dict(sorted(found.items()))


def code_fingerprint(modules: Iterable[str], without: Sequence[str] = ()) -> str:
    """One hash over the import closure of `modules`; see `import_closure`."""
    return digest(import_closure(modules, without))


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, shortened to 16 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digests(files: Iterable[Path]) -> str:
    """One hash over the names and contents of files, absent ones included as absent."""
    return digest({p.name: _content_hash(p) if p.is_file() else None for p in map(Path, files)})


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


def user_name() -> str:
    """Who runs this: the GREENLIGHT_USER variable, git's user name, or the login name."""
    if os.environ.get("GREENLIGHT_USER"):
        return os.environ["GREENLIGHT_USER"]
    try:
        return _git(Path.cwd(), "config", "user.name")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("USER", "unknown")
