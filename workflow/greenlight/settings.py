"""The configuration: every key, its default, what it means, and errors that a user can act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from greenlight.api import Model, ModelSettings
from greenlight.data.options import ReadingOptions
from greenlight.data.repair import RepairRules
from greenlight.data.windows import rows_missing
from greenlight.errors import UserError, nearest
from greenlight.files import json_text
from greenlight.judgement.rules import Rules
from greenlight.layout import check_apart, checked_folder
from greenlight.plugins import installed_plugins, model_of
from greenlight.statistics.looks import confirming_pairs, needed_for_a_bound, rate_at
from greenlight.target_settings import AcceptSettings, BisectSettings, CompareSettings, Section, SweepSettings
from greenlight.trials.call_settings import CallSettings, as_called, check_asked, check_one_precision, check_trim
from greenlight.trials.device_settings import DeviceSettings
from greenlight.trials.environment import problem_with

# Keys that there were, and what to write in their place.
_GONE = {
    "published_code": "write code: {fork: folder}; the copy is a further implementation then, such as fork-eager",
    "dtype": "a precision is part of a variant's name now, such as static-default-bf16",
}

_DAYS = 30 * 86400.0  # the longest that a limit of seconds may be


class DataSettings(ReadingOptions):
    """How price files are read."""

    names: Literal["leave-out", "first-word"] | dict[str, str] = "leave-out"
    """What is done about a price file whose name is no symbol, such as `AAPL Historical Data.csv` or `^GSPC.csv`: it is
    left out and named, taken by its first word, or by a list of its own: `{"^GSPC": GSPC}`."""
    symbols: dict[str, ReadingOptions] = Field(default_factory=dict)
    """Keys for one symbol: `{BMW: {dates: day-first}}`."""
    repair: RepairRules = RepairRules()
    """What to do about each kind of problem in a price file; nothing is repaired unless a rule here says so."""

    def options_for(self, symbol: str) -> ReadingOptions:
        """How the file of a symbol is read: its own keys, then those of all."""
        own = self.symbols.get(symbol)
        shared = {name: getattr(self, name) for name in ReadingOptions.model_fields}
        return ReadingOptions(**shared | ({name: getattr(own, name) for name in own.model_fields_set} if own else {}))


class EvaluationSettings(Section):
    """What is forecast."""

    context_length: int = Field(default=96, ge=2, le=1_000_000)
    """Rows that a model sees."""
    horizon: int = Field(default=16, ge=1, le=100_000)
    """Rows that a model forecasts."""
    windows: int = Field(default=5, ge=1, le=100_000)
    """Windows of each symbol, cut from its end with targets that do not overlap."""
    samples: int = Field(default=20, ge=2, le=100_000)
    """Sample paths of each window."""
    windows_per_call: int = Field(default=2, ge=1, le=100_000)
    """Windows that a compiled variant forecasts in one call; the last call is filled up, so shapes stay the same."""
    measure_same: bool = False
    """Whether a mode that is identical to another one on this device (reduce-overhead without CUDA) is run too."""
    probe_windows: int = Field(default=4, ge=1, le=10_000)
    """Windows, each of another symbol where there are enough, whose numerics are compared with float64."""
    replicates: int = Field(default=8, ge=4, le=10_000)
    """Forecasts of each window, by the reference and by a variant that draws other random numbers, whose distributions
    are compared. Where they decide nothing, their number is doubled, at most until the last of `looks`."""
    replicate_windows: int = Field(default=30, ge=4, le=100_000)
    """Windows that are forecast so, at most."""
    looks: int = Field(default=5, ge=1, le=6)
    """How often replicates are looked at; the error rates are split over the looks. Replicates are those above, and
    forecasts with further seeds where the errors of a variant and its partner, with the same random numbers, decide
    nothing: twice as many seeds in all with each look."""
    extra_seconds: float = Field(default=20, ge=0, le=_DAYS)
    """Seconds that a variant may spend on further replicates of either kind; a doubling that does not fit is left."""
    call: CallSettings = CallSettings()


class TimingSettings(Section):
    """How latency is measured."""

    processes: int = Field(default=2, ge=1, le=1_000)
    """Fresh processes; the first chooses the mode, the others confirm it."""
    pairs: int = Field(default=20, ge=3, le=100_000)
    """Pairs of one reference call and one call of the variant in each process, in random order."""
    control_pairs: int = Field(default=10, ge=3, le=100_000)
    """Pairs of the reference against itself, which show the machine's own noise."""
    looks: int = Field(default=3, ge=1, le=6)
    """How often pairs are looked at. Where they leave open whether a variant is slower, the last process doubles their
    number, at most until the last look; the error rates are split over the looks. 1: the planned pairs only."""
    extra_seconds: float = Field(default=20, ge=0, le=_DAYS)
    """Seconds that a variant may spend on further pairs, and on calls alone; a doubling that does not fit is not begun.
    Calls alone that look slow are made once more, which takes as long again."""
    steady_calls: int = Field(default=160, ge=0, le=100_000)
    """Calls of the variant alone, in the last process, which bound the share of slow calls: as many as do where none is
    slow, else so many, beside work of the same length. Where not even those fit into extra_seconds, as many as there
    are in pairs."""
    fresh_compiles: bool = False
    """Whether each process after the first compiles anew from an empty cache; else all start from the filled one."""
    warm_up_calls: int = Field(default=3, ge=1, le=10_000)
    """Calls before the first timed one."""
    windows: int = Field(default=2, ge=1, le=100_000)
    """Windows in one timed call. Where it is evaluation.windows_per_call, a variant compiles for one shape only."""


class TrialSettings(Section):
    """Limits of the child processes that run the models."""

    compile_seconds: float = Field(default=900, gt=0, le=_DAYS)
    """Time limit of a cold compile with its warm-up."""
    predict_seconds: float = Field(default=1800, gt=0, le=_DAYS)
    """Time limit of forecasting one shard of symbols."""
    probe_seconds: float = Field(default=900, gt=0, le=_DAYS)
    """Time limit of the numerics against float64."""
    call_seconds: float = Field(default=1800, gt=0, le=_DAYS)
    """Time limit of calling a variant in other shapes and many times: all shapes and calls together."""
    repeat_seconds: float = Field(default=900, gt=0, le=_DAYS)
    """Time limit of one further process."""
    time_seconds: float = Field(default=900, gt=0, le=_DAYS)
    """Time limit of one timing process."""
    replicate_seconds: float = Field(default=900, gt=0, le=_DAYS)
    """Time limit of forecasting with further seeds, of one variant beside its partner."""
    repeats: int = Field(default=5, ge=1, le=1_000)
    """Fresh processes in which each variant must succeed, all of them. Compiling, forecasting (one a shard), probing
    and timing count; short further ones, of one forecast each, fill up what is missing."""
    memory_gib: float | None = Field(default=None, gt=0, le=1_000_000)
    """Host memory that a trial may use; null for no limit."""
    scratch_folder: str | None = Field(default=None, min_length=1)
    """Where a trial keeps its compile cache while it runs, such as $TMPDIR of a cluster's node; null: in results."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables that every trial has, such as PYTORCH_CUDA_ALLOC_CONF. Of the shell's own, trials inherit only what
    finds programs, libraries, files and devices; these here are part of what results depend on, and are in deploy.env.
    """

    @field_validator("environment", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        plain = {name: int(one) if isinstance(one, bool) else one for name, one in value.items()}
        return {name: str(one) if isinstance(one, (int, float)) else one for name, one in plain.items()}

    @field_validator("environment")
    @classmethod
    def _can_be_set(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if problem := problem_with(name, text):
                raise ValueError(f"{name!r} {problem}")
        return value


class Models(Section):
    """The models to gate; leave one out, or set it to null, to skip it."""

    @model_validator(mode="after")
    def _at_least_one(self) -> Models:
        if not dict(self.items()):
            raise ValueError(f"names no model; name at least one of {', '.join(installed_plugins())}")
        return self

    def items(self) -> Iterator[tuple[str, ModelSettings]]:
        """(name, settings) of each model that is to be gated."""
        for name in type(self).model_fields:
            if (settings := getattr(self, name)) is not None:
                yield name, settings


class Settings(Section):
    """The whole configuration of a run."""

    data_folder: str = "trainingdata"
    """Folder of <SYMBOL>.csv price files."""
    results_folder: str = "results"
    """Folder for all output."""
    baselines_folder: str = "config/baselines"
    """Folder of the accepted evidence of earlier runs; kept in git."""
    symbols: Literal["all"] | tuple[str, ...] = "all"
    """`all`, or the names of the symbols to evaluate."""
    symbols_per_job: int = Field(default=100, ge=1, le=1_000_000)
    """Symbols that one job handles; a change in one symbol runs its job again."""
    seed: int = Field(default=20260101, ge=0, le=2**63 - 1)
    """Seed of every random number in a run."""
    threads: int = Field(default=1, ge=1, le=4096)
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
    compare: CompareSettings = CompareSettings()
    bisect: BisectSettings = BisectSettings()
    sweep: SweepSettings = SweepSettings()

    @field_validator("data_folder", "results_folder", "baselines_folder")
    @classmethod
    def _folder(cls, value: str, info: ValidationInfo) -> str:
        return checked_folder(str(info.field_name), value)

    @model_validator(mode="after")
    def _folders_of_their_own(self) -> Settings:
        check_apart(self.results_folder, data_folder=self.data_folder, baselines_folder=self.baselines_folder)
        return self

    @field_validator("symbols", mode="before")
    @classmethod
    def _symbols(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "all":
            return tuple(part.strip() for part in value.split(","))
        if isinstance(value, (list, tuple)) and not value:
            raise ValueError("names no symbol; write `all` or at least one name")
        return value

    @model_validator(mode="after")
    def _calls_that_can_be_judged(self) -> Settings:
        check_one_precision(self.models.items(), self.evaluation.call.process)
        check_trim(self.evaluation.call, self.evaluation.samples)
        known = {name: model_of(name, own.plugin) for name, own in self.models.items()}
        missing = rows_missing(self.evaluation.call.missing, self.evaluation.context_length)
        check_asked(known, self.evaluation.call, missing)
        return self

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


@cache
def _settings_of(model: Model) -> type[ModelSettings]:
    """The settings of a model's plug-in, checked against what it has."""

    def check(settings: ModelSettings) -> ModelSettings:
        if problem := model.problem_with(settings):
            key, sentence = problem
            raise PydanticCustomError("plug_in", "{sentence}", {"key": key, "sentence": sentence})
        return settings

    own = model.settings
    checked: dict[str, Any] = {"_as_the_plug_in_has_it": model_validator(mode="after")(check)}
    return create_model(own.__name__, __base__=own, __doc__=own.__doc__, __validators__=checked)


@cache
def _settings_with(plugins: tuple[tuple[str, str | None], ...]) -> type[Settings]:
    """The class of all settings where `models` knows those of some plug-ins, given by name and reference."""
    found = {name: model_of(name, plugin) for name, plugin in plugins}
    fields: dict[str, Any] = {
        name: (_settings_of(model) | None, Field(default=None, description=f"{model.settings.__doc__} Null: left out."))
        for name, model in found.items()
    }
    models = create_model("Models", __base__=Models, __doc__=Models.__doc__, **fields)
    return create_model("Settings", __base__=Settings, __doc__=Settings.__doc__, models=(models, ...))


def make_settings(config: Mapping[str, Any]) -> Settings:
    """Check a configuration, with the settings of each model as its plug-in has them.

    Raises:
        UserError: a plug-in that can't be read.
        ValidationError: anything else that is wrong.
    """
    models = config.get("models")
    named = models if isinstance(models, Mapping) else {}
    plugins: dict[str, str | None] = dict.fromkeys(installed_plugins())
    for name, own in named.items():
        if isinstance(own, Mapping) and isinstance(own.get("plugin"), str):
            plugins[name] = own["plugin"]
    # A plug-in that is not named is not read: what is wrong with it concerns nobody here.
    known = {name: plugin for name, plugin in plugins.items() if name in named}
    usual = {name: model_of(name, plugin).settings.model_fields["variants"].default for name, plugin in known.items()}
    return _settings_with(tuple(known.items())).model_validate(as_called(config, usual))


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
        return make_settings(_with_null(dict(config)))
    except ValidationError as error:
        lines = [_explain(problem, config) for problem in error.errors()]
        raise UserError(f"{where} (or --config): " + "\n  ".join(["", *lines] if len(lines) > 1 else lines)) from None


def _with_null(value: Any) -> Any:
    """The same with None for every value `null`: what stands on Snakemake's command line reaches us as words."""
    if isinstance(value, Mapping):
        return {key: None if entry == "null" else _with_null(entry) for key, entry in value.items()}
    return value


def _explain(problem: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the configuration"
    if problem["type"] == "extra_forbidden":
        if problem["loc"][:-1] == ("models",):
            return f"{key}: {_unknown_model(str(problem['loc'][-1]))}"
        name, known = str(problem["loc"][-1]), _keys_at(problem["loc"][:-1], config)
        told = nearest(name, known) if name not in _GONE else f" ({_GONE[name]})"
        return f"{key}: unknown key{told}; known here are {', '.join(known)}. Correct or remove it."
    if problem["type"] == "plug_in":
        return f"{key}.{problem['ctx']['key']}: {problem['msg']}"
    message = problem["msg"].removeprefix("Value error, ")
    found = problem.get("input")
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return (
            f"{key}: expected keys with values, found {found!r}. On a command line, a section is written "
            f"--config {key}='{{name: value}}', with the quotes"
        )
    shown = "" if isinstance(found, (dict, BaseModel)) else f" (found {found!r})"
    return f"{key}: {message}{shown}"


def _unknown_model(name: str) -> str:
    try:
        model_of(name)
    except UserError as error:
        return str(error)
    return "not known here"


def _keys_at(path: Sequence[Any], config: Mapping[str, Any]) -> list[str]:
    """Keys that the section at `path` knows."""
    section: type[BaseModel] = Settings
    for number, part in enumerate(path):
        if path[:number] == ("models",):
            section = model_of(str(part), config["models"][part].get("plugin")).settings
            continue
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        inner = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not inner:
            return []
        section = inner[0]
    return sorted(section.model_fields)


def schema() -> dict[str, Any]:
    """The JSON schema of the configuration, as config/config.schema.json has it."""
    found = _settings_with(tuple((name, None) for name in installed_plugins())).model_json_schema()
    # Of a model that the configuration brings a plug-in for, only the plug-in knows the keys.
    found["$defs"]["Models"]["additionalProperties"] = {"type": "object", "required": ["plugin"]}
    return found


if __name__ == "__main__":
    print(json_text(schema()), end="")
