"""The configuration: every key, its default, what it means, and errors that a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from greenlight.data.repair import RepairRules
from greenlight.errors import UserError
from greenlight.files import json_text
from greenlight.judgement.rules import Rules
from greenlight.plugins import draws_alike, known_variants
from greenlight.statistics.looks import confirming_pairs, needed_for_a_bound, rate_at
from greenlight.trials.device_settings import DeviceSettings
from greenlight.variants import Variant
from greenlight.weights import source_problem

# Keys that there were, and what to write in their place.
_GONE = {"dtype": "a precision is part of a variant's name now, such as static-default-bf16"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataSettings(_Section):
    """How price files are read."""

    repair: RepairRules = RepairRules()
    """What to do about each kind of problem in a price file; nothing is repaired unless a rule here says so."""


class EvaluationSettings(_Section):
    """What is forecast."""

    context_length: int = Field(default=96, ge=2)
    """Rows that a model sees."""
    horizon: int = Field(default=16, ge=1)
    """Rows that a model forecasts."""
    windows: int = Field(default=5, ge=1)
    """Windows of each symbol, cut from its end with targets that do not overlap."""
    samples: int = Field(default=20, ge=2)
    """Sample paths of each window."""
    windows_per_call: int = Field(default=2, ge=1)
    """Windows that a compiled variant forecasts in one call; the last call is filled up, so shapes stay the same."""
    measure_same: bool = False
    """Whether a mode that is identical to another one on this device (reduce-overhead without CUDA) is run too."""
    probe_windows: int = Field(default=4, ge=1)
    """Windows, each of another symbol where there are enough, whose numerics are compared with float64."""
    replicates: int = Field(default=8, ge=4)
    """Forecasts of each window, by the reference and by a variant that draws other random numbers, whose distributions
    are compared. Where they decide nothing, their number is doubled, at most until the last of `looks`."""
    replicate_windows: int = Field(default=30, ge=4)
    """Windows that are forecast so, at most."""
    looks: int = Field(default=5, ge=1, le=6)
    """How often replicates are looked at; the error rates are split over the looks. Replicates are those above, and
    forecasts with further seeds where the errors of a variant and its partner, with the same random numbers, decide
    nothing: twice as many seeds in all with each look."""
    extra_seconds: float = Field(default=20, ge=0)
    """Seconds that a variant may spend on further replicates of either kind; a doubling that does not fit is left."""


class TimingSettings(_Section):
    """How latency is measured."""

    processes: int = Field(default=2, ge=1)
    """Fresh processes; the first chooses the mode, the others confirm it."""
    pairs: int = Field(default=20, ge=3)
    """Pairs of one reference call and one call of the variant in each process, in random order."""
    control_pairs: int = Field(default=10, ge=3)
    """Pairs of the reference against itself, which show the machine's own noise."""
    looks: int = Field(default=3, ge=1, le=6)
    """How often pairs are looked at. Where they leave open whether a variant is slower, the last process doubles their
    number, at most until the last look; the error rates are split over the looks. 1: the planned pairs only."""
    extra_seconds: float = Field(default=20, ge=0)
    """Seconds that a variant may spend on further pairs; a doubling that does not fit is not begun."""
    fresh_compiles: bool = False
    """Whether each process after the first compiles anew from an empty cache; else all start from the filled one."""
    warm_up_calls: int = Field(default=3, ge=1)
    """Calls before the first timed one."""
    windows: int = Field(default=2, ge=1)
    """Windows in one timed call. Where it is evaluation.windows_per_call, a variant compiles for one shape only."""


class TrialSettings(_Section):
    """Limits of the child processes that run the models."""

    compile_seconds: float = Field(default=900, gt=0)
    """Time limit of a cold compile with its warm-up."""
    predict_seconds: float = Field(default=1800, gt=0)
    """Time limit of forecasting one shard of symbols."""
    probe_seconds: float = Field(default=900, gt=0)
    """Time limit of the numerics against float64."""
    repeat_seconds: float = Field(default=900, gt=0)
    """Time limit of one further process."""
    time_seconds: float = Field(default=900, gt=0)
    """Time limit of one timing process."""
    replicate_seconds: float = Field(default=900, gt=0)
    """Time limit of forecasting with further seeds, of one variant beside its partner."""
    repeats: int = Field(default=5, ge=1)
    """Fresh processes in which each variant must succeed, all of them. Compiling, forecasting (one a shard), probing
    and timing count; short further ones, of one forecast each, fill up what is missing."""
    memory_gib: float | None = Field(default=None, gt=0)
    """Host memory that a trial may use; null for no limit."""
    scratch_folder: str | None = Field(default=None, min_length=1)
    """Where a trial keeps its compile cache while it runs, such as $TMPDIR of a cluster's node; null: in results."""


class AcceptSettings(_Section):
    """Given with the target `accept`, such as --config accept='{reason: "new weights"}'."""

    reason: str | None = None
    """Why this run becomes the baseline; needed where it is forced."""
    who: str | None = None
    """Who accepts; git's user.name where it is not set."""
    force: bool = False
    """Accept a run whose evidence is incomplete or whose gate failed."""

    @model_validator(mode="after")
    def _forced_with_a_reason(self) -> AcceptSettings:
        if self.force and not (self.reason or "").strip():
            raise ValueError("accept.force needs accept.reason, one sentence")
        return self


class ModelSettings(_Section):
    """What every model has."""

    model: ClassVar[str]

    source: str = "embedded"
    """`embedded` (the small checkpoint that ships), a local folder, or a Hugging Face id such as owner/name."""
    revision: str | None = None
    """Commit of a Hugging Face id, 40 hexadecimal digits; needed there."""
    variants: tuple[str, ...]
    """Variants to examine, each <implementation>-<mode>, or <implementation>-<mode>-<precision> with a precision of
    tf32 (on a CUDA device; elsewhere it is float32) or bf16 where the implementation has it."""
    reference: str = "upstream-eager"
    """The variant that the others are compared with."""
    deployed: str | None = None
    """What production runs now: if it no longer passes, the gate fails even where another variant would."""

    @field_validator("variants")
    @classmethod
    def _variants_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = known_variants(cls.model)
        for name in names:
            if name not in known:
                raise ValueError(f"unknown variant {name!r}{_nearest(name, known)}; known are {', '.join(known)}")
        if len(set(names)) != len(names):
            raise ValueError(f"a variant is named twice in {', '.join(names)}")
        return names

    @model_validator(mode="after")
    def _reference_is_examined(self) -> ModelSettings:
        for key in ("reference", "deployed"):
            name = getattr(self, key)
            if name is not None and name not in self.variants:
                raise ValueError(f"{key} {name!r} is not among the variants {', '.join(self.variants)}")
        reference = Variant.parse(self.reference)
        if reference.compiled or reference.reduced:
            what = "is compiled" if reference.compiled else f"computes in {reference.precision}"
            raise ValueError(f"reference {self.reference!r} {what}; the reference must be an eager variant in float32")
        if problem := source_problem(self.source, self.revision):
            raise ValueError(f"source {problem}")
        return self

    @model_validator(mode="after")
    def _has_what_it_is_compared_with(self) -> ModelSettings:
        for name in self.variants:
            pair = Variant.parse(name).own_eager
            if pair not in self.variants and not draws_alike(self.model, name, self.reference):
                raise ValueError(
                    f"{name!r} draws other random numbers than the reference {self.reference!r}, so that its forecasts "
                    f"can be compared one by one with {pair!r} only; add {pair!r} to the variants"
                )
        return self

    def model_settings(self) -> dict[str, Any]:
        """The model's own settings, as `LoadOptions.settings` takes them."""
        shared = set(ModelSettings.model_fields)
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in shared}


class TotoSettings(ModelSettings):
    """Datadog's Toto."""

    model: ClassVar[str] = "toto"

    variants: tuple[str, ...] = ("upstream-eager", "upstream-default", "static-eager", "static-default")
    """Variants to examine, each <implementation>-<mode>."""
    samples_per_batch: int = Field(default=32, ge=1)
    """Samples that the published code decodes at once, lowered to a divisor of evaluation.samples."""


class KronosSettings(ModelSettings):
    """Kronos, model and tokenizer."""

    model: ClassVar[str] = "kronos"

    variants: tuple[str, ...] = ("upstream-eager", "static-eager", "static-default")
    """Variants to examine, each <implementation>-<mode>."""
    tokenizer: str = "embedded"
    """Where the tokenizer's weights are, as for source."""
    tokenizer_revision: str | None = None
    """Commit of the tokenizer's Hugging Face id."""
    published_code: str | None = None
    """A folder with the published code (model/kronos.py, model/module.py), whose loop then is `upstream`; it is run."""
    max_context: int = Field(default=512, ge=1)
    """Tokens that the model attends to; older ones are dropped."""
    temperature: float = Field(default=1.0, gt=0)
    """Divides the logits before sampling."""
    top_k: int = Field(default=0, ge=0)
    """Keep the k likeliest tokens; 0 keeps all. As published, top_p is not applied where this is set."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Keep the likeliest tokens up to this probability."""

    windows_per_batch: int | None = Field(default=None, ge=1)
    """The most windows that `static` forecasts at once; 8 where it is not set. On a GPU, set it to all."""
    series_per_batch: int | None = Field(default=None, ge=1)
    """The most sliding windows that `static` recomputes at once; where it is not set, 1 on a CPU and 16 elsewhere."""
    capacity: int | None = Field(default=None, ge=1)
    """Context rows that `static` reserves its cache for; as many as the first call needs where it is not set."""

    @model_validator(mode="after")
    def _tokenizer_is_pinned(self) -> KronosSettings:
        if problem := source_problem(self.tokenizer, self.tokenizer_revision):
            raise ValueError(f"tokenizer {problem}")
        return self

    def model_settings(self) -> dict[str, Any]:
        """As for every model; without what is not set and then has no effect on a forecast."""
        unset = {"published_code", "windows_per_batch", "series_per_batch", "capacity"}
        own = super().model_settings()
        return {key: value for key, value in own.items() if key not in unset or value is not None}


class Models(_Section):
    """The models to gate; leave one out, or set it to null, to skip it."""

    toto: TotoSettings | None = None
    """Datadog's Toto; null leaves it out."""
    kronos: KronosSettings | None = None
    """Kronos; null leaves it out."""

    @model_validator(mode="after")
    def _at_least_one(self) -> Models:
        if not dict(self.items()):
            raise ValueError("names no model; name at least one of toto, kronos")
        return self

    def items(self) -> Iterator[tuple[str, ModelSettings]]:
        """(name, settings) of each model that is to be gated."""
        for name in type(self).model_fields:
            if (settings := getattr(self, name)) is not None:
                yield name, settings


class Settings(_Section):
    """The whole configuration of a run."""

    data_folder: str = "trainingdata"
    """Folder of <SYMBOL>.csv price files."""
    results_folder: str = "results"
    """Folder for all output."""
    baselines_folder: str = "config/baselines"
    """Folder of the accepted evidence of earlier runs; kept in git."""
    symbols: Literal["all"] | tuple[str, ...] = "all"
    """`all`, or the names of the symbols to evaluate."""
    symbols_per_job: int = Field(default=100, ge=1)
    """Symbols that one job handles; a change in one symbol runs its job again."""
    seed: int = Field(default=20260101, ge=0)
    """Seed of every random number in a run."""
    threads: int = Field(default=1, ge=1)
    """Threads of torch in every trial; results and caches depend on it."""
    keep_trace: bool = False
    """Keep torch's structured trace (TORCH_TRACE) of every compile trial."""
    device: DeviceSettings = DeviceSettings()
    data: DataSettings = DataSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    timing: TimingSettings = TimingSettings()
    trials: TrialSettings = TrialSettings()
    models: Models
    rules: Rules = Rules()
    accept: AcceptSettings = AcceptSettings()

    @field_validator("symbols", mode="before")
    @classmethod
    def _symbols(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "all":
            return tuple(part.strip() for part in value.split(","))
        if isinstance(value, (list, tuple)) and not value:
            raise ValueError("names no symbol; write `all` or at least one name")
        return value

    @model_validator(mode="after")
    def _pairs_that_can_decide(self) -> Settings:
        for key in ("pairs", "control_pairs"):
            planned, needed = (self.timing.processes * getattr(self.timing, key), f"minimum_{key}")
            least = getattr(self.rules.speed, needed)
            if planned < least:
                raise ValueError(
                    f"timing.{key} in {self.timing.processes} processes are {planned}, and rules.speed.{needed} asks "
                    f"for {least}, so that no variant could pass; raise timing.{key} or timing.processes"
                )
        return self

    @model_validator(mode="after")
    def _pairs_that_can_confirm(self) -> Settings:
        timing, alpha = self.timing, self.rules.speed.alpha
        left = confirming_pairs(timing.pairs, timing.processes)
        needed = needed_for_a_bound(rate_at(alpha, 1, timing.looks))
        if left < needed:
            raise ValueError(
                f"timing.pairs {timing.pairs} in timing.processes {timing.processes} leave {left} pairs on which to "
                f"confirm the choice of a variant, and a bound at rules.speed.alpha {alpha:g} takes {needed}, so that "
                "none but the simplest could ever be chosen; raise timing.pairs or timing.processes"
            )
        return self


def load_settings(config: Mapping[str, Any], files: Sequence[str | Path]) -> Settings:
    """Check a configuration as Snakemake merged it.

    Args:
        config: the merged configuration, command line included.
        files: the files it came from, for messages.

    Raises:
        UserError: one message that lists every problem by key.
    """
    where = ", ".join(str(file) for file in files) or "the configuration"
    try:
        return Settings.model_validate(_with_null(dict(config)))
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise UserError(f"{where} (or --config): " + "\n  ".join(["", *lines] if len(lines) > 1 else lines)) from None


def _with_null(value: Any) -> Any:
    """The same with None for every value `null`: what stands on Snakemake's command line reaches us as words."""
    if isinstance(value, Mapping):
        return {key: None if entry == "null" else _with_null(entry) for key, entry in value.items()}
    return value


def _explain(problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the configuration"
    if problem["type"] == "extra_forbidden":
        name, known = str(problem["loc"][-1]), _keys_at(problem["loc"][:-1])
        told = _nearest(name, known) if name not in _GONE else f" ({_GONE[name]})"
        return f"{key}: unknown key{told}; known here are {', '.join(known)}. Correct or remove it."
    message = problem["msg"].removeprefix("Value error, ")
    found = problem.get("input")
    shown = "" if isinstance(found, (dict, BaseModel)) else f" (found {found!r})"
    return f"{key}: {message}{shown}"


def _keys_at(path: Sequence[Any]) -> list[str]:
    """Keys that the section at `path` knows."""
    section: type[BaseModel] = Settings
    for part in path:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        inner = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not inner:
            return []
        section = inner[0]
    return sorted(section.model_fields)


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def schema() -> dict[str, Any]:
    """The JSON schema of the configuration, as config/config.schema.json has it."""
    return Settings.model_json_schema()


if __name__ == "__main__":
    print(json_text(schema()), end="")
