"""The published pipeline of `chronos-forecasting`, as it is: the reference for accuracy and speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from greenlight.api import Forecaster, LoadOptions, Window
from greenlight_forecasters.chronos2.checkpoint import Dimensions, find, read_dimensions
from greenlight_forecasters.chronos2.inputs import Variates, standardised
from greenlight_forecasters.chronos2.published import Chronos2Pipeline, in_double_precision, load_published
from greenlight_forecasters.chronos2.served import ServedChronos2Pipeline


class Chronos2Upstream(Forecaster):
    """Chronos-2 as published: `Chronos2Pipeline.predict_quantiles` over the windows of a call.

    Settings:
        beside: columns that the model sees beside close.
        attention: `sdpa`, the published default, or `eager`.

    Attributes:
        pipeline: the published one.
        plain: its model as it was before torch.compile, which `mode` says how it compiles; None: it does not.
    """

    def __init__(self, pipeline: Chronos2Pipeline, dimensions: Dimensions, options: LoadOptions) -> None:
        self._dtype = getattr(torch, options.dtype)
        if self._dtype == torch.float64:
            in_double_precision(pipeline.model)
        pipeline.model.to(torch.device(options.device), self._dtype)
        self._parameters = sum(parameter.numel() for parameter in pipeline.model.parameters())
        self.pipeline, self._dimensions = pipeline, dimensions
        self.plain = pipeline.model
        self.mode: str | None = None
        self._variates = Variates.of(options.settings)

    @classmethod
    def load(cls, options: LoadOptions) -> Chronos2Upstream:
        """Load the published code with a checkpoint's weights; UserError where they can't be had or do not fit."""
        folder = find(options.source, options.revision)
        pipeline = load_published(folder, str(options.settings.get("attention", "sdpa")))
        return cls(pipeline, read_dimensions(folder), options)

    def compile(self, mode: str) -> None:
        """Compile the pipeline's inner model, as those do who run Chronos-2 compiled: the package has no option."""
        self.pipeline.model, self.mode = torch.compile(self.pipeline.model, mode=mode), mode

    def predictor(self, **settings: Any) -> ServedChronos2Pipeline:
        """The published pipeline itself, for production; settings as `ServedChronos2Pipeline` takes them."""
        return ServedChronos2Pipeline(self, **settings)

    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """Quantiles of the closing price, [windows, levels, horizon] float64; nothing in them is random."""
        return self._quantiles(self._variates.contexts(windows, self._dimensions), windows[0].horizon)

    def probe(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        """The quantiles as one step, [windows, 1, levels, horizon], in standard deviations of the context."""
        contexts = self._variates.contexts(windows, self._dimensions)
        quantiles = self._quantiles(contexts, windows[0].horizon)
        return {"quantiles": standardised(quantiles, contexts)[:, None]}

    def served(self, windows: Sequence[Window], samples: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What production's object gives beside what `forecast` does, [windows, levels, horizon] each."""
        series = [torch.from_numpy(one) for one in self._variates.contexts(windows, self._dimensions)]
        levels = list(self._dimensions.quantiles)
        found, _ = self.predictor().predict_quantiles(series, windows[0].horizon, quantile_levels=levels)
        expected = self.forecast(windows, samples, seed)
        return {"quantiles": (np.stack([one[0].T.double().cpu().numpy() for one in found]), expected)}

    def sizes(self) -> dict[str, int]:
        """Number of parameters and rows in a patch."""
        return {"parameters": self._parameters, "patch": self._dimensions.patch}

    def _quantiles(self, contexts: np.ndarray, horizon: int) -> np.ndarray:
        if self._dtype == torch.float64:
            return self._in_double_precision(torch.from_numpy(contexts), horizon)
        found, _ = self.pipeline.predict_quantiles(
            [torch.from_numpy(context) for context in contexts],
            prediction_length=horizon,
            quantile_levels=list(self._dimensions.quantiles),
        )
        return np.stack([one[0].T.double().numpy() for one in found])

    @torch.no_grad()
    def _in_double_precision(self, contexts: torch.Tensor, horizon: int) -> np.ndarray:
        """What the pipeline does with contexts [windows, variates, length], without its rounding to float32."""
        model, (count, variates, _) = self.pipeline.model, contexts.shape
        quantiles = model(
            context=contexts[..., -self._dimensions.context_length :].flatten(0, 1).to(model.device),
            group_ids=torch.arange(count, device=model.device).repeat_interleave(variates),
            num_output_patches=math.ceil(horizon / self._dimensions.patch),
        ).quantile_preds
        return quantiles.unflatten(0, (count, variates))[:, 0, :, :horizon].cpu().numpy()
