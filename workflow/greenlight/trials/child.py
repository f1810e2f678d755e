"""The child's side of a trial: read the request, run one function, leave a result or an error."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenlight.errors import NotAsPlanned
from greenlight.files import read_json, write_json
from greenlight.trials.environment import intruders
from greenlight.trials.kinds import InvalidOutput, exception_chain


def serve(function: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Run `function(request)` for `python -m <module> <request.json> <result.json>`, and exit.

    Writes result.json, or error.json beside it, atomically and with the request's id, so that a result that
    an earlier trial left is never taken for this one's. Exit code 0 after a result, 1 after an error. A
    result must be a dict that JSON can hold; NaN and infinities arrive as strings (see
    `greenlight.files.write_json`). NotAsPlanned where what Python runs at its start has set what steers torch.
    """
    # What was imported becomes old at once, as in a process that has run for a while, and is not looked through here.
    gc.freeze()
    gc.unfreeze()
    gc.enable()
    faulthandler.enable()
    # The runner sends SIGUSR1 before it ends a trial that is out of time: the log then shows where it hung.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    request_path, result_path = (Path(argument) for argument in sys.argv[1:3])
    envelope = read_json(request_path)
    try:
        if found := intruders(os.environ, envelope["environment"]):
            raise NotAsPlanned(
                f"{', '.join(found)}: set in the trial, but neither by this run nor by trials.environment; something "
                "that Python runs at its start does it (sitecustomize, usercustomize or a .pth file of "
                f"{sys.executable}). Name it under trials.environment if production has it too, else remove it there"
            )
        result = function(envelope["request"])
        if not isinstance(result, dict):
            raise TypeError(f"the trial's function returned {type(result).__name__}, expected a dict")
        write_json(result_path, {"id": envelope["id"], "result": result})
        gc.freeze()  # what ends with the process needs no looking through
    except BaseException as error:
        traceback.print_exc()
        write_json(result_path.with_name("error.json"), {"id": envelope["id"], **_describe(error)})
        sys.exit(1)


def _describe(error: BaseException) -> dict[str, Any]:
    return {
        "chain": list(exception_chain(error)),
        "message": str(error) or type(error).__name__,
        "name": type(error).__name__,
        "traceback": "".join(traceback.format_exception(error)),
        "result": error.result if isinstance(error, InvalidOutput) else None,
    }
