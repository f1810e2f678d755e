"""diagnose: where failures come from. Cases in processes of their own, from the bare device to all models together."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from greenlight.errors import UserError, say
from greenlight.files import write_text
from greenlight.judgement.seal import write_sealed
from greenlight.layout import Layout
from greenlight.provenance import git_commit, utc_now
from greenlight.report.diagnosis import Entry, Step, conclude
from greenlight.report.markup import anchor
from greenlight.report.render import markdown_page
from greenlight.run.command import run_target
from greenlight.run.jobs import Plan
from greenlight.run.locking import join_run
from greenlight.run.planning import make_plan
from greenlight.run.trial import copy_own_cache, trial_environment, trial_request
from greenlight.trials.environment import kept, steering
from greenlight.trials.gpu import device_state, wait_for_device
from greenlight.trials.kinds import RULES
from greenlight.trials.runner import Limits, run_trial
from greenlight.variants import MODES, Variant
from greenlight.watch.caches import cache_size

CHILD = "greenlight.run.children.diagnosis"
ON_CPU = "To examine the models without the device meanwhile, set device.device to cpu and diagnose again."
# Failures that another run can't change.
_CERTAIN = ("user-error", "missing-weights")


@dataclass(frozen=True)
class Case:
    """What to run: see `greenlight.report.diagnosis.Step` for the words."""

    name: str
    group: str
    task: str
    entries: tuple[Entry, ...] = ()
    cache: str = "none"
    blocking: bool = False
    unload: bool = False
    repeats: str = ""


class Diagnosis:
    """Runs cases one after the other and keeps their records.

    Attributes:
        steps: the cases that were run, in order.
        not_run: (case, reason) of those that were not.
    """

    def __init__(self, plan: Plan, layout: Layout) -> None:
        self.plan, self.layout = plan, layout
        self.device = plan.device
        self.steps: list[Step] = []
        self.not_run: list[tuple[str, str]] = []
        self.state: dict[str, Any] = {}

    def run(self) -> None:
        """All cases; a failure decides which further cases are worth running, and never ends the diagnosis."""
        shutil.rmtree(self.layout.diagnosis_trial(), ignore_errors=True)
        variants = list(to_examine(self.plan))
        everything = [f"{model} {variant} alone" for model, variant in variants]
        if not self._look_at_device():
            self.not_run += [(name, "the device does not work") for name in everything]
            return
        alone = {entry: self._alone(entry) for entry in variants}
        if any(step.cache != "none" and self._fails_always(step) for step in alone.values()):
            self._run(Case("compiling a function of one line", "compiler", "compiler", cache="fresh"))
        passed = [entry for entry, step in alone.items() if step.passed]
        self._several(passed)

    def _fails_always(self, step: Step) -> bool:
        """Whether it failed and no run of it again passed."""
        again = [other for other in self.steps if other.repeats == step.name]
        return not step.passed and not any(other.passed for other in again)

    def _look_at_device(self) -> bool:
        """What the driver says, whether the device can be had, and a tiny operation on it."""
        self.state = device_state()
        name = f"a tiny tensor operation on {self.device}"
        if self.device != "cpu":
            try:
                self.device = wait_for_device(self.plan.settings.device)
            except UserError as error:
                kind = "other" if self.state["available"] else "missing-dependency"
                self.steps.append(Step(f"asking for {self.device}", "device", kind, message=str(error), advice=ON_CPU))
                return False
        return self._repeated(Case(name, "device", "device")).passed

    def _alone(self, entry: Entry) -> Step:
        cache = "none"
        if Variant.parse(entry[1]).compiled:
            cache = "kept" if cache_size(self.layout.cache(*entry))["files"] else "fresh"
        return self._repeated(Case(f"{' '.join(entry)} alone", "alone", "variants", (entry,), cache))

    def _several(self, passed: list[Entry]) -> None:
        """One variant of each model at once, then one after the other with unloading between."""
        models = [model for model, _ in self.plan.settings.models.items()]
        chosen = [entry for model in models if (entry := self._candidate(model, passed)) is not None]
        absent = [model for model in models if model not in {name for name, _ in chosen}]
        for model in absent:
            self.not_run.append((f"{model} beside other models", "no variant of it passes alone"))
        name = "one variant of each model together"
        if len(chosen) > 1:
            self._repeated(Case(name, "together", "variants", tuple(chosen), _cache_of(chosen)))
        else:
            self.not_run.append((name, f"there is {'one model' if chosen else 'no model'} to load"))
        if len(chosen) == 1:  # with one model, its reference and the chosen variant follow one another
            ((model, variant),) = chosen
            reference = self.plan.model(model).reference
            chosen = [(model, one) for one in dict.fromkeys([reference, variant]) if (model, one) in passed]
        name = "one after the other, with unloading between"
        if len(chosen) > 1:
            self._repeated(Case(name, "in-turn", "variants", tuple(chosen), _cache_of(chosen), unload=True))
        else:
            self.not_run.append((name, "fewer than two variants could follow one another"))

    def _candidate(self, model: str, passed: list[Entry]) -> Entry | None:
        """What production would load: `deployed`, else the variant that passes with most of torch.compile in it."""
        settings = self.plan.model(model)
        mine = [variant for variant in settings.variants if (model, variant) in passed]
        if settings.deployed in mine:
            return model, settings.deployed
        # Of two with the same mode the later one: the reference is usually named first.
        best = max(mine[::-1], key=lambda variant: MODES.index(Variant.parse(variant).mode), default=None)
        return None if best is None else (model, best)

    def _repeated(self, case: Case) -> Step:
        """Run a case; where it fails, run it again in the ways that tell causes apart."""
        step = self._run(case)
        if step.passed or step.kind in _CERTAIN:
            return step
        again = replace(case, repeats=case.name)
        fresh = replace(again, name=f"{case.name}, with a fresh cache", cache="fresh")
        plain = replace(again, name=f"{case.name}, again")
        blocking = replace(again, name=f"{case.name}, with CUDA_LAUNCH_BLOCKING=1", blocking=True)
        self._run(plain)
        if case.cache == "kept":
            if self._run(fresh).passed:
                return step
            blocking = replace(blocking, cache="fresh")
        if self.device != "cpu":
            self._run(blocking)
        return step

    def _run(self, case: Case) -> Step:
        folder = self.layout.diagnosis_trial(f"{len(self.steps) + 1:02d}-{anchor(case.name)}")
        cache, readings = folder / "cache", folder / "steps.jsonl"
        folder.mkdir(parents=True)
        if case.cache == "kept":
            copy_own_cache(self.layout, *case.entries[0], cache)
        entries = [self._request(entry) for entry in case.entries]
        settings = self.plan.settings
        memory = settings.trials.memory_gib
        request = {
            "task": case.task,
            "entries": entries,
            "unload": case.unload,
            "device": self.device,
            "threads": settings.threads,
            "seed": settings.seed,
            "torch_state": settings.evaluation.call.process.beside_precision(),
            "distributions": sorted({d for name in self.plan.model_names for d in self._distributions(name)}),
            "steps": str(readings),
        }
        environment = trial_environment(cache, settings.threads, settings.trials.environment)
        if case.blocking:
            environment["CUDA_LAUNCH_BLOCKING"] = "1"
        request["environment"] = settings.trials.environment | kept(os.environ)
        request["dropped"] = steering(os.environ)
        say(case.name)
        record = run_trial(
            CHILD,
            request,
            folder=folder,
            limits=Limits(
                settings.trials.compile_seconds * max(1, len(entries)), int(memory * 2**30) if memory else None
            ),
            environment=environment,
            progress=case.name,
        )
        shutil.rmtree(cache, ignore_errors=True)
        step = step_of(case, record, _read(readings), (folder / "output.log").relative_to(self.layout.root))
        say(f"{case.name}: {step.kind}, {record['seconds']:.0f} s")
        self.steps.append(step)
        return step

    def _distributions(self, model: str) -> tuple[str, ...]:
        return self.plan.plugin(model).distributions

    def _request(self, entry: Entry) -> dict[str, Any]:
        return trial_request(self.layout, self.plan.job("compile", *entry)) | {"device": self.device}


def to_examine(plan: Plan) -> Iterator[Entry]:
    """The configured variants of each model, by implementation; eager first, also where it is not configured."""
    for model, settings in plan.settings.models.items():
        chosen = [Variant.parse(name) for name in settings.variants]
        for implementation in dict.fromkeys(one.implementation for one in chosen):
            own = {one for one in chosen if one.implementation == implementation}
            own |= {replace(one, mode="eager") for one in own}
            for variant in sorted(own, key=lambda one: one.complexity):
                yield model, str(variant)


def step_of(case: Case, record: dict[str, Any], readings: list[dict[str, Any]], log: Path) -> Step:
    """A trial's record as a step; a run that ended well and overwrote an output is a failure too."""
    result = record["result"] or {}
    kind, message, advice = record["kind"], record["message"], record["advice"]
    for outcome in result.get("outcomes", []) if kind == "ok" else []:
        if outcome["overwrites"]["passed"] is False:
            kind, advice = _overwritten(outcome)
            message = f"{outcome['model']} {outcome['variant']}: {outcome['overwrites']['message']}"
            break
    done = {reading["what"] for reading in readings if reading["done"]}
    begun = [reading["what"] for reading in readings if reading["what"] not in done]
    return Step(
        name=case.name,
        group=case.group,
        kind=kind,
        entries=case.entries,
        cache=case.cache,
        blocking=case.blocking,
        repeats=case.repeats,
        message=message,
        advice=advice,
        traceback=record["traceback"],
        log_tail=record["log_tail"],
        seconds=record["seconds"],
        peak_memory_bytes=record["peak_memory_bytes"],
        failed_in=begun[-1] if begun else "",
        readings=tuple(readings),
        outcomes=tuple(result.get("outcomes", ())),
        facts={key: value for key, value in result.items() if key != "outcomes"},
        log=log.as_posix(),
    )


def _overwritten(outcome: dict[str, Any]) -> tuple[str, str]:
    """(kind, advice): CUDA graphs that ran are at fault, or a buffer that is returned without a copy."""
    graphs = (outcome["health"] or {}).get("cuda_graphs", {}).get("engaged")
    kept = outcome["overwrites"]["kept_output_unchanged"]
    kind = "graph-output-overwritten" if graphs and not kept else "invalid-output"
    return kind, next(rule.advice for rule in RULES if rule.kind == kind)


def _cache_of(entries: list[Entry]) -> str:
    return "fresh" if any(Variant.parse(variant).compiled for _, variant in entries) else "none"


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines that the child wrote; one that a crash cut off is left out."""
    readings = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            readings.append(json.loads(line))
        except ValueError:
            break
    return readings


def diagnose(plan: Plan, layout: Layout) -> str:
    """Run all cases, write diagnosis.json and diagnosis.md; returns what to print."""
    diagnosis = Diagnosis(plan, layout)
    started = utc_now()
    diagnosis.run()
    conclusion = conclude(diagnosis.steps)
    document = {
        "format": 1,
        "started": started,
        "ended": utc_now(),
        "commit": git_commit(Path.cwd()),
        "device": diagnosis.device,
        "device_name": plan.device_name,
        "device_state": diagnosis.state,
        "settings": plan.settings.model_dump(mode="json"),
        "steps": [asdict(step) for step in diagnosis.steps],
        "not_run": diagnosis.not_run,
        "conclusion": asdict(conclusion),
    }
    write_sealed(layout.diagnosis_record, document)
    page = markdown_page("diagnosis.md.jinja", document=document, steps=diagnosis.steps, conclusion=conclusion)
    write_text(layout.diagnosis, page)
    causes = [sentence for finding in conclusion.findings for sentence in finding.sentences]
    return "\n".join([conclusion.summary, *(f"  {cause}" for cause in causes), f"The whole page: {layout.diagnosis}"])


def examine(config: dict[str, Any], files: list[str]) -> str:
    """Plan and diagnose, whatever device is there; what was found."""
    plan, layout = make_plan(config, files, diagnosing=True)
    with join_run(layout):
        return diagnose(plan, layout)


if __name__ == "__main__":
    run_target(__doc__, examine)
