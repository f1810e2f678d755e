"""Toto's plug-in."""

from __future__ import annotations

from pydantic import Field

from greenlight.api import Implementation, Model, ModelSettings
from greenlight_forecasters import CHECKPOINTS

# What the published code runs; GluonTS's distributions are the only part of it that does.
_PACKAGES = ("toto", "gluonts.torch", "rotary_embedding_torch", "einops")


class TotoSettings(ModelSettings):
    """Datadog's Toto."""

    variants: tuple[str, ...] = ("upstream-eager", "upstream-default", "static-eager", "static-default")
    """Variants to examine, each <implementation>-<mode>."""
    samples_per_batch: int = Field(default=32, ge=1)
    """Samples that the published code decodes at once, lowered to a divisor of evaluation.samples."""


MODEL = Model(
    name="toto",
    settings=TotoSettings,
    implementations={
        # In bfloat16 the published code rounds the prices themselves, and torch draws no gamma numbers on a CPU.
        "upstream": Implementation(
            "greenlight_forecasters.toto.upstream:TotoUpstream",
            precisions=("tf32",),
            published=True,
            packages=_PACKAGES,
        ),
        "host-index": Implementation(
            "greenlight_forecasters.toto.host_index:TotoHostIndex", precisions=("tf32",), packages=_PACKAGES
        ),
        "static": Implementation(
            "greenlight_forecasters.toto.static:TotoStatic", precisions=("tf32", "bf16"), own_draws=True
        ),
    },
    checkpoints={"model": CHECKPOINTS / "toto"},
    distributions=("toto-ts", "gluonts", "rotary-embedding-torch", "einops"),
    truth={"kv_cache": False},  # what training saw
)
