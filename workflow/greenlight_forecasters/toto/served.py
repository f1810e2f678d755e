"""The published `TotoForecaster`, or a copy's, as a verdict adopts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from greenlight.api import UserError
from greenlight_forecasters.engine.served import PublishedCode
from greenlight_forecasters.engine.service import Predictor

if TYPE_CHECKING:
    from greenlight_forecasters.toto.upstream import TotoUpstream


class ServedTotoForecaster(Predictor):
    """The interface of a `TotoForecaster`, and its own code behind it; it may be called from many threads.

    The gate calls the published code with one series at a time, so that nothing was shown for more.
    """

    def __init__(self, upstream: TotoUpstream, *, scope: Mapping[str, Any] | None = None, **service: Any) -> None:
        """See `Predictor`."""
        engine = PublishedCode({"model": upstream.plain}, upstream.mode, service.get("policy", "compile"), scope)
        super().__init__(engine, scope=None if scope is None else {**scope, "windows": [1]}, **service)
        self._upstream = upstream

    def forecast(
        self,
        inputs: Any,
        prediction_length: int,
        num_samples: int | None = None,
        samples_per_batch: int | None = None,
        use_kv_cache: bool | None = None,
        future_exogenous_variables: Tensor | None = None,
    ) -> Any:
        """As the published object's; what it returns is a copy, the caller's own.

        Args:
            samples_per_batch, use_kv_cache: None is what was judged.

        Raises:
            UserError: a KV cache where none was judged, or none where one was; exogenous variables.
        """
        judged = self._upstream.kv_cache
        if use_kv_cache not in (None, judged):
            raise UserError(f"use_kv_cache={use_kv_cache} is another computation; {judged} was judged")
        if future_exogenous_variables is not None or getattr(inputs, "num_exogenous_variables", 0):
            raise UserError("exogenous variables were not judged; call the published forecaster for them")
        rows, size = tuple(inputs.series.shape), samples_per_batch or self._batch(num_samples)
        shape = f"series {rows}, {prediction_length} rows, {num_samples} samples, {size} at once"
        series = 1 if len(rows) == 2 else rows[0]
        with self._service.call([rows[-1]], prediction_length, series, num_samples), self._engine.call(shape):
            found = self._upstream.published.forecast(inputs, prediction_length, num_samples, size, judged)
            return type(found)(found.mean.clone(), None if found.samples is None else found.samples.clone())

    def warm_up(self, context: int, horizon: int, samples: int | None = None, series: int = 1) -> None:
        """Have the code for a call of one series of this shape compiled; eager code needs none."""
        if self._engine.mode is None:
            return
        with self._service.warming():
            inputs = self._upstream.masked(torch.sin(torch.arange(context, dtype=torch.float64)).numpy())
            for _ in range(2):  # a CUDA graph is recorded at the first, and replayed at the second
                self.forecast(inputs, horizon, samples)

    def _batch(self, samples: int | None) -> int:
        return divisor(samples, self._upstream.samples_per_batch) if samples else 1


def divisor(samples: int, most: int) -> int:
    """The largest divisor of `samples` that is at most `most`: the published loop takes no other batch."""
    return next(size for size in range(min(samples, most), 0, -1) if samples % size == 0)
