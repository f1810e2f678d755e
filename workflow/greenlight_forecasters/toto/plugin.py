"""Toto's plug-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from greenlight.api import INPUTS, PRICES, Implementation, Model, ModelSettings, RandomWeights
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.copies import copies_of

# What the published code runs; GluonTS's distributions are the only part of it that does.
_PACKAGES = ("toto", "gluonts.torch", "rotary_embedding_torch", "einops")
_FILES = ("model/toto.py", "model/backbone.py", "inference/forecaster.py")


class StaticSettings(BaseModel):
    """What `static` computes at once; it changes no forecast."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    samples_per_batch: int | None = Field(default=None, ge=1)
    """The most sample paths of a window that are decoded at once; 256 where it is not set."""
    windows_per_batch: int | None = Field(default=None, ge=1)
    """The most windows that are prefilled at once; 16 where it is not set."""


class TotoSettings(ModelSettings):
    """Datadog's Toto."""

    variants: tuple[str, ...] = ("upstream-eager", "upstream-default", "static-eager", "static-default")
    """Variants to examine, each <implementation>-<mode>."""
    samples_per_batch: int = Field(default=32, ge=1)
    """Samples that the published code, and what is made of it, decodes at once, lowered to a divisor of
    evaluation.samples."""
    static: StaticSettings = StaticSettings()
    """What `static` has of its own: windows and sample paths that it computes at once."""
    code: dict[str, str] = Field(default_factory=dict)
    """Folders with copies of the published package (the folder `toto`, or one that holds it), by the name of the
    implementation that each becomes: {vendored: ../their} gives vendored-eager, vendored-default and so on."""

    def own(self) -> dict[str, Any]:
        """As for every model; of `static` only what is set."""
        own = super().own()
        chosen = {name: size for name, size in own.pop("static").items() if size is not None}
        return own | ({"static": chosen} if chosen else {})


class _Toto(Model):
    def implementations_of(self, settings: ModelSettings) -> Mapping[str, Implementation]:
        """With the copies that the settings name."""
        assert isinstance(settings, TotoSettings)
        like = replace(self.implementations["upstream"], packages=_PACKAGES[1:])
        return {**self.implementations, **copies_of(settings.code, like, "toto", _FILES, "models.toto.code")}


MODEL = _Toto(
    name="toto",
    targets=PRICES,
    inputs=INPUTS,
    settings=TotoSettings,
    implementations={
        # In bfloat16 the published code rounds the prices themselves, and torch draws no gamma numbers on a CPU.
        "upstream": Implementation(
            "greenlight_forecasters.toto.upstream:TotoUpstream",
            precisions=("tf32",),
            shares_generator=True,
            published=True,
            packages=_PACKAGES,
        ),
        "host-index": Implementation(
            "greenlight_forecasters.toto.host_index:TotoHostIndex",
            precisions=("tf32",),
            shares_generator=True,
            packages=_PACKAGES,
        ),
        "static": Implementation(
            "greenlight_forecasters.toto.static:TotoStatic", precisions=("tf32", "bf16"), own_draws=True
        ),
    },
    checkpoints={"model": CHECKPOINTS / "toto"},
    random_weights={
        "model": RandomWeights(
            "greenlight_forecasters.toto.random_weights:network",
            {  # Datadog/Toto-Open-Base-1.0; `small` is no published size
                "base": dict(patch_size=64, embed_dim=768, num_layers=12, num_heads=12, mlp_hidden_dim=3072),
                "small": dict(patch_size=16, embed_dim=64, num_layers=4, num_heads=4, mlp_hidden_dim=128),
            },
        )
    },
    distributions=("toto-ts", "gluonts", "rotary-embedding-torch", "einops"),
    truth={"kv_cache": False},  # what training saw
    independent="static",
)
