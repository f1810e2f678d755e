"""The rooms of the house: imports run one way, and files stay readable."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

WORKFLOW = Path(__file__).parents[1] / "workflow"
FILES = sorted(WORKFLOW.rglob("*.py"))
# A room may import itself and the rooms above it. Modules and folders of the gate are rooms; so is each other package.
FLOORS = [
    {"errors", "files"},
    {"layout", "provenance", "variants"},
    {"code", "data", "statistics", "trials"},
    {"weights"},
    {"api", "schema"},
    {"greenlight_forecasters"},
    {"plugins", "watch", "measures"},
    {"judgement"},
    {"settings"},
    {"report"},
    {"run"},
    {"tools"},
]
MOST_LINES = 400


def room_of(module: str) -> str | None:
    """The room of a module by its dotted name; None for other people's packages."""
    parts = module.split(".")
    if parts[0] == "greenlight":
        return parts[1] if len(parts) > 1 else None
    return parts[0] if parts[0] in ("greenlight_forecasters", "tools") else None


def imports(file: Path) -> set[str]:
    """Dotted names of what a file imports, also in functions and for type checkers only."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_imports_run_one_way():
    floor_of = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    wrong = set()
    for file in FILES:
        own = room_of(".".join(file.relative_to(WORKFLOW).with_suffix("").parts))
        for other in {room_of(name) for name in imports(file)} - {None, own, "__version__"}:
            if own is not None and floor_of[other] >= floor_of[own]:
                wrong.add((own, other))
    assert not wrong


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(WORKFLOW)))
def test_a_file_can_be_read_in_one_go(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
