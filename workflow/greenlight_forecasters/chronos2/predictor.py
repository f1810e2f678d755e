"""The engine, called as the published pipeline is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from greenlight_forecasters.chronos2.engine import Chronos2Engine


class Chronos2Predictor:
    """What stands in for a `Chronos2Pipeline` where its `predict_quantiles` is called.

    Only what the engine does is taken: series without covariates, levels that the model was trained with, one pass.
    """

    def __init__(self, engine: Chronos2Engine) -> None:
        self.engine = engine

    @property
    def quantiles(self) -> list[float]:
        """The levels that the model was trained with."""
        return list(self.engine.dimensions.quantiles)

    def predict_quantiles(
        self,
        inputs: Tensor | np.ndarray | Sequence[Tensor | np.ndarray],
        prediction_length: int,
        quantile_levels: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Quantiles and medians, float32 on the CPU: [variates, horizon, levels] and [variates, horizon] of each input.

        Args:
            inputs: [windows, variates, length], or a series [length] or [variates, length] each; NaN where unknown.
            prediction_length: rows to forecast.
            quantile_levels: among those of `quantiles`; others the published pipeline interpolates.

        Raises:
            UserError: a horizon beyond one pass.
            ValueError: another level, or shapes that do not fit.
        """
        known = self.quantiles
        if other := [level for level in quantile_levels if level not in known]:
            raise ValueError(f"quantile levels {other} are not among those of the model, {known}")
        contexts = [torch.as_tensor(one) for one in inputs]
        contexts = [one[None] if one.ndim == 1 else one for one in contexts]
        found = self.engine.quantiles_of_each(contexts, prediction_length)
        # One copy from the device for all windows.
        sizes = [len(one) for one in found]
        rows = torch.cat(found).to("cpu", torch.float32).transpose(1, 2)
        chosen = rows[..., [known.index(level) for level in quantile_levels]]
        return list(chosen.split(sizes)), list(rows[..., known.index(0.5)].split(sizes))
