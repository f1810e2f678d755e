"""Model and tokenizer with random weights, of given dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenlight_forecasters.kronos.config import ModelConfig, TokenizerConfig
from greenlight_forecasters.kronos.network import KronosNetwork
from greenlight_forecasters.kronos.tokenizer import KronosTokenizer


def network(dimensions: Mapping[str, Any]) -> tuple[dict[str, Any], KronosNetwork]:
    """config.json and the network."""
    config = ModelConfig(**dimensions, learn_te=True)
    return config.model_dump(mode="json"), KronosNetwork(config)


def tokenizer(dimensions: Mapping[str, Any]) -> tuple[dict[str, Any], KronosTokenizer]:
    """config.json and the tokenizer."""
    config = TokenizerConfig(**dimensions)
    return config.model_dump(mode="json"), KronosTokenizer(config)
