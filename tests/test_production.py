"""What production gets: engines that import nothing of the gate's own tools, and a package that asks for none."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OF_THE_GATE = {"snakemake", "pandas", "matplotlib", "pyarrow", "jinja2", "scipy", "psutil", "rich"}
LOADED = """
import sys
import {module}
print(*sorted({{name.split(".")[0] for name in sys.modules}}))
"""


@pytest.mark.parametrize("module", ["toto.static", "kronos.static", "kronos.upstream"])
def test_an_engine_imports_nothing_of_the_gate_s_own_tools(module):
    command = [sys.executable, "-c", LOADED.format(module=f"greenlight_forecasters.{module}")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout.split()
    assert not OF_THE_GATE & set(done.stdout.split())


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0].lower() for requirement in requirements}


def test_the_package_asks_for_what_an_engine_imports_and_gate_for_the_rest():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert names(project["dependencies"]) == {"torch", "numpy", "safetensors", "pydantic", "huggingface_hub"}
    assert names(project["optional-dependencies"]["gate"]) >= OF_THE_GATE
