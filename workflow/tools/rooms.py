"""The rooms of the house, from the code itself: lines, and what each imports.

python -m tools.rooms       prints a table
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

WORKFLOW = Path(__file__).parents[1]
# A room may import itself and the rooms above it. Modules and folders of the gate are rooms; so is each other package.
FLOORS = [
    {"errors", "files", "target_settings"},
    {"layout", "own_graphs", "provenance", "torch_options", "variants"},
    {"process"},
    {"code", "data", "statistics", "trials"},
    {"weights"},
    {"random_weights"},
    {"api", "schema"},
    {"greenlight_forecasters"},
    {"plugins", "watch", "measures"},
    {"judgement"},
    {"settings"},
    {"report"},
    {"run"},
    {"tools"},
]


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


def arrows(file: Path) -> tuple[str | None, set[str]]:
    """(room of a file, other rooms that it imports)."""
    own = room_of(".".join(file.relative_to(WORKFLOW).with_suffix("").parts))
    return own, {room for name in imports(file) if (room := room_of(name)) not in (None, own, "__version__")}


def table() -> str:
    """A Markdown table of the rooms, floor by floor."""
    lines: Counter[str] = Counter()
    reads: defaultdict[str, set[str]] = defaultdict(set)
    for file in WORKFLOW.rglob("*.py"):
        own, others = arrows(file)
        if own is not None:
            lines[own] += len(file.read_text(encoding="utf-8").splitlines())
            reads[own] |= others
    rows = ["| room | lines | imports |", "|---|---|---|"]
    for floor in FLOORS:
        for room in sorted(floor & lines.keys()):
            rows.append(f"| `{room}` | {lines[room]:,} | {', '.join(sorted(reads[room])) or '–'} |")
    return "\n".join([*rows, f"| all | {sum(lines.values()):,} | |"])


if __name__ == "__main__":
    print(table())
