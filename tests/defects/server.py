"""Runs children of stages from edited copies of the package, each in a fork of a process that has torch imported.

    python server.py    reads a line of JSON each, {"package": folder, "module": name, "request", "environment"}, and
                        answers with one: {"result": {...}} or {"error": "Type: message"}

Importing torch and the published packages takes seconds; a fork of a process that has done so takes none. Nothing of
greenlight stays imported here: each fork imports it from the copy that it is told.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy  # noqa: F401
import pandas  # noqa: F401
import psutil  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pydantic  # noqa: F401
import safetensors.torch  # noqa: F401
import scipy.special
import scipy.stats  # noqa: F401
import torch
import torch._dynamo
import torch._inductor.compile_fx


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    import_published()
    for line in sys.stdin:
        task = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "answer.json"
            child = os.fork()
            if child == 0:
                answer.write_text(json.dumps(run(task)))
                os._exit(0)
            os.waitpid(child, 0)
            text = answer.read_text() if answer.exists() else json.dumps({"error": "the process ended"})
        print(text, file=answers, flush=True)


def import_published() -> None:
    """Import what our code imports of others', and forget ours."""
    for name in ("greenlight_forecasters.toto.published", "greenlight.run.children.numerics"):
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.split(".")[0] in ("greenlight", "greenlight_forecasters")]:
        del sys.modules[name]


def run(task: dict) -> dict:
    """In the fork: the child's `run` from the copy of the package."""
    sys.path.insert(0, task["package"])
    os.environ.update(task["environment"])
    try:
        json_text = importlib.import_module("greenlight.files").json_text
        result = importlib.import_module(task["module"]).run(task["request"])
        return {"result": json.loads(json_text(result))}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
