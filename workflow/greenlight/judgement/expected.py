"""What a run must have measured: `results/expected.json`, written before anything is measured.

Judgement walks the rows named here, never the rows that happen to lie on the disk.

    {"format": 1,
     "models": {"toto": {
        "reference": "upstream-eager",        the eager variant that everything is compared with
        "deployed": "static-default" | null,  what production runs now
        "levels": [], "random": true,         of quantiles, empty for sample paths; whether forecasts depend on a seed
        "crossing": false,                    whether quantiles may cross
        "by_symbol": {"GOOG": {"temperature": 0.8}},   settings in which a symbol differs from the model's
        "missing": 0.0,                       share of the rows of each context that are missing
        "weights_hash": "...", "random_weights": {},    sources of weights that are random, by role
        "variants": {"static-default": {
            "paired_with": "static-eager" | null,   null: see below
            "coupled_with_reference": true,   false: its random stream cannot be that of the reference
            "alone": false,                   true: rounding turns its tokens into others; it has no pair
            "same_as": "static-default" | null,     a mode identical to another one on this device
            "jobs": {
                "compile":      {"key": "<job key hash>"},
                "predict/0000": {"key": "...", "symbols": ["GOOG", "SIM1"]},
                "probe":        {"key": "...", "windows": 4, "looks": 3, "replicates": 8, "drawn_windows": 30},
                "call":         {"key": "...", "call": {"shapes": [[96, 16, 2, 16]], "calls": 300}},
                "time":         {"key": "...", "trials": 2, "pairs": 20, "control_pairs": 10, "looks": 3},
                "repeat":       {"key": "...", "trials": 1},   where the others are fewer than `repeats`
                "score":        {"key": "..."},
                "replicate":    {"key": "...", "looks": 5}}}}}},   where it is paired with another
     "symbols": {"GOOG": {"windows": 5, "data_hash": "..."}},
     "context_length": 256, "horizon": 16, "samples": 32, "seed": 1, "repeats": 5,
     "calls": {"windows_per_call": 8, "timed_windows": 1},   windows in a call of forecasts, and in a timed one
     "process": {"inference_mode": true},  state of torch in which calls are made, where it is not torch's own,
     "precision": "float32",               but for the precision of that process, which its variants have
     "target": "close", "point": "median", what is forecast, and what absolute errors are of (`measures.points`)
     "input": "prices",                    what models are given of prices: themselves, or returns (`data.returns`)
     "settings_hash": "...",   context length, horizon, samples, seed, process, target, point, input (a model's own are
                               hashed in its entry, as "settings_hash" beside "weights_hash"); not the lists of
                               symbols, variants or models, nor anything that only judgement reads
     "platform": {"id": "cpu-torch2.13.0-2threads", "device": "...", "torch": "...", "threads": 2, ...}}

`repeats`: in how many processes, each fresh, a variant must succeed; the trials of its jobs are at least as many.
A reference needs `predict/*`, `probe` and `score`; every other variant also `time`, a compiled one
`compile`, and one that is paired with another `replicate`, if forecasts depend on a seed. The symbols of
a variant's predict jobs together are all symbols, each once. `pairs` and `control_pairs` are per process.
`jobs` may be empty only where `same_as` names the variant that was measured in its place.

Pairing. Samples resolve 1% of MAE only under common random numbers. A variant whose draws are coupled with
those of the reference is paired with the reference. One whose draws are not (an implementation that draws
from the same distributions in another order) is paired with the eager variant of its own implementation,
which shows what compilation changed; that eager variant is held to the reference by teacher-forced
numerics, before any sampling, and by a comparison of MAE across series with the wider
`accuracy.reference_margin`, which also sees the sampling code. `paired_with` overrides the choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from greenlight.errors import UserError
from greenlight.files import read_json
from greenlight.measures.judged import errors_of
from greenlight.measures.points import MEDIAN, point_words
from greenlight.variants import Variant


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpectedCalls(_Strict):
    """What a call job must have done.

    Attributes:
        shapes: (context, horizon, batch, samples) of every shape of the sweep; empty: none is asked for.
        calls: calls of the soak; 0: none.
    """

    shapes: tuple[tuple[int, int, int, int], ...] = ()
    calls: Annotated[int, Field(ge=0)] = 0


class ExpectedJob(_Strict):
    """One job whose record must be there.

    Attributes:
        key: the job's key hash, which its record must carry (else it is stale); null: not judged by key.
        trials: number of trials in the record, all of which must succeed; a replicate job may have none.
        symbols: the symbols of a predict shard.
        pairs: latency pairs in each process of a time job; the last may have more, at a later look.
        control_pairs: the same for A/A pairs.
        looks: how often the pairs of a time job, the replicates of a probe, or the seeds of a replicate job may be
            looked at; see `sequential`.
        windows: windows of a probe.
        threads: that call at the same time in a probe; 1: none beside each other.
        golden: whether a probe holds the shipped checkpoint to its golden forecasts.
        independent: the variant, of other code, that a probe holds the reference to; None: none.
        beyond: whether a probe compares contexts longer than the model attends to.
        replicates, drawn_windows: forecasts of each window, and windows, that a probe draws beside the reference's
            at the first look; 0: none.
        warm_up_calls: of a time job, before the first pair.
        call: what a call job must have done.
    """

    key: str | None
    trials: int = Field(1, ge=1)
    symbols: tuple[str, ...] = ()
    pairs: int = Field(1, ge=1)
    control_pairs: int = Field(1, ge=1)
    looks: int = Field(1, ge=1)
    windows: int = Field(1, ge=1)
    threads: int = Field(1, ge=1)
    golden: bool = False
    independent: str | None = None
    beyond: bool = False
    replicates: int = Field(0, ge=0)
    drawn_windows: int = Field(0, ge=0)
    warm_up_calls: int | None = Field(None, ge=1)
    call: ExpectedCalls = ExpectedCalls()


class ExpectedVariant(_Strict):
    """The jobs of one variant, and what it is compared with; see the module's text."""

    jobs: dict[str, ExpectedJob]
    paired_with: str | None = None
    coupled_with_reference: bool = True
    alone: bool = False
    same_as: str | None = None

    def stages(self) -> set[str]:
        """Stages that must have left evidence, such as {"predict", "score"}."""
        return {job.split("/")[0] for job in self.jobs}

    @property
    def trials(self) -> int:
        """In how many processes it runs at least; all must succeed."""
        return sum(job.trials for name, job in self.jobs.items() if name not in ("score", "replicate"))

    def predict_jobs(self) -> dict[str, ExpectedJob]:
        """The predict shards by job name, `predict/0000`."""
        return {name: job for name, job in self.jobs.items() if name.startswith("predict/")}


@dataclass(frozen=True)
class Pairing:
    """What a variant's forecasts are compared with.

    Attributes:
        partner: variant with the same random numbers; None where there is none to be had.
        against_reference: whether the reference, with other random numbers, is a second comparison.
    """

    partner: str | None
    against_reference: bool


def pairing(reference: str, variants: Mapping[str, ExpectedVariant], variant: str) -> Pairing:
    """How a variant is compared among those of its model; the reference with nothing. See the module's text for why."""
    if variant == reference:
        return Pairing(None, False)
    entry = variants[variant]
    own_eager = Variant.parse(variant).own_eager
    coupled = entry.coupled_with_reference or own_eager == reference
    if entry.alone:
        return Pairing(None, True)
    if entry.paired_with is not None:
        return Pairing(entry.paired_with, entry.paired_with != reference and not coupled)
    if coupled:
        return Pairing(reference, False)
    if variant == own_eager:
        return Pairing(None, True)
    return Pairing(own_eager if own_eager in variants else reference, True)


class ExpectedModel(_Strict):
    """The variants of one model."""

    reference: str
    deployed: str | None = None
    levels: tuple[float, ...] = ()
    random: bool = True
    crossing: bool = False
    weights_hash: str = ""
    random_weights: dict[str, str] = Field(default_factory=dict)
    settings_hash: str = ""
    by_symbol: dict[str, dict[str, Any]] = Field(default_factory=dict)
    missing: float = Field(0, ge=0, le=1)
    variants: dict[str, ExpectedVariant] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> ExpectedModel:
        reference = Variant.parse(self.reference)
        if self.reference not in self.variants or reference.compiled or reference.reduced:
            raise ValueError(f"the reference {self.reference!r} must be an eager variant in float32 that is run")
        if self.deployed is not None and self.deployed not in self.variants:
            raise ValueError(f"the deployed variant {self.deployed!r} is not among those run")
        for name, variant in self.variants.items():
            for other in (variant.paired_with, variant.same_as):
                if other is not None and (other == name or other not in self.variants):
                    raise ValueError(f"variant {name!r} names {other!r}, which is not another variant that is run")
            if not variant.jobs and variant.same_as is not None:
                if not self.variants[variant.same_as].jobs:
                    raise ValueError(f"variant {name!r} is the same as {variant.same_as!r}, which is not measured")
                continue
            absent = self.required_stages(name) - variant.stages()
            if absent:
                raise ValueError(f"variant {name!r} lacks the jobs {sorted(absent)}")
        return self

    def required_stages(self, variant: str) -> set[str]:
        """Stages without which a variant can't be judged."""
        stages = {"predict", "probe", "score"}
        if variant != self.reference:
            stages.add("time")
        if Variant.parse(variant).compiled:
            stages.add("compile")
        if self.random and self.partner(variant) is not None:
            stages.add("replicate")
        return stages

    def pairing(self, variant: str) -> Pairing:
        """What a variant is compared with."""
        return pairing(self.reference, self.variants, variant)

    def partner(self, variant: str) -> str | None:
        """The variant with the same random numbers that a variant is paired with, where there is one."""
        return self.pairing(variant).partner


class ExpectedSymbol(_Strict):
    """Number of windows of one symbol, and the hash of its data."""

    windows: int = Field(ge=1)
    data_hash: str = ""


class Expected(_Strict):
    """The whole manifest; see the module's text."""

    format: Literal[1] = 1
    models: dict[str, ExpectedModel] = Field(min_length=1)
    symbols: dict[str, ExpectedSymbol] = Field(min_length=1)
    context_length: int = Field(ge=1)
    horizon: int = Field(ge=1)
    samples: int = Field(ge=1)
    calls: dict[str, Annotated[int, Field(ge=1)]] = Field(min_length=1)
    seed: int | None = None
    repeats: int = Field(1, ge=1)
    process: dict[str, Any] = Field(default_factory=dict)
    precision: str = "float32"
    target: str = "close"
    point: str = MEDIAN
    input: Literal["prices", "returns", "log-returns"] = "prices"
    settings_hash: str = ""
    platform: dict[str, Any] = Field(default_factory=dict)

    @field_validator("models", "symbols")
    @classmethod
    def _safe_names(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not name or name.startswith(".") or any(part in name for part in ("/", "\\", "\0")):
                raise ValueError(f"{name!r} can't be the name of a folder")
        return named

    @model_validator(mode="after")
    def _every_symbol_once_and_enough_trials(self) -> Expected:
        for name, model in self.models.items():
            for variant, expected in model.variants.items():
                if expected.jobs and expected.trials < self.repeats:
                    raise ValueError(f"{name}/{variant} has {expected.trials} trials, {self.repeats} are asked for")
                listed = [symbol for job in expected.predict_jobs().values() for symbol in job.symbols]
                if expected.jobs and sorted(listed) != sorted(self.symbols):
                    raise ValueError(f"the predict jobs of {name}/{variant} must list every symbol once")
        return self

    def settings_of(self, model: str) -> str:
        """Hash of all settings that shape a model's forecasts: those of the run, and its own."""
        return "-".join(part for part in (self.settings_hash, self.models[model].settings_hash) if part)

    @property
    def errors(self) -> tuple[str, ...]:
        """The errors that are judged, as scores name them."""
        return errors_of(self.input)

    @property
    def mae(self) -> str:
        """What the MAE is called: with its point forecast where that is not the median."""
        return "MAE" if self.point == MEDIAN else f"MAE of the {point_words(self.point)}"

    @property
    def platform_id(self) -> str:
        """Name of the platform that speed is keyed by; empty where it is not stated."""
        return str(self.platform.get("id", ""))

    def rows(self) -> list[tuple[str, int]]:
        """Every expected (symbol, window), in the manifest's order."""
        return [(symbol, window) for symbol, entry in self.symbols.items() for window in range(entry.windows)]


def load_expected(path: Path) -> Expected:
    """Read the manifest; UserError where it is missing, unreadable or asks for nothing."""
    try:
        return Expected.model_validate(read_json(path))
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: nothing says what this run should have measured. Run the workflow."
        ) from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}. Delete the file and run the workflow again.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}. Delete the file and run the workflow again.") from error


def first_problem(error: ValidationError) -> str:
    """The first of pydantic's complaints, with its place."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"
