"""What must start quickly: planning and the stages leave torch to the trials, planning SciPy to the stages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from greenlight.run.table import ROWS

PLANNING = "greenlight.run.planning"
MODULES = [PLANNING, *(row.command for row in ROWS.values())]


@pytest.mark.parametrize("module", MODULES)
def test_starts_without_what_takes_long_to_import(module):
    """A run with nothing to do only plans, and a default run starts some 40 stages: torch takes 1.5 s, SciPy 0.4."""
    heavy = {"torch", "scipy"} if module == PLANNING else {"torch"}
    script = f"import sys, {module}; sys.exit(' '.join({heavy!r} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
