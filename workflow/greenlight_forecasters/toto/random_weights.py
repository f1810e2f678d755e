"""The published model with random weights, of given dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenlight_forecasters.toto.checkpoint import CAUSAL_PATCH_SCALER, STUDENT_T_MIXTURE
from greenlight_forecasters.toto.published import Toto


def network(dimensions: Mapping[str, Any]) -> tuple[dict[str, Any], Toto]:
    """config.json and the published model."""
    config = {
        **dimensions,
        "stride": dimensions["patch_size"],
        "dropout": 0.0,
        "spacewise_every_n_layers": dimensions["num_layers"],
        "spacewise_first": False,
        "scaler_cls": CAUSAL_PATCH_SCALER,
        "output_distribution_classes": [STUDENT_T_MIXTURE],
        "output_distribution_kwargs": {"k_components": 24},
        "use_memory_efficient_attention": False,
    }
    return config, Toto(**config)
