"""The code fingerprint: what makes a stage stale, and what does not."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import greenlight
from greenlight import provenance
from greenlight.plugins import Reference, model_of, reference_of
from greenlight.run.modules import code_of
from greenlight.run.table import ROWS

WORKFLOW = Path(greenlight.__file__).parents[1]
FIRST_PARTY = [file for name in provenance.FIRST_PARTY for file in (WORKFLOW / name).rglob("*.py")]


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
    folder = tmp_path / "greenlight"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def fingerprint(package):
    return provenance.import_closure(["greenlight.stage"], root=package.parent)


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


def test_a_relative_import_is_followed(package):
    edit(package / "stage.py", "from greenlight import tool", "from . import tool")
    assert "greenlight.deep" in fingerprint(package)


@pytest.mark.parametrize("stage", sorted(ROWS))
def test_every_stage_names_modules_that_exist(stage):
    closure = provenance.import_closure(ROWS[stage].modules)
    assert set(ROWS[stage].modules) <= set(closure)


def test_models_do_not_depend_on_each_other():
    plugin = Reference.parse(reference_of("toto"), "toto")
    toto = code_of(ROWS["predict"].modules, plugin, model_of("toto").implementations.values(), ()).contents()
    assert "greenlight_forecasters.toto.static.engine" in toto
    assert not any(name.startswith("greenlight_forecasters.kronos") for name in toto)


# Modules that import code by a name that stands elsewhere: its content is in the descriptions of the jobs that run it
# (`run.modules.Code`).
DYNAMIC_IMPORTS = (
    "greenlight.plugins",
    "greenlight.code",
    "greenlight_forecasters.copies",
    "greenlight_forecasters.bundle",  # in production only: no stage imports it
    "greenlight.random_weights",  # what makes a checkpoint, which is then known by its content
    "greenlight.torch_options",  # where torch lies, whose text says which options there are
    "greenlight.trials.begin",  # of a trial, whose module the stage's row names
    "greenlight.watch.hooks",  # looks on while others import, and imports nothing itself
)
LOADERS = ("importlib", "runpy", "imp", "pkgutil", "zipimport", "__import__", "exec", "eval")
LOADING = ("import_module", "run_module", "run_path", "exec_module", "load_module")
HARMLESS = ("importlib.metadata", "importlib.resources")


def dynamic_imports(source):
    """Lines that import, or run, code by a name that no fingerprint sees."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names if not node.level]
        elif isinstance(node, ast.Name):
            names = [node.id] if node.id in ("__import__", "exec", "eval") else []
        elif isinstance(node, ast.Attribute):
            names = ["importlib"] if node.attr in LOADING else []
        found += [
            f"{node.lineno} {name}"
            for name in names
            if name.split(".")[0] in LOADERS and not any(name == h or name.startswith(f"{h}.") for h in HARMLESS)
        ]
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import importlib",
        "import importlib.util",
        "from importlib import import_module",
        "from importlib.util import spec_from_file_location",
        "import runpy",
        "def load(name):\n    return __import__(name)",
        "loader.exec_module(module)",
        "exec(text)",
        "import pkgutil",
    ],
)
def test_a_dynamic_import_is_seen(source):
    assert dynamic_imports(source)


@pytest.mark.parametrize("source", ["import importlib.metadata", "from importlib import resources", "model.eval()"])
def test_what_loads_no_code_is_not(source):
    assert not dynamic_imports(source)


def test_no_dynamic_imports_hide_from_the_fingerprint():
    """importlib and its like would run code that no fingerprint sees; where it must be, it is declared."""
    declared = {WORKFLOW.joinpath(*name.split(".")).with_suffix(".py") for name in DYNAMIC_IMPORTS}
    assert all(dynamic_imports(file.read_text(encoding="utf-8")) for file in declared)
    found = {
        str(file.relative_to(WORKFLOW)): dynamic_imports(file.read_text(encoding="utf-8"))
        for file in set(FIRST_PARTY) - declared
    }
    assert not {file: lines for file, lines in found.items() if lines}


@pytest.mark.parametrize("stage", sorted(ROWS))
def test_what_a_stage_starts_by_name_is_declared(stage):
    """`python -m <name>` starts code that no import shows, so the table of stages must."""
    closure = provenance.import_closure(ROWS[stage].modules)
    for module in closure:
        place = WORKFLOW.joinpath(*module.split("."))
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        texts = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
        pattern = re.compile(r"greenlight(_forecasters)?(\.\w+)+")
        named = {text for text in texts if isinstance(text, str) and pattern.fullmatch(text)}
        started = {name for name in named if WORKFLOW.joinpath(*name.split(".")).with_suffix(".py").is_file()}
        started -= set(DYNAMIC_IMPORTS)  # named to be allowed, not started
        assert started <= set(closure), f"{module} starts {started - set(closure)}"


def test_naming_a_type_is_no_dependency(package):
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from greenlight.other import number\n"
    edit(package / "deep.py", "number = 1", f"{text}number = 1")
    assert "greenlight.other" not in fingerprint(package)


PARSE = """
import sys
from pathlib import Path
from greenlight import provenance
provenance.load_parsed_code(Path(sys.argv[1]))
print(provenance.import_closure(["greenlight.stage"], root=Path(sys.argv[2]))["greenlight.deep"])
provenance.save_parsed_code(Path(sys.argv[1]))
"""


def test_what_was_parsed_before_is_kept_until_the_code_changes(package, tmp_path):
    kept = tmp_path / "code.json"

    def parse():
        command = [sys.executable, "-c", PARSE, str(kept), str(package.parent)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    first = parse()
    edit(kept, first, "kept")
    assert parse() == "kept"
    edit(package / "deep.py", "number = 1", "number = 3")
    assert parse() not in ("kept", first)
    kept.write_text("not JSON")
    assert parse() not in ("kept", first)


def test_digest_sees_swapped_values():
    assert provenance.digest({"a": 1, "b": 5}) != provenance.digest({"a": 5, "b": 1})
