"""Where trials of tests find the modules that they run."""

from __future__ import annotations

import os
from pathlib import Path


def python_path(folder: Path) -> dict[str, str]:
    """The environment in which a trial runs the modules of `folder`, and this checkout's package where one is set."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}
