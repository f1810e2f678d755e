"""The job descriptions: all that the result of a stage depends on, and nothing else.

A job is stale when its description has changed since it ran (`run/staleness.py`). Each description holds the
settings that the stage uses, content hashes of data and weights, the fingerprint of the first-party code that it
imports, versions, device, and the keys of the stages before it. A record carries the description that it was made
under, so that stale evidence is recognised wherever it comes from.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenlight import provenance
from greenlight.code import Code, portable
from greenlight.plugins import Reference
from greenlight.run.job import Job, job_name
from greenlight.run.modules import STAGE_MODULES, code_of
from greenlight.run.scope import Scope
from greenlight.variants import Variant
from greenlight.weights import MODEL, checkpoint_folders, contents_of, golden_digest

# The rules that decide whether more pairs are measured.
SLOWDOWN = ("slower", "slower_shown", "alpha")


def once(method: Callable[..., Any]) -> Callable[..., Any]:
    """Remember a plan's answers: descriptions contain the keys of others, which contain those of others."""

    @functools.wraps(method)
    def remembered(self: Plan, *arguments: Any, **named: Any) -> Any:
        key = (method.__name__, *arguments, *named.items())
        if key not in self.answers:
            self.answers[key] = method(self, *arguments, **named)
        return self.answers[key]

    return remembered


@dataclass(frozen=True)
class Plan(Scope):
    """The job descriptions of a run."""

    answers: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False, compare=False)
    codes: dict[str, Code] = field(default_factory=dict, repr=False, compare=False)
    """The code of the jobs described so far, by its fingerprint."""
    packages: dict[str, dict[str, str]] = field(default_factory=dict, repr=False, compare=False)
    """Contents of other people's packages that were looked at, by name."""

    def _start(self, stage: str, run: Iterable[str] = (), **names: str | int) -> Job:
        """The start of every description: what it is, and the fingerprint of its code.

        Args:
            run: the variants that it runs.
        """
        known = self._code(stage, names.get("model"), tuple(run))
        self.codes[(fingerprint := self._fingerprint(known))] = known
        return {"stage": stage, **names, "code": fingerprint}

    @once
    def _code(self, stage: str, model: str | None, run: tuple[str, ...]) -> Code:
        if not run or model is None:
            return Code(STAGE_MODULES[stage])
        plugin = Reference.parse(self.reference(model), model)
        every, own = self.plugin(model).implementations, self.implementations(model, run)
        return code_of(stage, plugin, [*every.values(), *own.values()], own.values())

    @once
    def contents(self, code: Code) -> dict[str, str]:
        """Hash of every module that a job runs, and of every file of other people's code."""
        return code.contents(self.packages)

    @once
    def _fingerprint(self, code: Code) -> str:
        return provenance.digest(self.contents(code))

    def modules(self, job: Job) -> dict[str, str]:
        """The contents of a job's code."""
        return self.contents(self.codes[job["code"]])

    @once
    def _key(self, stage: str, *names: Any) -> str:
        return provenance.digest(getattr(self, stage)(*names))

    @once
    def prepare(self, shard: int) -> Job:
        """Reading the price files of a shard."""
        evaluation, data = self.settings.evaluation, self.settings.data
        return self._start("prepare", shard=shard) | {
            "symbols": {symbol: self.data_hashes[symbol] for symbol in self.shards[shard]},
            "repair": self.settings.data.repair.model_dump(mode="json"),
            "options": {
                symbol: data.options_for(symbol).model_dump(mode="json", exclude_defaults=True)
                for symbol in self.shards[shard]
            },
            "minimum_rows": evaluation.context_length + evaluation.horizon,
            "versions": provenance.package_versions(provenance.DATA_PACKAGES),
        }

    @once
    def _checkpoints(self, model: str) -> dict[str, dict[str, str]]:
        """Hash of each file of each checkpoint of a model, by role."""
        plugin = self.plugin(model)
        folders = checkpoint_folders(model, plugin.sources_of(self.model(model)), plugin.checkpoints)
        return {role: contents_of(folder) for role, folder in folders.items()}

    def _embedded(self, model: str) -> dict[str, str | None]:
        """Where the checkpoints lie that `embedded` stands for, by role."""
        package = Reference.parse(self.reference(model), model).module.split(".")[0]
        return {role: path and portable(path, package) for role, path in self.plugin(model).checkpoints.items()}

    @once
    def weights(self, model: str) -> Job:
        """Finding, or fetching, the weights of a model."""
        return self._start("weights", model=model) | {
            "plugin": self.reference(model),
            "sources": self.plugin(model).sources_of(self.model(model)),
            "embedded": self._embedded(model),
            "checkpoints": self._checkpoints(model),
        }

    def _trial(self, stage: str, model: str, variant: str) -> Job:
        reference, chosen = self.model(model).reference, Variant.parse(variant)
        # Timing is in pairs with the reference, and numerics are held to it.
        run = (variant, reference) if stage in ("time", "probe") else (variant,)
        return self._start(stage, run, model=model, variant=variant) | {
            "implementation": chosen.implementation,
            "mode": chosen.mode,
            "precision": chosen.precision,
            "copies": self.implementations(model, [variant])[chosen.implementation].copies,
            "reference": reference,
            **self._forecasting(model, run),
        }

    def _forecasting(self, model: str, run: Iterable[str]) -> Job:
        """What forecasts of some variants depend on, whatever they are made for."""
        settings, shared, plugin = self.model(model), self.settings, self.plugin(model)
        known = self.implementations(model, run)
        return {
            "plugin": self.reference(model),
            "targets": {name: entry.target for name, entry in known.items()},
            "packages": sorted({name for entry in known.values() for name in entry.packages}),
            "folders_of_code": {key: folder for entry in known.values() for key, folder in entry.folders.items()},
            "truth": dict(plugin.truth),
            "levels": list(plugin.forecast.levels),
            "random": plugin.forecast.random,
            "crossing": plugin.forecast.crossing,
            "checkpoints": self._checkpoints(model),
            "settings": settings.own(),
            "seed": shared.seed,
            "threads": shared.threads,
            "device": self.device,
            "device_name": self.device_name,
            "context_length": shared.evaluation.context_length,
            "horizon": shared.evaluation.horizon,
            "samples": shared.evaluation.samples,
            "memory_gib": shared.trials.memory_gib,
            "environment": dict(shared.trials.environment),
            "versions": provenance.package_versions(provenance.TORCH_PACKAGES + plugin.distributions),
        }

    def clear(self, model: str, variant: str) -> Job:
        """Emptying the cache; stale whenever the compile is, so that a compile is always a cold one."""
        compiled = self._key("compile", model, variant)
        return self._start("clear", model=model, variant=variant) | {"compile": compiled}

    @once
    def compile(self, model: str, variant: str) -> Job:
        """Cold compile and warm-up."""
        return self._trial("compile", model, variant) | {
            "windows_per_call": self.settings.evaluation.windows_per_call,
            "timed_windows": self.settings.timing.windows,
            "warm_up_calls": self.settings.timing.warm_up_calls,
            "seconds": self.settings.trials.compile_seconds,
            "keep_trace": self.settings.keep_trace,
            "compiler": provenance.compiler(),
        }

    @once
    def predict(self, model: str, variant: str, shard: int) -> Job:
        """Forecasting the windows of a shard."""
        return self._trial("predict", model, variant) | {
            "shard": shard,
            "symbols": list(self.shards[shard]),
            "windows": self.settings.evaluation.windows,
            "timed_windows": self.settings.timing.windows,
            "windows_per_call": self.settings.evaluation.windows_per_call,
            "seconds": self.settings.trials.predict_seconds,
            "before": self._before(model, variant, shard),
        }

    @once
    def probe(self, model: str, variant: str) -> Job:
        """Numerics against float64."""
        return self._trial("probe", model, variant) | {
            "windows": self.settings.evaluation.windows,
            "probe_windows": self.settings.evaluation.probe_windows,
            "windows_per_call": self.settings.evaluation.windows_per_call,
            "timed_windows": self.settings.timing.windows,
            "draws": self._draws(model, variant),
            "golden": self._golden(model, variant),
            "seconds": self.settings.trials.probe_seconds,
            "before": self._before(model, variant, shard=0),
        }

    def _golden(self, model: str, variant: str) -> str | None:
        """Hash of the golden forecasts that an eager float32 variant is held to; None where there are none."""
        chosen, folder = Variant.parse(variant), self.plugin(model).checkpoints.get(MODEL)
        if folder is None or chosen.compiled or chosen.reduced:
            return None
        return golden_digest(folder, chosen.implementation)

    def _draws(self, model: str, variant: str) -> dict[str, Any] | None:
        """How many paths are drawn beside the reference's; None where forecasts are compared number by number.

        The compiled modes of an implementation are compared with its eager mode, so that one alone needs it in
        float32; in a reduced precision paths part, and each variant is compared itself.
        """
        settings, chosen = self.model(model), Variant.parse(variant)
        numbers_agree = not chosen.reduced and chosen.own_eager != variant and chosen.own_eager in settings.variants
        if self.draws_alike(model, variant, settings.reference) or numbers_agree:
            return None
        names = ("replicates", "replicate_windows", "looks", "extra_seconds")
        chosen = {name: getattr(self.settings.evaluation, name) for name in names}
        accuracy = self.settings.rules.accuracy
        limits = {"limit": accuracy.draws_difference, "path_limits": accuracy.path_limits()}
        return chosen | limits | {"alpha": accuracy.alpha, "alarm": accuracy.alarm}

    @once
    def time(self, model: str, variant: str) -> Job:
        """Latency pairs against the reference."""
        return self._trial("time", model, variant) | {
            "timing": self.settings.timing.model_dump(mode="json"),
            "slowdown": {name: getattr(self.settings.rules.speed, name) for name in SLOWDOWN},
            "foreign_load": self.settings.rules.speed.foreign_load,
            "windows": self.settings.evaluation.windows,
            "seconds": self.settings.trials.time_seconds,
            "before": self._before(model, variant, shard=0),
        }

    @once
    def repeat(self, model: str, variant: str) -> Job:
        """Further fresh processes, held against the first shard's."""
        return self._trial("repeat", model, variant) | {
            "trials": self.repeated[model, variant],
            "windows": self.settings.evaluation.windows,
            "windows_per_call": self.settings.evaluation.windows_per_call,
            "seconds": self.settings.trials.repeat_seconds,
            "before": {f"predict/{model}/{variant}/0": self._key("predict", model, variant, 0)},
        }

    def _before(self, model: str, variant: str, shard: int) -> dict[str, str]:
        """Keys of what a variant starts from: the shard's series, and its cache where it is compiled."""
        compiled = self._keys(("compile", model, variant)) if Variant.parse(variant).compiled else {}
        return compiled | {f"prepare/{shard}": self._key("prepare", shard)}

    def _keys(self, *stages: tuple[str, str, str]) -> dict[str, str]:
        return {f"{stage}/{model}/{variant}": self._key(stage, model, variant) for stage, model, variant in stages}

    @once
    def trial_keys(self) -> dict[str, str]:
        """Key of each trial stage's job by `stage/model/variant`, and of each shard by `…/shard`."""
        keys = self._keys(*(("probe", m, v) for m, v in self.variants), *(("time", m, v) for m, v in self.timed))
        keys |= self._keys(*(("repeat", m, v) for m, v in self.repeated))
        keys |= self._keys(*(("compile", m, v) for m, v in self.variants if Variant.parse(v).compiled))
        for model, variant in self.variants:
            for shard in range(len(self.shards)):
                keys[f"predict/{model}/{variant}/{shard}"] = self._key("predict", model, variant, shard)
        return keys

    @once
    def score(self, model: str) -> Job:
        """Scores of a model's forecasts."""
        return self._start("score", model=model) | {
            "variants": self.variants_of(model),
            "symbols": sorted(self.symbols),
            "context_length": self.settings.evaluation.context_length,
            "horizon": self.settings.evaluation.horizon,
            "versions": provenance.package_versions(provenance.DATA_PACKAGES),
            "before": {k: v for k, v in self.trial_keys().items() if k.startswith(f"predict/{model}/")},
        }

    @once
    def replicate(self, model: str) -> Job:
        """Further seeds for what the scores leave open between the variants of a model."""
        evaluation, partners = self.settings.evaluation, self.partners[model]
        names = ("margin", "alpha", "minimum_series", "minimum_units")
        limits = {name: getattr(self.settings.rules.accuracy, name) for name in names}
        compiled = (("compile", model, variant) for variant in partners if Variant.parse(variant).compiled)
        return self._start("replicate", sorted({*partners, *partners.values()}), model=model) | {
            **self._forecasting(model, {*partners, *partners.values()}),
            "partners": partners,
            "symbols": sorted(self.symbols),
            "shards": len(self.shards),
            "windows": evaluation.windows,
            "windows_per_call": evaluation.windows_per_call,
            "limits": limits | {"looks": evaluation.looks},
            "extra_seconds": evaluation.extra_seconds,
            "seconds": self.settings.trials.replicate_seconds,
            "before": {f"score/{model}": self._key("score", model)} | self._keys(*compiled),
        }

    @once
    def expect(self) -> Job:
        """The rows that the evidence must have."""
        settings = self.settings
        return self._start("expect") | {
            "models": {
                model: {
                    "reference": s.reference,
                    "deployed": s.deployed,
                    "variants": list(s.variants),
                    "measured": self.variants_of(model),
                    "levels": list(self.plugin(model).forecast.levels),
                    "random": self.plugin(model).forecast.random,
                    "crossing": self.plugin(model).forecast.crossing,
                    "checkpoints": self._checkpoints(model),
                    "settings": s.own(),
                    "same_as": {v: self._same_as(v, s.variants) for v in s.variants},
                    "draws_as_reference": {v: self.draws_alike(model, v, s.reference) for v in s.variants},
                    "score_key": self._key("score", model),
                    "replicate_key": self._key("replicate", model) if model in self.partners else None,
                    "paired": list(self.partners.get(model, {})),
                    "repeats": {v: self.repeated.get((model, v), 0) for v in self.variants_of(model)},
                    "golden": {v: self._golden(model, v) is not None for v in self.variants_of(model)},
                }
                for model, s in settings.models.items()
            },
            "keys": self.trial_keys(),
            "repeats": settings.trials.repeats,
            "shards": [list(shard) for shard in self.shards],
            "data": self.data_hashes,
            "evaluation": settings.evaluation.model_dump(mode="json"),
            "timing": settings.timing.model_dump(mode="json"),
            "seed": settings.seed,
            "threads": settings.threads,
            "device": self.device,
            "device_name": self.device_name,
            "versions": provenance.package_versions(provenance.TORCH_PACKAGES),
        }

    def _judging(self, stage: str) -> Job:
        return self._start(stage) | {
            "rules": self.settings.rules.model_dump(mode="json"),
            "baselines": provenance.tree_digest(Path(self.settings.baselines_folder)),
            "versions": provenance.package_versions(provenance.JUDGE_PACKAGES),
            "expected": self._key("expect"),
        }

    @once
    def diff(self) -> Job:
        """This run against the stored baselines."""
        return self._judging("diff")

    @once
    def judge(self) -> Job:
        """Checks, verdict, decision."""
        known = {model: self.plugin(model).implementations_of(self.model(model)) for model in self.model_names}
        published = {model: sorted(name for name in own if own[name].published) for model, own in known.items()}
        own = {"published": published, "environment": dict(self.settings.trials.environment)}
        return self._judging("judge") | own | {"before": {"diff": self._key("diff")}}

    @once
    def report(self) -> Job:
        """The report and its figures."""
        templates = Path(__file__).parents[1] / "report" / "templates"
        return self._start("report") | {
            "templates": provenance.tree_digest(templates, "report*"),
            "versions": provenance.package_versions(provenance.REPORT_PACKAGES),
            "before": {"judge": self._key("judge")},
        }

    @once
    def archive(self) -> Job:
        """The archived copy of the run."""
        return self._start("archive") | {"before": {"report": self._key("report")}}

    def gate(self) -> Job:
        """The exit code."""
        return self._start("gate") | {"before": {"archive": self._key("archive")}}

    def all_jobs(self) -> Iterator[tuple[str, Job]]:
        """(name, description) of every job of the run."""
        models, shards = self.model_names, range(len(self.shards))
        jobs = [self.prepare(shard) for shard in shards] + [self.weights(model) for model in models]
        for model, variant in self.variants:
            if Variant.parse(variant).compiled:
                jobs += [self.clear(model, variant), self.compile(model, variant)]
            jobs += [*(self.predict(model, variant, shard) for shard in shards), self.probe(model, variant)]
            jobs += [self.repeat(model, variant)] if (model, variant) in self.repeated else []
            jobs += [self.time(model, variant)] if (model, variant) in self.timed else []
        jobs += [self.score(model) for model in models] + [self.replicate(model) for model in self.partners]
        jobs += [getattr(self, s)() for s in ("expect", "diff", "judge", "report", "archive", "gate")]
        for job in jobs:
            yield job_name(job), job
