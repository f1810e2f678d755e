"""Kronos' plug-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from greenlight.api import PRICES, Implementation, Model, ModelSettings, RandomWeights
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.copies import copies_of
from greenlight_forecasters.kronos.config import CLIP, Settings

_FILES = ("kronos.py", "module.py")
# https://github.com/shiyu-coder/Kronos
_BITS = dict(s1_bits=10, s2_bits=10)
_NETWORKS = {
    "mini": dict(n_layers=4, d_model=256, n_heads=4, ff_dim=512, **_BITS),
    "small": dict(n_layers=8, d_model=512, n_heads=8, ff_dim=1024, **_BITS),
    "base": dict(n_layers=12, d_model=832, n_heads=16, ff_dim=2048, **_BITS),
}
_TOKENIZER = dict(d_in=6, d_model=256, n_heads=4, ff_dim=512, n_enc_layers=4, n_dec_layers=4, group_size=5, **_BITS)


class KronosSettings(ModelSettings, Settings):
    """Kronos, model and tokenizer."""

    variants: tuple[str, ...] = ("upstream-eager", "static-eager", "static-default")
    """Variants to examine, each <implementation>-<mode>."""
    code: dict[str, str] = Field(default_factory=dict)
    """Folders with copies of the published code (model/kronos.py, model/module.py), whose loop is run, by the name of
    the implementation that each becomes: {fork: ../external/kronos} gives fork-eager, fork-default and so on."""

    def own(self) -> dict[str, Any]:
        """As for every model; without what has no effect on a forecast where it is left as it is: baselines stay so."""
        usual = {"windows_per_batch": None, "series_per_batch": None, "capacity": None, "clip": CLIP}
        return {key: value for key, value in super().own().items() if key not in usual or value != usual[key]}


class _Kronos(Model):
    def implementations_of(self, settings: ModelSettings) -> Mapping[str, Implementation]:
        """With the copies that the settings name."""
        assert isinstance(settings, KronosSettings)
        like = Implementation("greenlight_forecasters.kronos.published:KronosPublished", tokens=True)
        return {**self.implementations, **copies_of(settings.code, like, "model", _FILES, "models.kronos.code")}


MODEL = _Kronos(
    name="kronos",
    targets=PRICES,
    by_symbol=("temperature", "top_k", "top_p"),
    settings=KronosSettings,
    implementations={
        "upstream": Implementation(
            "greenlight_forecasters.kronos.upstream:KronosUpstream",
            precisions=("bf16", "fp16"),
            tokens=True,
            published=True,
        ),
        "static": Implementation(
            "greenlight_forecasters.kronos.static:KronosStatic", precisions=("bf16", "fp16"), tokens=True
        ),
    },
    longest_context="max_context",
    checkpoints={"model": CHECKPOINTS / "kronos", "tokenizer": CHECKPOINTS / "kronos-tokenizer"},
    random_weights={
        "model": RandomWeights("greenlight_forecasters.kronos.random_weights:network", _NETWORKS),
        "tokenizer": RandomWeights("greenlight_forecasters.kronos.random_weights:tokenizer", {"base": _TOKENIZER}),
    },
)
