"""Production may hold all models in one process: what they register there must not collide."""

import subprocess
import sys


def test_static_implementations_of_both_models_load_in_one_process():
    code = "import greenlight_forecasters.toto.static, greenlight_forecasters.kronos.static"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
