"""Torch's private parts are touched in a few rooms only, so that a new torch breaks few places."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PRIVATE = re.compile(r"torch\.(?!ops\.)([A-Za-z]\w*\.)*_(?!_)\w*(\.\w+)*")
WORKFLOW = Path(__file__).parents[2] / "workflow"
ROOMS = ("greenlight/watch", "greenlight_forecasters/engine")
OPTIONS = "greenlight/torch_options.py"  # which a user may set by name, in production too


def private_uses(source: str) -> list[int]:
    """Lines that import or name `torch._something`. `torch.__version__` is public; operators (`torch.ops`) are data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        if any(PRIVATE.fullmatch(name) for name in names):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("source", "private"),
    [
        ("import torch._dynamo", True),
        ("from torch import _inductor", True),
        ("from torch._inductor.utils import x", True),
        ("torch._dynamo.reset()", True),
        ("torch.compiler._cache.x", True),
        ("torch.__version__; torch.compiler.reset(); _torch._x", False),
    ],
)
def test_private_uses_are_seen(source, private):
    assert bool(private_uses(source)) == private


def test_only_these_rooms_touch_them():
    files = {str(file.relative_to(WORKFLOW)): file for file in WORKFLOW.rglob("*.py")}
    outside = {name: file for name, file in files.items() if not name.startswith((*ROOMS, OPTIONS))}
    assert len(outside) > 50
    found = {name: lines for name, file in outside.items() if (lines := private_uses(file.read_text()))}
    assert found == {}
    assert private_uses(files[OPTIONS].read_text())
    for room in ROOMS:
        assert any(private_uses(file.read_text()) for file in (WORKFLOW / room).glob("*.py"))
