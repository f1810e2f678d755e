"""The stages, a row each, in the order of the workflow: the one place that knows what follows what.

From a row come the rule that Snakemake runs (`rules/stages.smk`), the jobs of the plan with their descriptions and
keys (`run/jobs.py`), what makes them stale and what `why` says (`run/staleness.py`), their outputs in the ledger,
what they ask of the machine (`run/resources.py`) and which evidence is expected (`run/stages/expect.py`).

A new stage is a row here and a module in `run/stages/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenlight import provenance
from greenlight.layout import Layout
from greenlight.run.job import Job
from greenlight.run.scope import Scope
from greenlight.settings import Settings
from greenlight.variants import Variant

Names = tuple[Any, ...]
_AROUND = ("greenlight.trials.supervisor", "greenlight.trials.begin")  # of each trial


def _nothing(layout: Layout, job: Job) -> list[Path]:
    return []


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        name: the first part of the names of its jobs, such as `predict/toto/static-default/0`.
        per: what there is a job for: any of model, variant, shard, in this order.
        jobs: the names of its jobs, without its own.
        message: what Snakemake says of a job.
        writes: what a job writes, as Snakemake knows it; a folder is named `cache` or `figures`.
        leaves: what only the ledger knows: files of a symbol, and what must outlive the start of the job.
        reads: stages whose outputs it reads, of the same model, variant and shard where they have one.
        keyed: stages whose keys are in its description (`before`), matched in the same way.
        shard: of a stage that has no shards, the one whose series and forecasts it uses.
        settings: what it depends on: name in the description, and where in the settings it stands.
        packages: installed packages whose versions it depends on.
        more: name of a method of `Plan` that adds to the description what no setting says alone.
        module: in `run/stages`, where its name is not the stage's; child: in `run/children`, what its trials run.
        runs: the variants that a trial runs, the reference among them where that is one of two.
        trials: how many trials a job may have, one after the other.
        options: what its command line takes: `symbols`, `files` or `baselines`.
        local: whether it runs where Snakemake runs, also on a cluster; priority: Snakemake's.
    """

    name: str
    per: tuple[str, ...]
    jobs: Callable[[Scope], Iterable[Names]]
    message: str
    writes: Callable[[Layout, Job], list[Path]]
    leaves: Callable[[Layout, Job], list[Path]] = _nothing
    reads: tuple[str, ...] = ()
    keyed: tuple[str, ...] = ()
    shard: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    more: str = ""
    module: str = ""
    child: str = ""
    runs: Callable[[str, str], tuple[str, ...]] = lambda variant, reference: (variant,)
    trials: Callable[[Settings], int] = lambda settings: 1
    options: str = ""
    local: bool = False
    priority: int = 0

    @property
    def command(self) -> str:
        """The module that its jobs run."""
        return f"greenlight.run.stages.{self.module or self.name}"

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that it runs, what it starts by name included; their imports are followed."""
        return (self.command, f"greenlight.run.children.{self.child}", *_AROUND) if self.child else (self.command,)

    @property
    def of_a_variant(self) -> bool:
        """Whether a job is that of one variant."""
        return "variant" in self.per

    def rule(self, names: Mapping[str, Any]) -> str:
        """Name of the rule of a job: one for each shard, and for each model where there is none for each variant."""
        number = names["shard"] if "shard" in self.per else names.get("model") if not self.of_a_variant else None
        return self.name if number is None else f"{self.name}_{number}"

    def outputs(self, layout: Layout, job: Job) -> list[Path]:
        """All that a job leaves."""
        return [*self.writes(layout, job), *self.leaves(layout, job)]


def _shards(scope: Scope) -> Iterable[Names]:
    return [(shard,) for shard in range(len(scope.shards))]


def _models(scope: Scope) -> Iterable[Names]:
    return [(model,) for model in scope.model_names]


def _compiled(scope: Scope) -> Iterable[Names]:
    return [(model, variant) for model, variant in scope.variants if Variant.parse(variant).compiled]


def _forecasts(scope: Scope) -> Iterable[Names]:
    return [(*names, shard) for names in scope.variants for shard in range(len(scope.shards))]


def _once(scope: Scope) -> Iterable[Names]:
    return [()]


def _record(layout: Layout, job: Job) -> list[Path]:
    return [layout.record(job["stage"], job["model"], job["variant"])]


def _series(layout: Layout, job: Job) -> list[Path]:
    return [file for symbol in job["symbols"] for file in (layout.series(symbol), layout.data_report(symbol))]


def _scores(layout: Layout, job: Job) -> list[Path]:
    files = (layout.window_scores, lambda model, variant: layout.record("scores", model, variant))
    return [file(job["model"], variant) for variant in job["variants"] for file in files]


def _pair(variant: str, reference: str) -> tuple[str, ...]:
    return (variant, reference)


_CALLS = {"windows_per_call": "evaluation.windows_per_call", "timed_windows": "timing.windows"}
_WINDOWS = {"windows": "evaluation.windows"}
_JUDGING = {"rules": "rules"}
# Whatever is measured of a variant or a model: what the judge reads.
EVIDENCE = ("compile", "predict", "probe", "call", "repeat", "time", "score", "replicate")
_ALL = ("prepare", "weights", *EVIDENCE, "expect")

STAGES = (
    Stage(
        "prepare", ("shard",), _shards, "Reading price files, shard {shard}",
        lambda layout, job: [layout.prepared(job["shard"])], _series,
        settings={"repair": "data.repair"}, packages=provenance.DATA_PACKAGES, more="prices", options="files",
        priority=20,
    ),
    Stage(
        "weights", ("model",), _models, "Finding the weights of {model}",
        lambda layout, job: [layout.weights(job["model"])],
        more="checkpoints", local=True, priority=20,  # on a cluster only that machine may reach the network
    ),
    Stage(
        "clear", ("model", "variant"), _compiled, "Clearing the compile cache of {model} {variant}",
        lambda layout, job: [layout.cleared(job["model"], job["variant"])],
        keyed=("compile",), local=True,  # stale whenever the compile is, so that a compile is always a cold one
    ),
    Stage(
        "compile", ("model", "variant"), _compiled,
        "Compiling {model} {variant} from an empty cache, and warming it up",
        lambda layout, job: [*_record(layout, job), layout.cache(job["model"], job["variant"])],
        reads=("weights", "clear"),
        settings=_CALLS | {"warm_up_calls": "timing.warm_up_calls", "keep_trace": "keep_trace"}, more="compiler",
        module="compile_variant", child="warm_up",
    ),
    Stage(
        "predict", ("model", "variant", "shard"), _forecasts, "Forecasting with {model} {variant}, shard {shard}",
        lambda layout, job: [layout.predict_record(job["model"], job["variant"], job["shard"])],
        lambda layout, job: [layout.forecast(job["model"], job["variant"], symbol) for symbol in job["symbols"]],
        reads=("prepare", "weights", "compile"), keyed=("prepare", "compile"),
        settings=_CALLS | _WINDOWS, more="symbols_of", child="forecast", options="symbols",
    ),
    Stage(
        "probe", ("model", "variant"), lambda scope: scope.variants,
        "Comparing the numerics of {model} {variant} with float64, and calling it from threads", _record,
        reads=("prepare", "weights", "compile"), keyed=("prepare", "compile"), shard=0,
        settings=_CALLS | _WINDOWS | {"probe_windows": "evaluation.probe_windows"}, more="probed",
        child="numerics", runs=_pair, options="symbols",  # numerics are held to the reference
        trials=lambda settings: 1 + (settings.evaluation.call.concurrency > 1),  # without threads where that fails
    ),
    Stage(
        "call", ("model", "variant"), lambda scope: scope.called,
        "Calling {model} {variant} in many shapes, or many times",
        _record, reads=("weights", "compile"), keyed=("compile",),  # it needs no prices
        more="call", child="calling", runs=_pair,
    ),
    Stage(
        "repeat", ("model", "variant"), lambda scope: scope.repeated,
        "Running {model} {variant} in further processes", _record,
        reads=("prepare", "weights", "compile", "predict"), keyed=("predict",), shard=0,
        settings=_WINDOWS | {"windows_per_call": "evaluation.windows_per_call"}, more="further",
        child="repetition", trials=lambda settings: settings.trials.repeats, options="symbols",
    ),
    Stage(
        "time", ("model", "variant"), lambda scope: scope.timed, "Timing {model} {variant} against the reference",
        lambda layout, job: [*_record(layout, job), layout.pairs(job["model"], job["variant"])],
        reads=("prepare", "weights", "compile"), keyed=("prepare", "compile"), shard=0,
        settings=_WINDOWS | {"timing": "timing", "foreign_load": "rules.speed.foreign_load"}, more="slowdown",
        module="time_variant", child="latency", runs=_pair, options="symbols",
        trials=lambda settings: settings.timing.processes,
    ),
    Stage(
        "score", ("model",), _models, "Scoring the forecasts of {model}", _scores,
        reads=("prepare", "predict"), keyed=("predict",),
        settings={"context_length": "evaluation.context_length", "horizon": "evaluation.horizon"},
        packages=provenance.DATA_PACKAGES, more="scored",
    ),
    Stage(
        "replicate", ("model",), lambda scope: [(model,) for model in scope.partners],
        "Forecasting with further seeds where one does not decide between variants of {model}",
        lambda layout, job: [layout.record("replicate", job["model"], variant) for variant in job["partners"]],
        reads=("prepare", "weights", "predict", "compile", "score"), keyed=("score",),
        settings=_WINDOWS
        | {"windows_per_call": "evaluation.windows_per_call", "extra_seconds": "evaluation.extra_seconds"},
        more="partnered", child="replication",
        trials=lambda settings: max(len(model.variants) for _, model in settings.models.items()),
    ),
    Stage(
        "expect", (), _once, "Listing every row that the evidence must have",
        lambda layout, job: [layout.expected],
        reads=("prepare", "weights"), keyed=EVIDENCE,
        settings={
            "repeats": "trials.repeats", "evaluation": "evaluation", "timing": "timing", "seed": "seed",
            "threads": "threads",
        },
        packages=provenance.TORCH_PACKAGES, more="expected", local=True, priority=10,
    ),
    Stage(
        "diff", (), _once, "Comparing with the stored baselines", lambda layout, job: [layout.difference],
        reads=_ALL, keyed=("expect",), settings=_JUDGING, packages=provenance.JUDGE_PACKAGES, more="baselines",
        options="baselines", local=True,
    ),
    Stage(
        "judge", (), _once, "Judging", lambda layout, job: [layout.verdict, layout.decision],
        # Snakemake would delete deploy.env and the bundle when the job starts or fails.
        lambda layout, job: [layout.deploy, layout.manifest, layout.bundle_cache],
        reads=(*_ALL, "diff"), keyed=("expect", "diff"), settings=_JUDGING, packages=provenance.JUDGE_PACKAGES,
        more="judging", options="baselines", local=True,
    ),
    Stage(
        "report", (), _once, "Rendering the verification report",
        lambda layout, job: [layout.report, layout.report_page, layout.figures, *layout.notices],
        reads=(*_ALL, "diff", "judge"), keyed=("judge",), packages=provenance.REPORT_PACKAGES, more="templates",
        local=True,
    ),
    Stage(
        "archive", (), _once, "Archiving the report and its evidence", lambda layout, job: [layout.archived],
        reads=("judge", "report"), keyed=("report",), local=True,
    ),
    Stage(
        "gate", (), _once, "The gate", lambda layout, job: [layout.passed],
        reads=("judge", "report", "archive"), keyed=("judge", "archive"),
        local=True,  # its verdict is read in the terminal
    ),
)  # fmt: skip
ROWS = {stage.name: stage for stage in STAGES}
TRIAL_STAGES = tuple(stage.name for stage in STAGES if stage.child)


class Jobs:
    """The jobs of a run and which of them belong together, by the table.

    Attributes:
        names: stage and names of each job by its name, in the order of the workflow.
    """

    def __init__(self, scope: Scope) -> None:
        self._of = {stage.name: dict.fromkeys(stage.jobs(scope)) for stage in STAGES}
        self.names = {self.name(stage, own): (stage, own) for stage, jobs in self._of.items() for own in jobs}

    @staticmethod
    def name(stage: str, own: Names) -> str:
        """Such as `predict/toto/static-default/0`."""
        return "/".join(map(str, (stage, *own)))

    def related(self, stage: str, own: Names, others: Iterable[str]) -> list[str]:
        """Names of the jobs of other stages that share model, variant and shard with a job, where both have them."""
        row = ROWS[stage]
        known = {"shard": row.shard} | dict(zip(row.per, own, strict=True))
        found = []
        for other in others:
            wanted = tuple(known.get(axis) for axis in ROWS[other].per)
            jobs: Iterable[Names] = self._of[other]
            if None not in wanted:
                jobs = [wanted] if wanted in self._of[other] else []
            elif any(part is not None for part in wanted):
                jobs = [
                    names
                    for names in jobs
                    if all(part in (None, name) for part, name in zip(wanted, names, strict=True))
                ]
            found += [self.name(other, names) for names in jobs]
        return found
