"""The settings that say how production calls a model: shapes, threads, many calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from greenlight.process import ProcessSettings
from greenlight.variants import Variant, precision_of

MOST_SHAPES = 1_000


class Shape(NamedTuple):
    """What one call asks for: rows of context, rows to forecast, windows, and sample paths of each."""

    context: int
    horizon: int
    batch: int
    samples: int

    def __str__(self) -> str:
        return f"context {self.context}, horizon {self.horizon}, batch {self.batch}, {self.samples} samples"


class ShapeSettings(BaseModel):
    """The shapes that production calls: each context with each horizon, batch and number of samples. An empty list
    stands for the run's own value; where all are empty, no sweep is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    contexts: tuple[int, ...] = ()
    """Rows that the model sees, such as [128, 256, 512]; empty: evaluation.context_length."""
    horizons: tuple[int, ...] = ()
    """Rows to forecast; empty: evaluation.horizon."""
    batches: tuple[int, ...] = ()
    """Windows in a call; empty: evaluation.windows_per_call."""
    samples: tuple[int, ...] = ()
    """Sample paths of each window; empty: evaluation.samples. Of a model that gives quantiles it says nothing."""

    @field_validator("contexts", "horizons", "batches", "samples")
    @classmethod
    def _sizes(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if bad := [size for size in value if not 1 <= size <= 1_000_000]:
            raise ValueError(f"{bad[0]} is no size; expected whole numbers from 1 to 1,000,000")
        if len(set(value)) < len(value):
            raise ValueError("names a size twice")
        return value

    @field_validator("contexts", "samples")
    @classmethod
    def _two_at_least(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if 1 in value:
            raise ValueError("1 is too few; expected 2 at least")
        return value

    @model_validator(mode="after")
    def _not_too_many(self) -> ShapeSettings:
        count = 1
        for sizes in (self.contexts, self.horizons, self.batches, self.samples):
            count *= max(1, len(sizes))
        if count > MOST_SHAPES:
            raise ValueError(f"make {count} shapes, of which each is called; at most {MOST_SHAPES}: name fewer sizes")
        return self

    def every(self, own: Shape) -> list[Shape]:
        """The shapes in the order of the sweep, contexts changing fastest; `own` is the run's, for what is empty."""
        lists = (self.samples, self.batches, self.horizons, self.contexts)
        if not any(lists):
            return []
        filled = [sizes or (value,) for sizes, value in zip(lists, reversed(own), strict=True)]
        return [Shape(*reversed(sizes)) for sizes in product(*filled)]


class CallSettings(BaseModel):
    """How production calls a model; each variant is called so."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    shapes: ShapeSettings = ShapeSettings()
    """Contexts, horizons, batches and numbers of samples that calls come in."""
    concurrency: int = Field(default=2, ge=1, le=64)
    """Threads that call one loaded object at the same time, each with windows of its own; 1: calls come one by one."""
    calls: int = Field(default=0, ge=0, le=1_000_000)
    """Calls of a soak, one after the other in one process, which shows growth of memory, hangs, and drift of time; 0:
    none."""
    target: Literal["close", "open", "high", "low"] = "close"
    """The price that is forecast."""
    input: Literal["prices", "returns", "log-returns"] = "prices"
    """What a model is given of each price: the price, its return over the row before, or the logarithmic one. Paths of
    returns are made into the prices that they imply from the last one on; errors are judged of these and of returns."""
    missing: float = Field(default=0, ge=0, le=0.5)
    """Share of the rows of each context that are missing, at seeded places, for models that take missing values;
    other models see all rows."""
    point: Literal["median", "mean", "trimmed-mean"] = "median"
    """What production makes of a forecast, whose absolute errors are judged (MAE, MAPE, MASE): the median of the sample
    paths, their mean, or their mean without `trim` at each end. Quantile loss, RMSE and coverage are what they were."""
    trim: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of the sample paths that a trimmed mean leaves out at each end."""
    process: ProcessSettings = ProcessSettings()
    """The state of torch in which every call of every trial is made."""

    @field_validator("calls")
    @classmethod
    def _enough_to_show_anything(cls, value: int) -> int:
        if 0 < value < 30:
            raise ValueError(f"{value} calls show no growth and no drift; expected 0 (no soak) or at least 30")
        return value

    @property
    def point_forecast(self) -> str:
        """The point forecast as `measures.points` reads it."""
        return f"{self.point} {self.trim:g}" if self.point == "trimmed-mean" else self.point

    @property
    def asked(self) -> bool:
        """Whether anything is asked that takes a process of its own: other shapes, or many calls."""
        shapes = self.shapes
        return any((shapes.contexts, shapes.horizons, shapes.batches, shapes.samples)) or self.calls > 0


def as_called(config: Mapping[str, Any], usual: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration whose variants are those of its process, where that computes more coarsely than float32.

    `static-default` becomes `static-default-autocast-fp16`; an eager one stays beside that, for the others are held to
    it in float32. What can't be read is left to those who say what is wrong with it.

    Args:
        usual: by model, the variants that it has where the configuration names none.
    """
    own: Any = config
    for key in ("evaluation", "call", "process"):
        own = own.get(key) if isinstance(own, Mapping) else None
    models = config.get("models")
    if not isinstance(own, Mapping) or not isinstance(models, Mapping):
        return config
    precision = precision_of(own.get("autocast"), own.get("matmul_precision") or "highest")
    if precision == "float32":
        return config
    own = {name: _in_precision(model, precision, usual.get(name)) for name, model in models.items()}
    return {**config, "models": own}


def _in_precision(model: Any, precision: str, usual: Any) -> Any:
    if not isinstance(model, Mapping):
        return model
    found = dict(model)
    if isinstance(named := model.get("variants", usual), list | tuple):
        variants = dict.fromkeys(name for one in named for name in _both(one, precision))
        found["variants"] = [one for one in named if not isinstance(one, str)] + list(variants)
    if isinstance(model.get("deployed"), str):
        found["deployed"] = _both(model["deployed"], precision)[-1]
    return found


def _both(name: Any, precision: str) -> list[str]:
    """A variant in the process' precision, after itself where it is what others are held to."""
    if not isinstance(name, str):
        return []
    try:
        chosen = Variant.parse(name)
    except ValueError:
        return [name]
    if chosen.reduced:
        return [name]
    return [*([] if chosen.compiled else [name]), str(replace(chosen, precision=precision))]


def check_one_precision(models: Iterable[tuple[str, Any]], process: ProcessSettings) -> None:
    """ValueError where a variant is not in the precision of the process that calls it, nor what is held against."""
    if process.precision == "float32":
        return
    for model, settings in models:
        for name in settings.variants:
            chosen = Variant.parse(name)
            if (chosen.reduced or chosen.compiled) and chosen.precision != process.precision:
                raise ValueError(
                    f"models.{model}.variants: {name!r} computes in {chosen.precision}, and evaluation.call.process "
                    f"calls it with {process.words()}; leave out the one or the other"
                )


def check_trim(call: CallSettings, samples: int) -> None:
    """ValueError where a trimmed mean leaves out no path, and would be the mean under another name."""
    if call.point == "trimmed-mean" and int(call.trim * samples) < 1:
        raise ValueError(
            f"evaluation.call.trim {call.trim:g} of evaluation.samples {samples} leaves out no sample path at either "
            f"end; raise one of them, or write point: mean"
        )


def check_asked(models: Mapping[str, Any], call: CallSettings, missing: int) -> None:
    """ValueError where a model can't forecast a price, or can't be given what stands for its context.

    Args:
        models: by name, what the plug-in says of it (`api.Model`).
        missing: rows of a context that are missing.
    """
    target, given = call.target, call.input
    if call.missing and not any(model.missing for model in models.values()):
        raise ValueError(
            f"evaluation.call.missing is {call.missing:g}, and none of {', '.join(models)} takes missing values "
            "(Model.missing); leave it out, or name a model that does"
        )
    if call.missing and given != "prices":
        raise ValueError(f"evaluation.call.missing with input {given!r}: no return follows from a missing price")
    if call.missing and not missing:
        raise ValueError(
            f"evaluation.call.missing {call.missing:g} of evaluation.context_length is no row; raise "
            "one of them, or leave it out"
        )
    for name, model in models.items():
        if target not in model.targets:
            raise ValueError(
                f"evaluation.call.target is {target!r}, and the plug-in of {name} forecasts "
                f"{', '.join(model.targets)} only"
            )
        if given not in model.inputs or (given != "prices" and model.forecast.levels):
            raise ValueError(
                f"evaluation.call.input is {given!r}, which can't be given to {name}: its plug-in takes "
                f"{', '.join(model.inputs)} only. Returns need a model of one series (a candle is no set of returns) "
                "that draws sample paths (quantiles of each row's return imply no price). Leave the model out of this "
                "configuration"
            )
