"""What predictors that stand in for the published `Chronos2Pipeline` share: long data frames, and warming."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from greenlight.api import DECILES, UserError
from greenlight_forecasters.engine.service import Predictor

if TYPE_CHECKING:
    import pandas as pd


class Pipeline(Predictor):
    """See its subclasses; `beyond` says why they refuse what they do."""

    beyond: str

    predict_quantiles: Callable[..., tuple[list[Tensor], list[Tensor]]]

    @abstractmethod
    def _warm(self, rows: Tensor, horizon: int) -> None:
        """Call the code that is to be compiled with series [series, variates, length]."""

    def predict_df(
        self,
        df: pd.DataFrame,
        future_df: pd.DataFrame | None = None,
        id_column: str = "item_id",
        timestamp_column: str = "timestamp",
        target: str | list[str] = "target",
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] = DECILES,
        batch_size: int = 256,
        context_length: int | None = None,
        cross_learning: bool = False,
        validate_inputs: bool = True,
        freq: str | None = None,
        **settings: Any,
    ) -> pd.DataFrame:
        """Forecasts of the series of a long data frame, as one; `frames.LongFrame` says what they have.

        Args:
            df: a row a time, with ids, times and targets, and nothing else: further columns would be covariates.
            future_df: None; covariates that are known are refused.
            validate_inputs: taken, and of no effect: the frame is always checked.
            freq: of the times; None infers it.
            settings: as for `predict_quantiles`, as are the others.

        Raises:
            UserError, ValueError: as `predict_quantiles` and `LongFrame`.
        """
        from greenlight_forecasters.chronos2.frames import LongFrame

        if future_df is not None:
            raise UserError(f"future_df {self.beyond}; call the published pipeline for it")
        frame = LongFrame(df, id_column, timestamp_column, [target] if isinstance(target, str) else target, freq)
        settings |= {"batch_size": batch_size, "context_length": context_length, "cross_learning": cross_learning}
        found = self.predict_quantiles(frame.series, prediction_length, quantile_levels, **settings)
        return frame.forecasts(*found, quantile_levels)

    def warm_up(self, context: int, horizon: int, series: int = 1, variates: int = 1) -> None:
        """Have the code for a shape compiled, and with it for all shapes of its buckets (`chronos2.buckets`)."""
        rows = torch.sin(torch.arange(context, dtype=torch.float32, device="cpu")).expand(series, variates, -1)
        with self._service.warming():
            for _ in range(2):  # a CUDA graph is recorded at the first, and replayed at the second
                self._warm(rows, horizon)
