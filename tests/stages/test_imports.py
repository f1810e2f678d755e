"""What must start quickly: planning and the stages leave torch to the trials."""

from __future__ import annotations

import subprocess
import sys

import pytest

from greenlight.run.table import ROWS

MODULES = ["greenlight.run.planning", *(row.command for row in ROWS.values())]


@pytest.mark.parametrize("module", MODULES)
def test_starts_without_torch(module):
    """A run with nothing to do only plans, and a default run starts some 40 stages: torch takes 1.5 s of each."""
    script = f"import sys, {module}; sys.exit('torch is imported' if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
