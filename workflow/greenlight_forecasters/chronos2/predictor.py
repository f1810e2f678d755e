"""The engine, called as the published `Chronos2Pipeline` is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from greenlight.api import DECILES, UserError, check_keys
from greenlight_forecasters.chronos2.checkpoint import dimensions_of, published_names
from greenlight_forecasters.chronos2.engine import Chronos2Engine
from greenlight_forecasters.chronos2.network import Network
from greenlight_forecasters.chronos2.pipeline import Pipeline
from greenlight_forecasters.engine.calls import plain_state


class StaticChronos2Pipeline(Pipeline):
    """What stands in for a `Chronos2Pipeline` where its `predict_quantiles`, `predict_df` or `predict` is called.

    It takes what the engine does: series without covariates, levels that the model was trained with, one pass. Anything
    else is refused. It may be called from many threads.
    """

    beyond = "can't be honoured by the static engine"

    @classmethod
    def of_published(cls, pipeline: Any, mode: str | None, **settings: Any) -> Self:
        """The same interface on the weights of a loaded `Chronos2Pipeline`.

        Args:
            mode: one of torch.compile's; None or `eager` compiles nothing.

        Raises:
            UserError: an architecture, or a number format, that the engine does not have.
        """
        model = getattr(pipeline.model, "_orig_mod", pipeline.model)
        weight = model.shared.weight
        if weight.dtype != torch.float32:
            raise UserError(
                f"accelerate: the pipeline's weights are {weight.dtype}; expected float32. Load them in it (dtype)"
            )
        dimensions = dimensions_of(model.config.to_dict(), "accelerate: the pipeline's model")
        with plain_state(weight.device):
            tensors = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
            check_keys(tensors, published_names(dimensions), "accelerate: the pipeline's model")
            network = Network.from_published(dimensions, tensors, weight.dtype, weight.device)
            engine = Chronos2Engine(network, sum(tensor.numel() for tensor in tensors.values()))
            # The user may change their own model later: that these are other weights then is said.
            engine.guard.watch_instead({"pipeline.model": model})
        if mode not in (None, "eager"):
            engine.compile(mode)
        return cls(engine, **settings)

    @property
    def quantiles(self) -> list[float]:
        """The levels that the model was trained with."""
        return list(self._engine.dimensions.quantiles)

    def predict(
        self,
        inputs: Tensor | np.ndarray | Sequence[Tensor | np.ndarray],
        prediction_length: int | None = None,
        batch_size: int = 256,
        context_length: int | None = None,
        cross_learning: bool = False,
        limit_prediction_length: bool = False,
    ) -> list[Tensor]:
        """All quantiles of each input, float32 on the CPU, [variates, levels, horizon].

        Args:
            inputs: [windows, variates, length], or a series [length] or [variates, length] each; NaN where unknown.
            prediction_length: rows to forecast; None is the most of one pass.
            batch_size: taken, and of no effect.
            context_length: the last rows that are seen; None is the model's most.
            cross_learning: False; anything else is refused.
            limit_prediction_length: taken: beyond one pass is refused anyway.

        Raises:
            UserError: covariates, cross-learning, or a horizon beyond one pass.
            ValueError: shapes that do not fit.
        """
        if cross_learning:
            raise UserError(f"cross_learning {self.beyond}; call the published pipeline for it")
        if any(isinstance(one, dict) for one in inputs):
            raise UserError(f"covariates {self.beyond}; call the published pipeline for them")
        contexts = [torch.as_tensor(one).float() for one in inputs]
        contexts = [one[None] if one.ndim == 1 else one for one in contexts]
        if context_length is not None:
            contexts = [one[..., -context_length:] for one in contexts]
        horizon = self._engine.dimensions.longest_horizon if prediction_length is None else prediction_length
        with self._service.call([one.shape[-1] for one in contexts], horizon, len(contexts)):
            found = self._engine.quantiles_of_each(contexts, horizon)
            # One copy from the device for all windows.
            rows = torch.cat(found).to("cpu", torch.float32)
        return list(rows.split([len(one) for one in contexts]))

    def predict_quantiles(
        self,
        inputs: Tensor | np.ndarray | Sequence[Tensor | np.ndarray],
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] = DECILES,
        **settings: Any,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Quantiles and medians, float32 on the CPU: [variates, horizon, levels] and [variates, horizon] of each input.

        Args:
            quantile_levels: among those of `quantiles`; others, which the published pipeline interpolates, are refused.
            settings: as for `predict`, and inputs and prediction_length.
        """
        known = self.quantiles
        if other := [level for level in quantile_levels if level not in known]:
            raise UserError(
                f"quantile levels {other} are not among those of the model, {known}; the published pipeline "
                "interpolates them"
            )
        predictions = [one.transpose(1, 2) for one in self.predict(inputs, prediction_length, **settings)]
        chosen = [known.index(level) for level in quantile_levels]
        return [one[..., chosen] for one in predictions], [one[..., known.index(0.5)] for one in predictions]

    def _warm(self, rows: Tensor, horizon: int) -> None:
        self._engine.quantiles(rows, horizon)
