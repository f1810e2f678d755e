"""All that the author of a model reads: what a plug-in says of a model, and what its forecasters do.

A plug-in is a `Model`. An installed package offers it by the entry-point group `greenlight.models`; a file, by
`plugin: path/to/file.py:NAME` under `models.<name>` in the configuration. It imports no torch: it names its forecasters
by dotted paths, which are imported in trials. docs/plugins.md walks through a whole one.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from greenlight.code import package_differences
from greenlight.data.given import called_by_settings, given_returns
from greenlight.data.returns import AS_PRICES, INPUTS
from greenlight.data.windows import CLOSE, FEATURES, PRICES, Window, same_shape, window_seed
from greenlight.errors import MissingWeights, UserError, nearest
from greenlight.own_graphs import OWN_CUDA_GRAPHS, own_cuda_graph_ran
from greenlight.process import ProcessSettings, Switch, stated_process
from greenlight.provenance import package_versions, processor_name
from greenlight.random_weights import PREFIX, RandomWeights
from greenlight.variants import MODES, ROUNDOFF, WEIGHT_FORMATS, Variant, as_implemented, shell_variable
from greenlight.weights import (
    CONFIG,
    MODEL,
    WEIGHTS,
    check_keys,
    load_into,
    read_config,
    read_weights,
    resolve_checkpoint,
    source_problem,
    weights_hash,
)

__all__ = [
    "CLOSE", "CONFIG", "DECILES", "FEATURES", "INPUTS", "MODES", "OWN_CUDA_GRAPHS", "PRICES", "ROUNDOFF", "WEIGHTS",
    "WEIGHT_FORMATS", "Forecast", "Forecaster", "Implementation", "LoadOptions", "MissingWeights", "Model",
    "ModelSettings", "ProcessSettings", "RandomWeights", "Switch", "UserError", "Window", "called_by_settings",
    "check_keys", "given_returns", "load_into", "own_cuda_graph_ran", "package_differences", "package_versions",
    "processor_name", "read_config", "read_weights", "resolve_checkpoint", "same_shape", "shell_variable",
    "stated_process", "weights_hash", "window_seed",
]  # fmt: skip

IMPLEMENTATION_NAME = re.compile(r"[a-z][a-z0-9-]*")
DECILES = tuple(round(0.1 * number, 1) for number in range(1, 10))
"""Levels that the quantiles of a forecast must include: accuracy is measured at them."""


class ModelSettings(BaseModel):
    """What every model has under `models.<name>`. A plug-in adds its own keys in a subclass, each with a docstring."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    plugin: str | None = None
    """Where the plug-in is, `path/to/file.py:NAME`; null: an installed package brings it."""
    source: str = "embedded"
    """`embedded` (the small checkpoint that ships), a local folder, a Hugging Face id such as owner/name, or
    `random:SIZE`, seeded random weights of a size that the plug-in knows, which are never deployed."""
    revision: str | None = None
    """Commit of a Hugging Face id, 40 hexadecimal digits; needed there."""
    variants: tuple[str, ...]
    """Variants to examine, each <implementation>-<mode>, or <implementation>-<mode>-<precision> with a precision of
    tf32 (on a CUDA device; elsewhere it is float32), bf16 or fp16 where the implementation has it, or of a process
    that calls it: autocast-fp16, autocast-bf16, matmul-high, matmul-medium (`evaluation.call.process`)."""
    reference: str = "upstream-eager"
    """The variant that the others are compared with."""
    by_symbol: str | dict[str, dict[str, Any]] | None = None
    """Settings that differ by symbol, where the plug-in has such: a CSV or YAML file, or {GOOG: {temperature: 0.8}}."""
    deployed: str | None = None
    """What production runs now: if it no longer passes, the gate fails even where another variant would."""

    def own(self) -> dict[str, Any]:
        """The model's own settings as plain values, as `LoadOptions.settings` takes them."""
        # Copies of code, too, are no settings: each is known by its content where it runs.
        shared = {*ModelSettings.model_fields, "code"}
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in shared}


@dataclass(frozen=True)
class Forecast:
    """What a model's forecasts are: sample paths, or quantiles.

    Attributes:
        levels: levels of the quantiles, ascending, DECILES among them; empty for sample paths.
        random: whether a forecast depends on random numbers. Checks that ask for another seed are not applicable to a
            model whose forecasts do not.
        crossing: whether quantiles may cross, as those of a model that predicts each by itself do. Where they must not,
            a forecast whose quantiles cross is a failed one.
    """

    levels: tuple[float, ...] = ()
    random: bool = True
    crossing: bool = False

    def __post_init__(self) -> None:
        if not self.levels:
            return
        if list(self.levels) != sorted(set(self.levels)) or not 0 < self.levels[0] < self.levels[-1] < 1:
            raise ValueError(f"levels of quantiles must ascend between 0 and 1, found {self.levels}")
        if absent := [level for level in DECILES if level not in self.levels]:
            raise ValueError(f"levels of quantiles must include the deciles; {absent} are missing")

    def rows(self, samples: int) -> int:
        """Rows of a window's forecast: its sample paths, or its quantiles."""
        return len(self.levels) or samples


@dataclass(frozen=True)
class Implementation:
    """How a model's mathematics is executed.

    Attributes:
        target: dotted path of its `Forecaster`, `package.module:Class`. Of a plug-in that is a file, `module:Class` is
            of a file beside it, and `Class` of the file itself.
        modes: torch.compile's modes that it has, `eager` among them.
        precisions: what it computes in beside float32: `tf32`, `bf16`, `fp16`.
        own_draws: whether it draws from the same distributions as the others but in an order of its own, so that
            forecasts with one seed can't be compared number by number.
        shares_generator: whether it draws from torch's own generator of the process, which all threads share, so that
            what threads draw beside each other depends on their turns. Their forecasts are then compared as draws from
            one distribution, and their numerics exactly.
        tokens: whether it draws tokens, of which rounding turns one into another: in a reduced precision its forecasts
            are no longer those in float32 number by number, and are compared as draws from one distribution.
        published: whether it is the published code, or the user's own copy of it: what production's loaders run, and
            compile by their own switches.
        copies: name of the implementation whose code it is an edited copy of, and whose results it must give; empty if
            it is none. A copy can't be the reference.
        packages: other people's packages that it runs, as they are imported (`toto`, `gluonts.torch`): the contents
            of their files, wherever they lie, are part of what its results depend on.
        folders: folders of code that it runs, by the configuration's key that names them; known by content, too.
    """

    target: str
    modes: tuple[str, ...] = MODES
    precisions: tuple[str, ...] = ()
    own_draws: bool = False
    shares_generator: bool = False
    tokens: bool = False
    published: bool = False
    copies: str = ""
    packages: tuple[str, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Model:
    """A model as the gate sees it. A plug-in is one of these, or of a subclass.

    Attributes:
        name: its key under `models` in the configuration: lower-case letters, digits and hyphens.
        settings: the class of its settings.
        implementations: by name.
        forecast: what its forecasts are.
        checkpoints: by role, the folder that the source `embedded` stands for, or None. The role `model` has the
            settings `source` and `revision`; any other role, such as `tokenizer`, the settings `tokenizer` and
            `tokenizer_revision`. Empty for a model without weights.
        random_weights: by role, which checkpoints with random weights can be made: `source: random:base`.
        distributions: names of installed packages whose versions are part of what its results depend on.
        truth: settings that the reference in float64 is loaded with where it is the truth for other implementations.
        independent: name of an implementation that shares no code with the published one and gives its teacher-forced
            values: a reference that runs other people's packages is held to it. Empty where there is none.
        longest_context: name of the setting that says how many rows the model attends to, older ones being dropped;
            numerics are then compared beyond it too. It must take any number from the horizon on. Empty for none.
        targets: the prices that its forecasters can be asked for, of open, high, low and close: `Window.column` says
            which is.
        missing: whether a context may have missing values, NaN in any of its columns.
        by_symbol: names of settings that may differ by symbol; see `Forecaster.with_settings`.
        inputs: what its forecasters can be given in their place: `prices`, `returns`, `log-returns`. Returns may be
            negative, and only sample paths of them imply prices.
    """

    name: str
    settings: type[ModelSettings]
    implementations: Mapping[str, Implementation]
    forecast: Forecast = Forecast()
    checkpoints: Mapping[str, Path | None] = field(default_factory=lambda: {MODEL: None})
    random_weights: Mapping[str, RandomWeights] = field(default_factory=dict)
    distributions: tuple[str, ...] = ()
    truth: Mapping[str, Any] = field(default_factory=dict)
    independent: str = ""
    longest_context: str = ""
    targets: tuple[str, ...] = ("close",)
    missing: bool = False
    by_symbol: tuple[str, ...] = ()
    inputs: tuple[str, ...] = (AS_PRICES,)

    def implementations_of(self, settings: ModelSettings) -> Mapping[str, Implementation]:
        """The implementations under some settings, which may name copies of code. Overridden where they do."""
        return self.implementations

    def variants_of(self, settings: ModelSettings) -> list[str]:
        """Every variant under some settings, float32 first, in the order of MODES."""
        return [
            str(Variant(name, mode, precision))
            for name, entry in self.implementations_of(settings).items()
            for precision in ("float32", *entry.precisions)
            for mode in MODES
            if mode in entry.modes
        ]

    def draws_alike(self, settings: ModelSettings, first: str, second: str) -> bool:
        """Whether two variants draw the same random numbers for the same window and seed."""
        names = {Variant.parse(variant).implementation for variant in (first, second)}
        known = self.implementations_of(settings)
        if first != second and any(self.draws_alone(settings, variant) for variant in (first, second)):
            return False
        return not self.forecast.random or len(names) == 1 or not any(known[name].own_draws for name in names)

    def draws_alone(self, settings: ModelSettings, variant: str) -> bool:
        """Whether no other variant draws the same, because rounding turns tokens into others."""
        chosen = Variant.parse(variant)
        known = self.implementations_of(settings)[chosen.implementation]
        return self.forecast.random and known.tokens and chosen.reduced

    def sources_of(self, settings: ModelSettings) -> dict[str, list[str | None]]:
        """[source, revision] of each checkpoint by its role."""
        keys = {
            role: ("source", "revision") if role == MODEL else (role, f"{role}_revision") for role in self.checkpoints
        }
        return {role: [getattr(settings, key) for key in pair] for role, pair in keys.items()}

    def random_sources(self, settings: ModelSettings) -> dict[str, str]:
        """The source of each checkpoint whose weights are random, by its role."""
        return {
            role: str(source)
            for role, (source, _) in self.sources_of(settings).items()
            if str(source).startswith(PREFIX)
        }

    def problem_with(self, settings: ModelSettings) -> tuple[str, str] | None:
        """Why settings that are well formed can't be meant: a key, and a sentence; None where they can."""
        known, chosen = self.variants_of(settings), settings.variants
        for name in chosen:
            if as_implemented(name) not in known:
                return "variants", f"unknown variant {name!r}{nearest(name, known)}; known are {', '.join(known)}"
        if len(set(chosen)) != len(chosen):
            return "variants", f"a variant is named twice in {', '.join(chosen)}"
        for key in ("reference", "deployed"):
            name = getattr(settings, key)
            if name is not None and name not in chosen:
                return key, f"{name!r} is not among the variants {', '.join(chosen)}"
        for name, entry in self.implementations_of(settings).items():
            if not IMPLEMENTATION_NAME.fullmatch(name) or (entry.copies and name in self.implementations):
                return (
                    "code",
                    f"{name!r} can't be the name of a copy; expected another, of letters, digits, hyphens",
                )
        reference = Variant.parse(settings.reference)
        if copied := self.implementations_of(settings)[reference.implementation].copies:
            return "reference", (
                f"{str(reference)!r} runs a copy of {copied!r}, which is what the copy is to be held to; "
                f"the reference must be another, such as {copied}-eager"
            )
        if reference.compiled or reference.reduced:
            what = "is compiled" if reference.compiled else f"computes in {reference.precision}"
            return "reference", f"{str(reference)!r} {what}; the reference must be an eager variant in float32"
        for name in chosen:
            pair = Variant.parse(name).own_eager
            alone = self.draws_alone(settings, name)
            if pair not in chosen and not alone and not self.draws_alike(settings, name, settings.reference):
                return "variants", (
                    f"{name!r} draws other random numbers than the reference {settings.reference!r}, so that its "
                    f"forecasts can be compared one by one with {pair!r} only; add {pair!r} to the variants"
                )
        if MODEL not in self.checkpoints and (settings.source, settings.revision) != ("embedded", None):
            return "source", f"the model has no weights, but its source is {settings.source!r}; leave it out"
        for role, (source, revision) in self.sources_of(settings).items():
            random = self.random_weights.get(role, RandomWeights("", {}))
            named = str(source).startswith(PREFIX)
            if problem := (random.problem_with if named else source_problem)(str(source), revision):
                return "source" if role == MODEL else role, problem
        return None


@dataclass(frozen=True)
class LoadOptions:
    """How a forecaster is loaded.

    Attributes:
        source: where the weights are: `embedded`, a local folder, or a Hugging Face id (`owner/name`). In a trial,
            always the absolute folder; the settings name the folders of further checkpoints by their role.
        revision: commit of a Hugging Face id; None for a folder.
        device: a torch device, such as `cpu` or `cuda:0`.
        dtype: `float32`, `float64`, `bfloat16`; the reference for numerics is float64.
        settings: the model's own settings from the configuration, already validated (`ModelSettings.own`).
        code: folder of the copy that the implementation runs; empty where it is none.
    """

    source: str
    revision: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    settings: dict[str, Any] = field(default_factory=dict)
    code: str = ""


class Forecaster(ABC):
    """One implementation of one model with its weights loaded, ready to forecast in eager mode.

    The results for a window do not depend on the other windows of the call, nor on their order: random numbers
    come from `window_seed(seed, window)`, and are drawn outside compiled regions (or with the same stream in all
    modes), so that all modes of an implementation draw the same numbers.

    Attributes:
        scales_with_prices: whether prices in another unit give the same forecast in that unit (the model normalises).
        shifts_with_prices: whether prices that are all higher by an amount give forecasts that are higher by it.
    """

    scales_with_prices: bool = True
    shifts_with_prices: bool = True

    @classmethod
    @abstractmethod
    def load(cls, options: LoadOptions) -> Forecaster:
        """Load the weights; UserError where files are missing, do not fit or can't be fetched."""

    @abstractmethod
    def compile(self, mode: str) -> None:
        """Have torch.compile take over the parts that are called by `forecast`; mode is one of MODES but eager.

        Only wraps: the compilation itself happens at the first calls.
        """

    @abstractmethod
    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """Sampled paths of the price in `Window.column`: [windows, samples, horizon] float64 in the symbols' own units.

        Of a model whose `Forecast` has levels: its quantiles, [windows, levels, horizon], from the lowest level;
        `samples` then says nothing. All windows share context length and horizon. `future` of a window is never read.
        """

    @abstractmethod
    def probe(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        """Teacher-forced numerics, before any sampling, through the same (compiled) code that `forecast` runs.

        Each quantity is an array [windows, steps, ...]: step 0 is the prefill, each later step a cached decode
        step that was fed the truth (`future`). All implementations of a model return the same names and shapes.
        """

    def with_settings(self, settings: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Forecasts within are made with other values of some of `Model.by_symbol`; nothing may compile anew for it."""
        raise UserError(f"{type(self).__name__} has no method with_settings, which Model.by_symbol asks for; write it")

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Facts about the loaded model, such as {"parameters": 151000000}."""

    def changes(self) -> dict[str, str]:
        """What of torch it changes or goes round, beyond `torch.compile(mode=…)`: a sentence each by a short name.

        Options of a compiler, parts of torch that are replaced in the process, kernels and CUDA graphs of its own. It
        stands in the record, the report and what is deployed.
        """
        return {}
