"""The job descriptions: all that the result of a stage depends on, and nothing else.

A job is stale when its description has changed since it ran (`run/staleness.py`). Each description holds the
settings that the stage uses, content hashes of data and weights, the fingerprint of the code that it runs, versions,
device, and the keys of stages before it: the stage's row in `run/table.py` says which, and this says what they are
now. A record carries the description that it was made under, so that stale evidence is recognised wherever it comes
from.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from greenlight import provenance
from greenlight.code import Code, portable
from greenlight.data.returns import rows_for
from greenlight.measures.judged import errors_of
from greenlight.plugins import Reference
from greenlight.random_weights import folder_of
from greenlight.run.job import Job
from greenlight.run.modules import code_of
from greenlight.run.scope import Scope
from greenlight.run.table import ROWS, Jobs, Names, Stage
from greenlight.trials.call_settings import Shape
from greenlight.variants import Variant
from greenlight.weights import MODEL, checkpoint_folders, contents_of, golden_digest

# The rules that decide whether more pairs are measured.
SLOWDOWN = ("slower", "slower_shown", "alpha")
TAIL = ("slow_call", "slow_share", "alpha", "suspicion")
# Those that decide whether further seeds are.
LIMITS = ("margin", "alpha", "minimum_series", "minimum_units")


def once(method: Callable[..., Any]) -> Callable[..., Any]:
    """Remember a plan's answers: descriptions contain the keys of others, which contain those of others."""

    @functools.wraps(method)
    def remembered(self: Plan, *arguments: Any) -> Any:
        key = (method.__name__, *arguments)
        if key not in self.answers:
            self.answers[key] = method(self, *arguments)
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

    @cached_property
    def jobs(self) -> Jobs:
        """The jobs of the run, without their descriptions."""
        return Jobs(self)

    def all_jobs(self) -> Iterator[tuple[str, Job]]:
        """(name, description) of every job of the run, in the order of the workflow."""
        for name, (stage, own) in self.jobs.names.items():
            yield name, self.job(stage, *own)

    @once
    def upstream(self, name: str) -> list[str]:
        """Names of the jobs whose outputs a job reads."""
        stage, own = self.jobs.names[name]
        return self.jobs.related(stage, own, ROWS[stage].reads)

    @once
    def job(self, stage: str, *own: Any) -> Job:
        """The description of a job, such as that of `predict`, `toto`, `static-default` and 0."""
        row = ROWS[stage]
        names = dict(zip(row.per, own, strict=True))
        run = self._run(row, own)
        known = self._code(stage, names.get("model"), run)
        self.codes[(fingerprint := self._fingerprint(known))] = known
        job: Job = {"stage": stage, **names, "code": fingerprint}
        job |= self._variant(*own[:2]) if row.child and row.of_a_variant else {}
        job |= self._forecasting(names["model"], run) | self._of_symbols(row, names) if row.child else {}
        job |= {key: self._setting(place) for key, place in row.settings.items()}
        job |= {"seconds": getattr(self.settings.trials, f"{stage}_seconds")} if row.child else {}
        job |= {"versions": provenance.package_versions(row.packages)} if row.packages else {}
        job |= getattr(self, f"_{row.more}")(*own) if row.more else {}
        before = {name: self.key(name) for name in self.jobs.related(stage, own, row.keyed)}
        return job | ({"before": before} if before else {})

    @once
    def key(self, name: str) -> str:
        """Hash of a job's description, by its name."""
        stage, own = self.jobs.names[name]
        return provenance.digest(self.job(stage, *own))

    def _setting(self, place: str) -> Any:
        value = functools.reduce(getattr, place.split("."), self.settings)
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else value

    def _run(self, row: Stage, own: Names) -> tuple[str, ...]:
        """The variants that a job runs; none where it runs no model."""
        if not row.child:
            return ()
        if row.of_a_variant:
            beside = self.independent(*own[:2]) if row.name == "probe" else None
            return (*row.runs(own[1], self.model(own[0]).reference), *([beside] if beside else []))
        partners = self.partners[own[0]]
        return tuple(sorted({*partners, *partners.values()}))

    @once
    def _code(self, stage: str, model: str | None, run: tuple[str, ...]) -> Code:
        if not run or model is None:
            return Code(ROWS[stage].modules)
        plugin = Reference.parse(self.reference(model), model)
        every, own = self.plugin(model).implementations, self.implementations(model, run)
        return code_of(ROWS[stage].modules, plugin, [*every.values(), *own.values()], own.values())

    @once
    def contents(self, code: Code) -> dict[str, str]:
        """Hash of every module that a job runs, and of every file of other people's code."""
        return code.contents(self.packages)

    @once
    def _fingerprint(self, code: Code) -> str:
        return provenance.digest(self.contents(code))

    def modules(self, job: Job) -> dict[str, str]:
        """The contents of a job's code."""
        contents: dict[str, str] = self.contents(self.codes[job["code"]])
        return contents

    def _of_symbols(self, row: Stage, names: dict[str, Any]) -> Job:
        """Settings that the symbols have of their own whose prices a job reads."""
        shard = names.get("shard", row.shard)
        read = self.shards[shard] if shard is not None else () if row.of_a_variant else self.symbols
        own = self.by_symbol.get(names["model"], {})
        return {"by_symbol": {symbol: own[symbol] for symbol in sorted(read) if symbol in own}}

    def _variant(self, model: str, variant: str) -> Job:
        chosen = Variant.parse(variant)
        parts = {"implementation": chosen.implementation, "mode": chosen.mode, "precision": chosen.precision}
        copies = self.implementations(model, [variant])[chosen.implementation].copies
        return {**parts, "copies": copies, "reference": self.model(model).reference}

    def _forecasting(self, model: str, run: Iterable[str]) -> Job:
        """What forecasts of some variants depend on, whatever they are made for."""
        settings, shared, plugin = self.model(model), self.settings, self.plugin(model)
        every, known = plugin.implementations_of(settings), self.implementations(model, run)
        return {
            "plugin": self.reference(model),
            "targets": {name: entry.target for name, entry in known.items()},
            "packages": sorted({name for entry in known.values() for name in entry.packages}),
            "folders_of_code": {key: folder for entry in known.values() for key, folder in entry.folders.items()},
            "truth": dict(plugin.truth),
            "levels": list(plugin.forecast.levels),
            "random": plugin.forecast.random,
            "crossing": plugin.forecast.crossing,
            "checkpoints": self._contents_of_checkpoints(model),
            "settings": {name: own for name, own in settings.own().items() if name not in every or name in known},
            "seed": shared.seed,
            "threads": shared.threads,
            "torch_state": shared.evaluation.call.process.beside_precision(),
            "device": self.device,
            "device_name": self.device_name,
            "context_length": shared.evaluation.context_length,
            "horizon": shared.evaluation.horizon,
            "target": shared.evaluation.call.target,
            "input": shared.evaluation.call.input,
            "missing": self.missing(model),
            "samples": shared.evaluation.samples,
            "memory_gib": shared.trials.memory_gib,
            "environment": dict(shared.trials.environment),
            "versions": provenance.package_versions(provenance.TORCH_PACKAGES + plugin.distributions),
        }

    @once
    def _contents_of_checkpoints(self, model: str) -> dict[str, dict[str, str]]:
        """Hash of each file of each checkpoint of a model, by role."""
        plugin, random = self.plugin(model), self._random_weights(model)
        made = {role: [str(folder_of(name)), None] for role, name in random.items()}
        folders = checkpoint_folders(model, plugin.sources_of(self.model(model)) | made, plugin.checkpoints)
        return {role: contents_of(folder) for role, folder in folders.items()}

    @once
    def _random_weights(self, model: str) -> dict[str, str]:
        """Name of each checkpoint with random weights, by role; it is made if it is not there."""
        plugin = self.plugin(model)
        return {
            role: plugin.random_weights[role].made(source, f"models.{model}.{'source' if role == MODEL else role}")
            for role, source in plugin.random_sources(self.model(model)).items()
        }

    # What rows call `more`: parts of a description that are not a setting as it stands.

    def _prices(self, shard: int) -> Job:
        evaluation, data = self.settings.evaluation, self.settings.data

        def options(symbol: str) -> Job:
            return data.options_for(symbol).model_dump(mode="json", exclude_defaults=True)

        shared = options("")  # of all that have none of their own, which may be thousands
        own = {symbol: options(symbol) if symbol in data.symbols else shared for symbol in self.shards[shard]}
        return {
            "symbols": {symbol: self.data_hashes[symbol] for symbol in self.shards[shard]},
            "options": own,
            "minimum_rows": rows_for(evaluation.context_length, evaluation.call.input) + evaluation.horizon,
        }

    def _checkpoints(self, model: str) -> Job:
        plugin = self.plugin(model)
        # Where the checkpoints lie that `embedded` stands for, by role.
        package = Reference.parse(self.reference(model), model).module.split(".")[0]
        return {
            "plugin": self.reference(model),
            "sources": plugin.sources_of(self.model(model)),
            "random_weights": self._random_weights(model),
            "embedded": {role: path and portable(path, package) for role, path in plugin.checkpoints.items()},
            "checkpoints": self._contents_of_checkpoints(model),
        }

    def _compiler(self, model: str, variant: str) -> Job:
        return {"compiler": provenance.compiler()}

    def _symbols_of(self, model: str, variant: str, shard: int) -> Job:
        # No other variant draws the same numbers, so that only it can tell whether a forecast depends on its call.
        alone = variant != self.model(model).reference and variant not in self.partners.get(model, {})
        return {"symbols": list(self.shards[shard]), "again": alone and self.plugin(model).forecast.random}

    def _call(self, model: str, variant: str) -> Job:
        chosen, reference = Variant.parse(variant), self.model(model).reference
        alike = self._alike_to_reference(model, variant)
        own_eager = str(Variant(chosen.implementation, "eager", chosen.precision))
        alone = self.plugin(model).draws_alone(self.model(model), variant)
        eager = own_eager if chosen.compiled else reference if alike and not chosen.reduced else None
        return {
            **self._asked_of_calls(),
            "own_shape": list(self._own_shape()),
            # Whose forecasts its own are to be, in each shape: those of the same code without torch.compile.
            "eager": None if alone else eager,
            "tolerance": self._tolerance(variant),
        }

    def _own_shape(self) -> Shape:
        own = self.settings.evaluation
        return Shape(own.context_length, own.horizon, own.windows_per_call, own.samples)

    def _asked_of_calls(self) -> Job:
        call = self.settings.evaluation.call
        shapes = [list(shape) for shape in call.shapes.every(self._own_shape())]
        return {"shapes": shapes, "calls": call.calls}

    def _together(self, model: str, variant: str) -> Job | None:
        """What is asked of calls by several threads; None where there are none."""
        threads, name = self.settings.evaluation.call.concurrency, Variant.parse(variant).implementation
        shares = self.implementations(model, [variant])[name].shares_generator
        known = {"threads": threads, "shares_generator": shares, "tolerance": self._tolerance(variant)}
        return known if threads > 1 else None

    def _probed(self, model: str, variant: str) -> Job:
        longest = self.plugin(model).longest_context
        own = {"draws": self._draws(model, variant), "golden": self._golden(model, variant)}
        own |= {"together": self._together(model, variant)}
        return own | {"longest_context": longest, "independent": self.independent(model, variant)}

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
        own = {name: getattr(self.settings.evaluation, name) for name in names}
        accuracy = self.settings.rules.accuracy
        limits = {"limit": accuracy.draws_difference, "path_limits": accuracy.path_limits()}
        return own | limits | {"alpha": accuracy.alpha, "alarm": accuracy.alarm}

    def _further(self, model: str, variant: str) -> Job:
        return {"trials": self.repeated[model, variant]}

    def _slowdown(self, model: str, variant: str) -> Job:
        rules = self.settings.rules.speed
        names = {"slowdown": SLOWDOWN, "tail": TAIL}
        own = {key: {name: getattr(rules, name) for name in own} for key, own in names.items()}
        return own | {"alike": self._alike_to_reference(model, variant), "tolerance": self._tolerance(variant)}

    def _alike_to_reference(self, model: str, variant: str) -> bool:
        """Whether a variant's sample paths are to be the reference's, and it is not the reference."""
        reference = self.model(model).reference
        return variant != reference and self.draws_alike(model, variant, reference)

    def _tolerance(self, variant: str) -> float:
        """From which share of the band on a path is another."""
        accuracy = self.settings.rules.accuracy
        return accuracy.reduced_window_difference if Variant.parse(variant).reduced else accuracy.window_difference

    def _scored(self, model: str) -> Job:
        levels = list(self.plugin(model).forecast.levels)
        own = {"variants": self.variants_of(model), "symbols": sorted(self.symbols), "levels": levels}
        call = self.settings.evaluation.call
        return own | {"target": call.target, "input": call.input, "point": call.point_forecast}

    def _partnered(self, model: str) -> Job:
        limits = {name: getattr(self.settings.rules.accuracy, name) for name in LIMITS}
        errors = errors_of(self.settings.evaluation.call.input)
        return {
            "partners": self.partners[model],
            "point": self.settings.evaluation.call.point_forecast,
            "symbols": sorted(self.symbols),
            "shards": len(self.shards),
            "limits": limits | {"looks": self.settings.evaluation.looks, "errors": list(errors)},
        }

    def _expected(self) -> Job:
        return {
            "models": {
                model: {
                    "reference": s.reference,
                    "deployed": s.deployed,
                    "variants": list(s.variants),
                    "levels": list(self.plugin(model).forecast.levels),
                    "random": self.plugin(model).forecast.random,
                    "crossing": self.plugin(model).forecast.crossing,
                    "checkpoints": self._contents_of_checkpoints(model),
                    "random_weights": self.plugin(model).random_sources(s),
                    "settings": s.own(),
                    "by_symbol": self.by_symbol.get(model, {}),
                    "missing": self.missing(model),
                    "same_as": {v: self._same_as(v, s.variants) for v in s.variants},
                    "draws_as_reference": {v: self.draws_alike(model, v, s.reference) for v in s.variants},
                    "alone": {v: self.plugin(model).draws_alone(s, v) for v in s.variants},
                    "paired": list(self.partners.get(model, {})),
                    "repeats": {v: self.repeated.get((model, v), 0) for v in self.variants_of(model)},
                    "golden": {v: self._golden(model, v) is not None for v in self.variants_of(model)},
                    "beyond": bool(self.plugin(model).longest_context),
                    "independent": self.independent(model, s.reference),
                    "drawn": {v: self._draws(model, v) is not None for v in self.variants_of(model)},
                }
                for model, s in self.settings.models.items()
            },
            "called": self._asked_of_calls(),
            "threads_of_calls": self.settings.evaluation.call.concurrency,
            "shards": [list(shard) for shard in self.shards],
            "data": self.data_hashes,
            "device": self.device,
            "device_name": self.device_name,
        }

    def _baselines(self) -> Job:
        return {"baselines": provenance.tree_digest(Path(self.settings.baselines_folder))}

    def _judging(self) -> Job:
        known = {model: self.plugin(model).implementations_of(self.model(model)) for model in self.model_names}
        published = {model: sorted(name for name in own if own[name].published) for model, own in known.items()}
        return self._baselines() | {"published": published, "environment": dict(self.settings.trials.environment)}

    def _templates(self) -> Job:
        templates = provenance.tree_digest(Path(__file__).parents[1] / "report" / "templates", "report*")
        return {"templates": templates, "left_out": list(self.left_out)}
