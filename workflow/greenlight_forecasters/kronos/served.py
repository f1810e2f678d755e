"""The published loop of Kronos, or a copy's, as a verdict adopts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from greenlight_forecasters.engine.served import PublishedCode
from greenlight_forecasters.kronos.candles import Candles
from greenlight_forecasters.kronos.predictor import StaticKronosPredictor
from greenlight_forecasters.kronos.sampling import Sampling
from greenlight_forecasters.kronos.upstream import KronosUpstream


class Loop(PublishedCode):
    """What a predictor asks of its engine, by the loop as it was judged: one series at a time.

    The published code keeps a table in an attribute that every call writes; here calls wait for each other.
    """

    def __init__(self, forecaster: KronosUpstream, policy: str, scope: Mapping[str, Any] | None) -> None:
        modules = {"network": forecaster.network, "tokenizer": forecaster.tokenizer}
        super().__init__(modules, forecaster.mode, policy, scope)
        self._forecaster = forecaster
        self.settings, self.classes = forecaster.settings, forecaster.classes

    def paths(self, candles: Candles, noise: Tensor, samples: int, sampling: Sampling) -> np.ndarray:
        """See `KronosStatic.paths`."""
        series, horizon = noise.shape[:2]
        with self.call(f"context {candles.values.shape[1]}, horizon {horizon}, {samples} samples"):
            each = (slice(number, number + 1) for number in range(series))
            return np.stack(
                [self._forecaster.normalised(candles[one], noise[one][0], samples, sampling) for one in each]
            )


class ServedKronosPredictor(StaticKronosPredictor):
    """The interface of a `KronosPredictor`, by the loop that was judged."""

    def __init__(self, forecaster: KronosUpstream, **settings: Any) -> None:
        super().__init__(Loop(forecaster, settings.get("policy", "compile"), settings.get("scope")), **settings)

    def warm_up(self, context: int, horizon: int, samples: int = 1, series: int = 1) -> None:
        """Have the code for a shape compiled, for any number of series; eager code needs none of it."""
        if self._engine.mode is not None:
            super().warm_up(context, horizon, samples)
