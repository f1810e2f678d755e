"""Children of stages as forks of this process, which has imported what they need: milliseconds in place of seconds.

What was compiled is kept as long as this process lives. The first compile of a variant begins with an empty cache; a
later one gets that one's record and cache, as in a run of the workflow whose compile job is not stale. Every trial
after it loads what was compiled anew, in a process of its own.
"""

from __future__ import annotations

import copy
import faulthandler
import gc
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenlight.files import json_text, read_json
from greenlight.layout import Layout
from greenlight.provenance import digest
from greenlight.run.children import calling, forecast, latency, numerics, replication, warm_up
from greenlight.run.job import Job
from greenlight.run.trial import trial_environment
from greenlight.trials.kinds import InvalidOutput
from greenlight.watch.caches import copy_cache
from tools.quick_run import trial_of

# What the stages start by name; imported once, before the first fork.
CHILDREN = {child.__name__: child for child in (calling, forecast, latency, numerics, replication, warm_up)}
# What trials of compiled variants import before they compile or load anything: seconds of each.
_COMPILER = ("torch._dynamo", "torch._inductor.compile_fx", "torch._inductor.codecache", "torch._inductor.lowering")
# What no compiled code depends on.
_OF_A_RUN = ("seed", "provenance")
# Seconds between asking a child that is out of time for its stack, and ending it.
_GRACE = 0.5


@dataclass(frozen=True)
class _Compiled:
    asked: str
    cache: Path
    record: dict[str, Any]


class Forks:
    """Runs children of stages for as many runs as one likes; a `greenlight.run.trial.Runner`.

    Args:
        folder: of this object's own, for compile caches and for what children return.
        begins: told what begins, in words.
        show_after: seconds after which a child that still runs shows its stack on standard error; 0: never. SIGUSR1
            has any process of a run do so.

    Attributes:
        cold: `<model> <variant>` of what was compiled from an empty cache, in order.
    """

    def __init__(self, folder: Path, begins: Callable[[str], None] = lambda what: None, show_after: float = 0) -> None:
        self.cold: list[str] = []
        self._folder, self._begins, self._show_after = folder, begins, show_after
        self._compiled: dict[str, _Compiled] = {}
        folder.mkdir(parents=True, exist_ok=True)
        faulthandler.register(signal.SIGUSR1, sys.__stderr__, all_threads=True)

    def __call__(
        self,
        layout: Layout,
        job: Job,
        module: str,
        request: dict[str, Any],
        *,
        name: str = "",
        cache: Path | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """The record of a trial, which says how it ended."""
        variant = f"{job['model']} {job['variant']}"
        what = " ".join(filter(None, (job["stage"], variant, name)))
        _import(target.partition(":")[0] for target in request["targets"].values())
        if job["mode"] != "eager":
            _import(_COMPILER)
        kept = self._compiled.get(variant)
        if cache is None:
            return self._fork(job, module, request, kept.cache if kept else layout.cache(*variant.split()), what)
        asked = digest({key: value for key, value in request.items() if key not in _OF_A_RUN})
        if kept is None or kept.asked != asked:
            self.cold.append(variant)
            record = self._fork(job, module, request, cache, f"{what} from an empty cache")
            if record["kind"] != "ok":
                return record
            kept = self._compiled[variant] = _Compiled(asked, self._folder / "caches" / asked, record)
            copy_cache(cache, kept.cache)
        copy_cache(kept.cache, cache)
        return copy.deepcopy(kept.record)

    def _fork(self, job: Job, module: str, request: dict[str, Any], cache: Path, what: str) -> dict[str, Any]:
        self._begins(what)
        environment = trial_environment(cache, job["threads"], job.get("environment", {}))
        result = self._folder / "result.json"
        result.unlink(missing_ok=True)
        arguments = (module, request, environment, result, self._show_after)
        child = multiprocessing.get_context("fork").Process(target=_child, args=arguments)
        child.start()
        child.join(job["seconds"])
        if child.is_alive():
            os.kill(child.pid or 0, signal.SIGUSR1)  # standard error then shows where it hangs
            child.join(_GRACE)
            child.kill()
            child.join()
            return trial_of(request, None, "time-out", f"not done after {job['seconds']} s")
        if not result.exists():
            return trial_of(request, None, "signal", f"the fork ended with exit code {child.exitcode} and no result")
        return trial_of(request, *read_json(result))


def _child(
    module: str, request: dict[str, Any], environment: dict[str, str], result: Path, show_after: float
) -> None:  # fmt: skip
    gc.freeze()  # what the parent has imported needs no looking through
    os.environ.update(environment)
    tempfile.tempdir = None  # this process' own, and not what its parent found
    if show_after:
        faulthandler.dump_traceback_later(show_after, repeat=True, file=sys.__stderr__)
    try:
        ended = [CHILDREN[module].run(request), "ok", ""]
    except InvalidOutput as error:
        ended = [error.result, "invalid-output", str(error)]
    except Exception as error:
        ended = [None, "other", f"{type(error).__name__}: {error}"]
    result.with_suffix(".partial").write_text(json_text(ended), encoding="utf-8")
    result.with_suffix(".partial").replace(result)


def _import(modules: Iterable[str]) -> None:
    for module in modules:
        importlib.import_module(module)
