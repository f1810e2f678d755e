"""The code fingerprint: what makes a stage stale, and what does not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import greenlight
from greenlight import provenance
from greenlight.stages.jobs import STAGE_MODULES

PACKAGE = Path(greenlight.__file__).parent


@pytest.fixture
def package(tmp_path):
    """A little package in which `stage` imports `tool` in a function, and `tool` imports `deep`."""
    files = {
        "__init__.py": "",
        "stage.py": "def run():\n    from greenlight import tool\n    return tool.value()\n",
        "tool.py": '"""A tool."""\nfrom greenlight.deep import number\n\ndef value():\n    return number\n',
        "deep.py": "number = 1\n",
        "other.py": "number = 2\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def fingerprint(package, without=()):
    return provenance.import_closure(["greenlight.stage"], without, root=package)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_closure_follows_imports_inside_functions(package):
    assert set(fingerprint(package)) == {"greenlight", "greenlight.stage", "greenlight.tool", "greenlight.deep"}


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("deep.py", "number = 1", "number = 2", True),
        ("deep.py", "number = 1", "# why\nnumber   =  1", False),
        ("tool.py", '"""A tool."""', '"""Another word for it."""', False),
        ("tool.py", "return number", "return number + 1", True),
        ("other.py", "number = 2", "number = 3", False),
    ],
)
def test_only_code_that_runs_counts(package, file, old, new, changes):
    before = fingerprint(package)
    edit(package / file, old, new)
    assert (fingerprint(package) != before) is changes


def test_without_leaves_out_what_only_it_imports(package):
    assert set(fingerprint(package, without=["greenlight.tool"])) == {"greenlight", "greenlight.stage"}


def test_a_relative_import_is_followed(package):
    edit(package / "stage.py", "from greenlight import tool", "from . import tool")
    assert "greenlight.deep" in fingerprint(package)


@pytest.mark.parametrize("stage", sorted(STAGE_MODULES))
def test_every_stage_names_modules_that_exist(stage):
    closure = provenance.import_closure(STAGE_MODULES[stage])
    assert set(STAGE_MODULES[stage]) <= set(closure)


def test_models_do_not_depend_on_each_other():
    modules = STAGE_MODULES["predict"]
    toto = provenance.import_closure(modules, without=["greenlight.models.kronos"])
    assert any(name.startswith("greenlight.models.toto") for name in toto)
    assert not any(name.startswith("greenlight.models.kronos") for name in toto)


def test_no_dynamic_imports_hide_from_the_fingerprint():
    """importlib and __import__ would run code that no fingerprint sees; importlib.metadata reads versions only."""
    found = []
    declared = [PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py") for name in provenance.DYNAMIC_IMPORTS]
    assert all(file.is_file() for file in declared)
    for file in set(PACKAGE.rglob("*.py")) - set(declared):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Name) and node.id == "__import__":
                names = [node.id]
            elif isinstance(node, ast.Attribute) and node.attr in ("import_module", "run_module", "run_path"):
                names = ["importlib"]
            for name in names:
                first = name.split(".")[0]
                allowed = name in ("importlib.metadata", "importlib.resources")
                if first in ("importlib", "runpy", "imp", "__import__") and not allowed:
                    found.append(f"{file.relative_to(PACKAGE)}:{node.lineno} {name}")
    assert not found


def test_digest_sees_swapped_values():
    assert provenance.digest({"a": 1, "b": 5}) != provenance.digest({"a": 5, "b": 1})
