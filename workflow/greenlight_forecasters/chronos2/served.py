"""The published `Chronos2Pipeline` as a verdict adopts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from greenlight.api import DECILES, UserError
from greenlight_forecasters.chronos2.pipeline import Pipeline
from greenlight_forecasters.engine.served import PublishedCode

if TYPE_CHECKING:
    from greenlight_forecasters.chronos2.upstream import Chronos2Upstream

Inputs = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]


class ServedChronos2Pipeline(Pipeline):
    """The published pipeline's `predict`, `predict_quantiles` and `predict_df`, by its own code, from many threads.

    Covariates and `cross_learning` were not judged, and are refused.
    """

    beyond = "was not judged"

    def __init__(self, upstream: Chronos2Upstream, *, scope: Mapping[str, Any] | None = None, **service: Any) -> None:
        """See `Predictor`."""
        policy = service.get("policy", "compile")
        super().__init__(PublishedCode({"model": upstream.plain}, upstream.mode, policy, scope), scope=scope, **service)
        self._pipeline = upstream.pipeline

    @property
    def quantiles(self) -> list[float]:
        """The levels that the model was trained with."""
        return list(self._pipeline.quantiles)

    def predict(self, inputs: Inputs, prediction_length: int | None = None, **settings: Any) -> list[Tensor]:
        """As the published pipeline's; UserError for covariates and `cross_learning`."""
        with self._call(inputs, prediction_length, settings) as horizon:
            found: list[Tensor] = self._pipeline.predict(inputs, prediction_length=horizon, **settings)
        return found

    def predict_quantiles(
        self,
        inputs: Inputs,
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] = DECILES,
        **settings: Any,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """As the published pipeline's; UserError as for `predict`."""
        with self._call(inputs, prediction_length, settings) as horizon:
            found: tuple[list[Tensor], list[Tensor]] = self._pipeline.predict_quantiles(
                inputs, prediction_length=horizon, quantile_levels=list(quantile_levels), **settings
            )
        return found

    def warm_up(self, context: int, horizon: int, series: int = 1, variates: int = 1) -> None:
        """Have the code for calls of this shape compiled; eager code needs none of it."""
        if self._engine.mode is not None:
            super().warm_up(context, horizon, series, variates)

    def _warm(self, rows: Tensor, horizon: int) -> None:
        self.predict_quantiles(list(rows), horizon)

    @contextmanager
    def _call(self, inputs: Inputs, prediction_length: int | None, settings: Mapping[str, Any]) -> Iterator[int]:
        """One call; gives its horizon."""
        if settings.get("cross_learning") or any(isinstance(one, dict) for one in inputs):
            raise UserError("covariates and cross_learning were not judged; call the published pipeline for them")
        horizon = self._pipeline.model_prediction_length if prediction_length is None else prediction_length
        sizes = [tuple(one.shape) for one in inputs]
        seen = settings.get("context_length") or self._pipeline.model_context_length
        shape = f"series {sizes}, {horizon} rows, {settings.get('context_length')}"
        with (
            self._service.call([min(size[-1], seen) for size in sizes], horizon, len(sizes)),
            self._engine.call(shape),
        ):
            yield horizon
