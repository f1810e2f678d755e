"""Dimensions of model and tokenizer, and how tokens are sampled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from greenlight.api import UserError

FEATURES = ("open", "high", "low", "close", "volume", "amount")
CLOSE = FEATURES.index("close")
CLIP = 5.0
EPSILON = 1e-5
_Size = Annotated[int, Field(ge=1)]
_Bits = Annotated[int, Field(ge=1, le=20)]
_Share = Annotated[float, Field(ge=0, lt=1)]
_Config = TypeVar("_Config", bound=BaseModel)


class ModelConfig(BaseModel):
    """`config.json` of a published model, under the published names."""

    model_config = ConfigDict(frozen=True)

    s1_bits: _Bits
    s2_bits: _Bits
    n_layers: _Size
    d_model: _Size
    n_heads: _Size
    ff_dim: _Size
    ffn_dropout_p: _Share = 0.0
    attn_dropout_p: _Share = 0.0
    resid_dropout_p: _Share = 0.0
    token_dropout_p: _Share = 0.0
    learn_te: bool

    @property
    def classes(self) -> tuple[int, int]:
        """Sizes of the vocabularies of coarse and of fine tokens."""
        return 2**self.s1_bits, 2**self.s2_bits

    @model_validator(mode="after")
    def _heads_fit(self) -> ModelConfig:
        for heads in (self.n_heads, 4):
            _check_heads(self.d_model, heads)
        return self


class TokenizerConfig(BaseModel):
    """`config.json` of a published tokenizer, under the published names."""

    model_config = ConfigDict(frozen=True)

    d_in: _Size
    d_model: _Size
    n_heads: _Size
    ff_dim: _Size
    n_enc_layers: _Size
    n_dec_layers: _Size
    ffn_dropout_p: _Share = 0.0
    attn_dropout_p: _Share = 0.0
    resid_dropout_p: _Share = 0.0
    s1_bits: _Bits
    s2_bits: _Bits
    beta: float = 0.05
    gamma0: float = 1.0
    gamma: float = 1.1
    zeta: float = 0.05
    group_size: _Size

    @model_validator(mode="after")
    def _parts_fit(self) -> TokenizerConfig:
        _check_heads(self.d_model, self.n_heads)
        if self.d_in != len(FEATURES):
            raise ValueError(f"d_in is {self.d_in}; expected {len(FEATURES)} ({', '.join(FEATURES)})")
        if self.s1_bits != self.s2_bits:
            raise ValueError(
                f"s1_bits is {self.s1_bits} and s2_bits {self.s2_bits}; the published decoding is defined "
                "for equal halves only"
            )
        return self


class Settings(BaseModel):
    """The model's own settings in the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tokenizer: str = "embedded"
    """Where the tokenizer's weights are, as for source."""
    tokenizer_revision: str | None = None
    """Commit of the tokenizer's Hugging Face id."""
    max_context: _Size = 512
    """Tokens that the model attends to; older ones are dropped."""
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] = CLIP
    """Where candles are cut off, in standard deviations from the mean of the context; as the published predictor's."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divides the logits before sampling."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Keep the k likeliest tokens; 0 keeps all. As published, top_p is not applied where this is set."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Keep the likeliest tokens up to this probability, as the published predictor does by default; 1 keeps all."""
    windows_per_batch: _Size | None = None
    """The most windows that `static` forecasts at once; 8 where it is not set. On a GPU, set it to all."""
    series_per_batch: _Size | None = None
    """The most sliding windows that `static` recomputes at once; where it is not set, 1 on a CPU and 16 elsewhere."""
    capacity: _Size | None = None
    """Context rows that `static` reserves its cache for; as many as the first call needs where it is not set."""

    @property
    def windows_at_once(self) -> int:
        """`windows_per_batch`, or what it is where it is not set."""
        return self.windows_per_batch or 8


def parse(schema: type[_Config], values: dict[str, Any], where: str | Path) -> _Config:
    """Check values against a schema; UserError names the place, the key, what was found and expected."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'values'}: {fault['msg']} (found {fault['input']!r})"
            if fault["loc"]
            else fault["msg"].removeprefix("Value error, ")
            for fault in error.errors()
        )
        raise UserError(f"{where}: not a usable {schema.__name__}: {faults}") from error


def check_pair(model: ModelConfig, tokenizer: TokenizerConfig, where: str) -> None:
    """UserError unless the tokenizer's vocabularies are the model's."""
    found, expected = (tokenizer.s1_bits, tokenizer.s2_bits), (model.s1_bits, model.s2_bits)
    if found != expected:
        raise UserError(
            f"{where}: this tokenizer does not belong to this model: the tokenizer has s1_bits, s2_bits = "
            f"{found}, the model {expected}; name the tokenizer that the model was trained with"
        )


def _check_heads(width: int, heads: int) -> None:
    if width % heads or (width // heads) % 2:
        raise ValueError(f"d_model {width} does not split into {heads} heads of an even size")
