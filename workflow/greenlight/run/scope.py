"""What a run measures: its symbols by shard, its variants, and which of them are timed, repeated and compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from greenlight.api import Implementation, Model, ModelSettings
from greenlight.data.by_symbol import own_by_symbol
from greenlight.data.symbols import symbols_in
from greenlight.files import sha256_of
from greenlight.judgement.expected import ExpectedVariant, pairing
from greenlight.plugins import model_of, reference_of
from greenlight.settings import Settings
from greenlight.variants import Variant
from greenlight.watch.modes import precision_on, same_as


@dataclass(frozen=True)
class Scope:
    """What a run measures.

    Attributes:
        settings: the checked configuration.
        symbols: file of each symbol.
        device: the torch device that trials run on, and device_name: its description, from `greenlight.trials.gpu`.
        left_out: names of price files that are no symbols' and that no rule takes.
    """

    settings: Settings
    symbols: dict[str, Path]
    device: str
    device_name: str
    left_out: tuple[str, ...] = ()

    @cached_property
    def shards(self) -> list[tuple[str, ...]]:
        """Symbols by job, in alphabetical order."""
        names, size = sorted(self.symbols), self.settings.symbols_per_job
        return [tuple(names[start : start + size]) for start in range(0, len(names), size)]

    @cached_property
    def data_hashes(self) -> dict[str, str]:
        """Content hash of each symbol's file."""
        return {symbol: sha256_of(path)[:16] for symbol, path in sorted(self.symbols.items())}

    @cached_property
    def by_symbol(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By model and symbol of the run, the settings in which the symbol differs from the model's; UserError where a
        symbol, a setting or a value is not known.
        """
        models = {model: settings for model, settings in self.settings.models.items() if settings.by_symbol is not None}
        if not models:
            return {}
        data = self.settings.data
        known = list(symbols_in(Path(self.settings.data_folder), "all", data.names, data.largest_file_mib))
        found = {model: own_by_symbol(self.plugin(model), settings, known) for model, settings in models.items()}
        return {model: {s: own[s] for s in sorted(self.symbols) if s in own} for model, own in found.items()}

    @cached_property
    def variants(self) -> list[tuple[str, str]]:
        """(model, variant) of everything that is measured.

        A mode that is identical to another examined one on this device is not, unless the configuration says so.
        """
        every = self.settings.evaluation.measure_same
        return [
            (model, variant)
            for model, settings in self.settings.models.items()
            for variant in settings.variants
            if every or self._same_as(variant, settings.variants) is None
        ]

    @cached_property
    def timed(self) -> list[tuple[str, str]]:
        """(model, variant) of everything that is timed: the reference is, in the pairs of each of the others."""
        return [(model, variant) for model, variant in self.variants if variant != self.model(model).reference]

    @cached_property
    def called(self) -> list[tuple[str, str]]:
        """(model, variant) of everything that is called in other shapes or many times, where that is asked for."""
        return self.variants if self.settings.evaluation.call.asked else []

    @cached_property
    def model_names(self) -> list[str]:
        """The models that are examined."""
        return [model for model, _ in self.settings.models.items()]

    @cached_property
    def repeated(self) -> dict[tuple[str, str], int]:
        """Further processes that a (model, variant) needs beside those of the other stages."""
        missing = {}
        for model, variant in self.variants:
            timed = self.settings.timing.processes if (model, variant) in self.timed else 0
            called = int((model, variant) in self.called)
            own = len(self.shards) + 1 + called + timed + int(Variant.parse(variant).compiled)
            missing[model, variant] = self.settings.trials.repeats - own
        return {key: count for key, count in missing.items() if count > 0}

    @cached_property
    def partners(self) -> dict[str, dict[str, str]]:
        """By model, the variants that draw the same random numbers as another, each with that other.

        A model that draws none is not among them: further seeds say nothing new.
        """
        found: dict[str, dict[str, str]] = {}
        for model, settings in self.settings.models.items():
            if not self.plugin(model).forecast.random:
                continue
            known = {
                v: ExpectedVariant(
                    jobs={},
                    coupled_with_reference=self.draws_alike(model, v, settings.reference),
                    alone=self.plugin(model).draws_alone(settings, v),
                )
                for v in settings.variants
            }
            for variant in self.variants_of(model):
                if (partner := pairing(settings.reference, known, variant).partner) is not None:
                    found.setdefault(model, {})[variant] = partner
        return found

    def variants_of(self, model: str) -> list[str]:
        """The measured variants of a model."""
        return [variant for name, variant in self.variants if name == model]

    def model(self, model: str) -> ModelSettings:
        """Settings of a model."""
        settings: ModelSettings = getattr(self.settings.models, model)
        return settings

    def plugin(self, model: str) -> Model:
        """What a model's plug-in says of it."""
        return model_of(model, self.model(model).plugin)

    def reference(self, model: str) -> str:
        """Where a model's plug-in is."""
        return reference_of(model, self.model(model).plugin)

    def implementations(self, model: str, variants: Iterable[str] | None = None) -> dict[str, Implementation]:
        """The implementations of some variants of a model by name, or all that it has."""
        known = self.plugin(model).implementations_of(self.model(model))
        names = known if variants is None else dict.fromkeys(Variant.parse(v).implementation for v in variants)
        return {name: known[name] for name in sorted(names)}

    def independent(self, model: str, variant: str) -> str | None:
        """The variant that the reference is held to where it runs other people's packages; None for all others."""
        settings, name = self.model(model), self.plugin(model).independent
        own = self.implementations(model)[Variant.parse(variant).implementation]
        return f"{name}-eager" if name and variant == settings.reference and own.packages else None

    def missing(self, model: str) -> float:
        """Share of the rows of each context that are missing: 0 for a model that does not take such."""
        return self.settings.evaluation.call.missing if self.plugin(model).missing else 0.0

    def draws_alike(self, model: str, first: str, second: str) -> bool:
        """Whether two variants of a model draw the same random numbers for the same window and seed."""
        return self.plugin(model).draws_alike(self.model(model), first, second)

    def _same_as(self, variant: str, examined: Sequence[str]) -> str | None:
        """Another examined variant that this one is identical to on this device."""
        chosen = Variant.parse(variant)
        precision = precision_on(chosen.precision, self.device)
        same = same_as(chosen.mode, self.device) if chosen.compiled else None
        modes = [chosen.mode, *([same.partition(":")[0]] if same else [])]
        # The simplest first: what is named here must be measured itself.
        others = [str(Variant(chosen.implementation, mode, precision)) for mode in reversed(modes)]
        return next((other for other in others if other != variant and other in examined), None)
