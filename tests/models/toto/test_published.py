"""The published package, imported without what forecasting never uses."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import greenlight_forecasters.toto.published
assert "lightning" not in sys.modules, "a trial that needs no trainer waits 3 seconds for one"
assert "gluonts.torch" not in sys.modules, "half a package is left behind"
import gluonts.torch
assert gluonts.torch.PyTorchLightningEstimator
"""


def test_trainers_are_left_out_and_can_still_be_imported():
    done = subprocess.run([sys.executable, "-c", SCRIPT], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
