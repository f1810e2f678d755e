"""A small run whose variants can be given a defect: an edit of the package, and the same gate on what it leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenlight.files import write_parquet
from greenlight.judgement.checks.base import Check
from greenlight.judgement.judge import Verdict
from greenlight.measures.forecasts import forecast_table
from greenlight.run.trial import trial_environment
from greenlight.variants import Variant
from tools.quick_run import STAGES, QuickRun, trial_of
from tools.simulate import write_universe

WORKFLOW = Path(__file__).parents[2] / "workflow"
# A tiny evaluation says nothing about how good a model is: what a defect changes is what is looked at.
LENIENT = {
    "speed": {"foreign_load": 1.0},  # tests run beside each other
    "accuracy": {
        "coverage": [0.0, 1.0],
        "naive_ratio": 10.0,
        "mae_percent_investigate": 100.0,
        "draws_difference": 0.3,
    },
}


@dataclass(frozen=True)
class Edit:
    """A defect: in `file` of the packages, `old`, which stands there once, becomes `new`."""

    file: str
    old: str
    new: str


# Drawing beside the reference is most of a probe's time. Where only a contestant is edited, the reference's paths are
# the same in each copy: the first one that is asked for them computes them, from what the windows hold.
_REMEMBERED = """
def _remembered(reference, windows, samples, seed):
    import hashlib
    import pathlib
    from dataclasses import astuple

    def content(value):
        return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value

    given = [[content(value) for value in astuple(window)] for window in windows]
    text = repr((type(reference).__name__, given, samples, seed))
    file = pathlib.Path({folder!r}) / (hashlib.sha256(text.encode()).hexdigest() + ".npy")
    if not file.exists():
        np.save(file, reference.forecast(windows, samples, seed))
    return np.load(file)


class _Drawn:"""
_CONTESTANTS = (
    "greenlight_forecasters/toto/static/",
    "greenlight_forecasters/kronos/static.py",
    "greenlight_forecasters/kronos/decoder.py",
)


class Server:
    """The process that runs children in forks."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("server.py")
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(
        self, package: Path, module: str, request: dict[str, Any], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """A trial record of a child of a stage."""
        task = {"package": str(package), "module": module, "request": request, "environment": dict(environment)}
        print(json.dumps(task), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        if "error" not in answer:
            return trial_of(request, answer["result"])
        kind = "invalid-output" if "InvalidOutput" in answer["error"] else "other"
        return trial_of(request, answer.get("result"), kind, answer["error"])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Gate(QuickRun):
    """A run whose children come from a package that may have a defect."""

    def __init__(self, folder: Path, server: Server, config: Mapping[str, Any]) -> None:
        own = {"results_folder": str(folder / "results"), "baselines_folder": str(folder / "baselines")}
        super().__init__({**config, **own, "rules": LENIENT}, self.trial)
        self.folder, self.server, self.config = folder, server, config
        self.package = WORKFLOW
        # Where eager variants keep what they compile of their own in C++, which is found by its source.
        self.native = folder / "native"
        self.unscored = {model for model, _ in self.plan.settings.models.items()}

    @classmethod
    def make(cls, folder: Path, server: Server, config: Mapping[str, Any], symbols: int, rows: int) -> Gate:
        """A run of simulated prices that has begun."""
        write_universe(folder / "prices", symbols, rows=rows, seed=3)
        gate = cls(folder, server, {**config, "data_folder": str(folder / "prices")})
        gate.begin()
        return gate

    def trial(self, layout, job, module, request, *, cache=None, **_):
        """Run a child in a fork of the server; a compiled variant works in its own cache, not in a copy."""
        eager = not Variant.parse(job["variant"]).compiled
        own = cache or (self.native if eager else layout.cache(job["model"], job["variant"]))
        return self.server.run(self.package, module, request, trial_environment(own, 1, {}))

    def measure(self, model: str, variant: str, stages: tuple[str, ...] = STAGES) -> None:
        self.unscored.add(model)
        super().measure(model, variant, stages)

    def judge(self) -> Verdict:
        """Judge; a variant that was not measured has forecasts of no rows, as after a failed trial.

        Of a copy, only models that were measured since are scored again.
        """
        for model, variant in self.plan.variants:
            for symbol in self.symbols:
                path = self.layout.forecast(model, variant, symbol)
                if not path.exists():
                    write_parquet(path, forecast_table(model, variant, [], [], {}))
        verdict = super().judge(self.unscored)
        self.unscored = set()
        return verdict

    def copy(self, folder: Path, *edits: Edit) -> Gate:
        """The same evidence, and a copy of the package with a defect."""
        shutil.copytree(self.layout.root, folder / "results", ignore=shutil.ignore_patterns("cache", "trials"))
        gate = Gate(folder, self.server, self.config)
        gate.native, gate.unscored = self.native, set(self.unscored)
        gate.package = folder / "package"
        checkpoints = "greenlight_forecasters/checkpoints"
        # With what Python has compiled, which saves two seconds an edit; what has more behind .pyc is being written.
        left = shutil.ignore_patterns("docs", "rules", "tools", "report", "checkpoints", "*.egg-info", "*.pyc.*")
        shutil.copytree(WORKFLOW, gate.package, ignore=left)
        (gate.package / checkpoints).symlink_to(WORKFLOW / checkpoints)
        if all(edit.file.startswith(_CONTESTANTS) for edit in edits):
            edits = (*edits, *self._remembering())
        for edit in edits:
            path = gate.package / edit.file
            text = path.read_text()
            assert text.count(edit.old) == 1, f"{edit.file} has {text.count(edit.old)} times {edit.old!r}"
            path.write_text(text.replace(edit.old, edit.new))
        return gate

    def _remembering(self) -> tuple[Edit, Edit]:
        """Edits by which the reference's paths are computed once for all copies of this run."""
        folder, file = self.folder / "remembered", "greenlight/run/children/draws.py"
        folder.mkdir(exist_ok=True)
        call = 'reference.forecast(windows, request["samples"], seed)'
        return (
            Edit(file, call, call.replace("reference.forecast(", "_remembered(reference, ")),
            Edit(file, "\nclass _Drawn:", _REMEMBERED.format(folder=str(folder))),
        )


def checks_of(verdict: Verdict, model: str, variant: str) -> dict[str, Check]:
    """The checks of a variant by name."""
    return {check.name: check for check in verdict.checks if (check.model, check.variant) == (model, variant)}


def blocking(verdict: Verdict, model: str, variant: str) -> dict[str, str]:
    """Reasons of the checks that stop a variant, by name."""
    return {check.name: check.reason for check in verdict.blocking(model, variant)}
