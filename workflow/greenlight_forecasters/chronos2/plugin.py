"""Chronos-2's plug-in."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from greenlight.api import PRICES, Forecast, Implementation, Model, ModelSettings, RandomWeights
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.chronos2 import LEVELS


class Chronos2Settings(ModelSettings):
    """Amazon's Chronos-2."""

    variants: tuple[str, ...] = ("upstream-eager", "upstream-default", "static-eager", "static-default")
    """Variants to examine, each <implementation>-<mode>."""
    beside: tuple[Literal["open", "high", "low", "volume"], ...] = ()
    """Columns that the model sees beside close, as variates of the same window; close alone is forecast."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """The published code's own attention: torch's, its default, or products and a softmax."""

    @model_validator(mode="after")
    def _no_column_twice(self) -> Self:
        if len(set(self.beside)) != len(self.beside):
            raise ValueError(f"a column is named twice in beside: {', '.join(self.beside)}")
        return self


MODEL = Model(
    name="chronos-2",
    targets=PRICES,
    missing=True,
    settings=Chronos2Settings,
    implementations={
        "upstream": Implementation(
            "greenlight_forecasters.chronos2.upstream:Chronos2Upstream",
            precisions=("tf32",),
            packages=("chronos", "einops"),
        ),
        "static": Implementation("greenlight_forecasters.chronos2.static:Chronos2Static", precisions=("tf32",)),
    },
    # Each quantile is a row of the head of its own; the published code leaves those that cross as they are.
    forecast=Forecast(levels=LEVELS, random=False, crossing=True),
    checkpoints={"model": CHECKPOINTS / "chronos-2"},
    random_weights={
        "model": RandomWeights(
            "greenlight_forecasters.chronos2.random_weights:network",
            {  # amazon/chronos-2; `small` is no published size
                "base": dict(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12),
                "small": dict(d_model=64, d_kv=16, d_ff=256, num_layers=4, num_heads=4),
            },
        )
    },
    distributions=("chronos-forecasting", "transformers", "einops"),
    independent="static",
)
