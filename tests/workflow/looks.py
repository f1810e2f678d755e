"""Commands that look, and runs of seconds, in forks of a process that has imported Snakemake: two seconds sooner each.

`look(module, …)` gives what `python -m module …` gives. Nothing of greenlight is imported here before the fork: each
fork imports it from where its own PYTHONPATH and folder lead.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path

IMPORTED = ("snakemake.cli", "snakemake.workflow", "pandas", "pyarrow.parquet", "pydantic", "psutil", "yaml")


def look(module: str, *arguments: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess:
    """The exit code of a command and, in `stdout`, both of its streams."""
    server = _server()
    with tempfile.NamedTemporaryFile() as output:
        task = {"module": module, "arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        print(json.dumps(task | {"output": output.name}), file=server.stdin, flush=True)
        code = json.loads(server.stdout.readline())
        return subprocess.CompletedProcess([module, *arguments], code, Path(output.name).read_text())


@functools.cache
def _server() -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # -P: the folder of this file is no place to import from.
    command = [sys.executable, "-P", __file__]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tempfile.gettempdir()
    )
    atexit.register(server.communicate)  # it ends when its standard input does
    return server


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _run(task: dict) -> None:
    """In the fork: be `python -m module arguments` in its folder and environment, and end."""
    os.setsid()
    for opened, number in ((os.open(os.devnull, os.O_RDONLY), 0), (os.open(task["output"], os.O_WRONLY), 1), (1, 2)):
        os.dup2(opened, number)
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"])
    sys.path[:0] = [task["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [task["module"], *task["arguments"]]
    code: object = 0
    try:
        runpy.run_module(task["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    _serve()
