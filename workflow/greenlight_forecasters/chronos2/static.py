"""The gate's view of the engine: windows of prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from greenlight.api import Forecaster, LoadOptions, Window
from greenlight_forecasters.chronos2.checkpoint import find
from greenlight_forecasters.chronos2.engine import Chronos2Engine
from greenlight_forecasters.chronos2.inputs import Variates, standardised

if TYPE_CHECKING:
    from greenlight_forecasters.chronos2.predictor import StaticChronos2Pipeline


class Chronos2Static(Forecaster):
    """Chronos-2 on our own engine.

    Settings:
        beside: columns that the model sees beside close.
    """

    def __init__(self, engine: Chronos2Engine, variates: Variates) -> None:
        self._engine, self._variates = engine, variates

    @classmethod
    def load(cls, options: LoadOptions) -> Chronos2Static:
        """Load a checkpoint into the engine; UserError where files are missing or do not fit."""
        folder = find(options.source, options.revision)
        dtype = getattr(torch, options.dtype)
        return cls(
            Chronos2Engine.from_checkpoint(folder, device=options.device, dtype=dtype), Variates.of(options.settings)
        )

    def compile(self, mode: str) -> None:
        """Compile the network, one graph a bucket."""
        self._engine.compile(mode)

    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """Quantiles of the closing price, [windows, levels, horizon] float64; nothing in them is random."""
        return self._quantiles(self._variates.contexts(windows, self._engine.dimensions), windows[0].horizon)

    def probe(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        """The quantiles as one step, [windows, 1, levels, horizon], in standard deviations of the context."""
        contexts = self._variates.contexts(windows, self._engine.dimensions)
        quantiles = self._quantiles(contexts, windows[0].horizon)
        return {"quantiles": standardised(quantiles, contexts)[:, None]}

    def predictor(self, **settings: Any) -> StaticChronos2Pipeline:
        """The published pipeline's interface on this engine; settings as `StaticChronos2Pipeline` takes them."""
        from greenlight_forecasters.chronos2.predictor import StaticChronos2Pipeline

        return StaticChronos2Pipeline(self._engine, **settings)

    def changes(self) -> dict[str, str]:
        """See `Forecaster.changes`."""
        return self._engine.changes()

    def served(self, windows: Sequence[Window], samples: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What production's object gives beside what `forecast` does, [windows, levels, horizon] each."""
        series = [torch.from_numpy(one) for one in self._variates.contexts(windows, self._engine.dimensions)]
        levels = list(self._engine.dimensions.quantiles)
        found, _ = self.predictor().predict_quantiles(series, windows[0].horizon, quantile_levels=levels)
        expected = self.forecast(windows, samples, seed)
        return {"quantiles": (np.stack([one[0].T.double().cpu().numpy() for one in found]), expected)}

    def sizes(self) -> dict[str, int]:
        """Number of parameters as published, and rows in a patch."""
        return {"parameters": self._engine.parameters, "patch": self._engine.dimensions.patch}

    def _quantiles(self, contexts: np.ndarray, horizon: int) -> np.ndarray:
        found = self._engine.quantiles(torch.from_numpy(contexts), horizon)
        return found[:, 0].double().cpu().numpy()
