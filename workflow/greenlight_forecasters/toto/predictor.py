"""The engine, called as the published `TotoForecaster` is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from greenlight.api import UserError, check_keys
from greenlight_forecasters.engine.calls import plain_state
from greenlight_forecasters.engine.service import Predictor
from greenlight_forecasters.toto.checkpoint import Dimensions, plain_names
from greenlight_forecasters.toto.static.engine import TotoEngine
from greenlight_forecasters.toto.static.network import Network, published_names
from greenlight_forecasters.toto.static.scaler import MINIMUM_VARIANCE

# Of random seeds that torch draws.
_MOST = 2**63 - 1


@dataclass(frozen=True)
class TotoForecast:
    """What the published `Forecast` is.

    Attributes:
        mean: [batch, variates, horizon].
        samples: [batch, variates, horizon, samples]; None where the mean alone was asked for.
    """

    mean: Tensor
    samples: Tensor | None = None

    def quantile(self, q: float | Tensor) -> Tensor:
        """Quantiles of the samples, [batch, variates, horizon] for one q."""
        samples = self._samples()
        return samples.quantile(torch.as_tensor(q, device=samples.device, dtype=samples.dtype), dim=-1)

    @property
    def median(self) -> Tensor:
        """The median of the samples."""
        return self.quantile(0.5)

    @property
    def std(self) -> Tensor:
        """The standard deviation of the samples."""
        return self._samples().std(dim=-1)

    def _samples(self) -> Tensor:
        if self.samples is None:
            raise ValueError("this forecast has no samples; ask for them by num_samples")
        return self.samples


class StaticTotoForecaster(Predictor):
    """What stands in for a `TotoForecaster`: `forecast`, by the static engine.

    Beyond the first patch its forecasts are those of the published code without its KV cache, which is not exact
    (docs/toto.md). Draws follow the same distributions in an order of their own: seeds of the series come from torch's
    global generator on the CPU, so that `torch.manual_seed` fixes them. It may be called from many threads.
    """

    @classmethod
    def of_published(cls, forecaster: Any, mode: str | None, **settings: Any) -> Self:
        """The same interface on the weights of a loaded `TotoForecaster`.

        Args:
            mode: one of torch.compile's; None or `eager` compiles nothing.

        Raises:
            UserError: an architecture, or a number format, that this engine does not have.
        """
        backbone = getattr(forecaster.model, "_orig_mod", forecaster.model)
        weight = backbone.unembed.weight
        if weight.dtype not in (torch.float32, torch.float64):
            raise UserError(
                f"accelerate: the forecaster's weights are {weight.dtype}; expected float32 or float64, in which "
                "prices fit. Load them in float32; the engine itself can run the transformer in bfloat16 (TotoEngine)"
            )
        with plain_state(weight.device):
            tensors = {name: tensor.detach().cpu().clone() for name, tensor in backbone.state_dict().items()}
            tensors = plain_names({f"model.{name}": tensor for name, tensor in tensors.items()})
            dimensions = _dimensions(backbone, tensors)
            check_keys(tensors, published_names(dimensions), "accelerate: the forecaster's model")
            network = Network.from_published(dimensions, tensors, weight.dtype).to(weight.device)
            engine = TotoEngine(network, dtype=weight.dtype)
            # The user may change their own model later: that these are other weights then is said.
            engine.guard.watch_instead({"forecaster.model": backbone})
        if mode not in (None, "eager"):
            engine.compile(mode)
        return cls(engine, **settings)

    def forecast(
        self,
        inputs: Any,
        prediction_length: int,
        num_samples: int | None = None,
        samples_per_batch: int = 10,
        use_kv_cache: bool = True,
        future_exogenous_variables: Tensor | None = None,
    ) -> TotoForecast:
        """Forecast a `MaskedTimeseries`, batched or not, as the published code does.

        Args:
            inputs: series [batch, variates, length] or [variates, length]; padding_mask, False where a value is
                missing; id_mask, variates of the same number see each other.
            prediction_length: rows to forecast.
            num_samples: sample paths; None gives the path that is fed its own expected values.
            samples_per_batch: most paths of a series that are decoded at once; it changes no result.
            use_kv_cache: taken, and of no effect: the results are those of the published code without its cache.
            future_exogenous_variables: None; anything else is refused.

        Raises:
            UserError: exogenous variables, or groups that change along a series, which the engine does not have.
            ValueError: shapes that do not fit, or values that are not finite.
        """
        if future_exogenous_variables is not None or getattr(inputs, "num_exogenous_variables", 0):
            raise UserError(
                "exogenous variables can't be honoured by the static engine; call the published forecaster for them"
            )
        parts = (inputs.series, inputs.padding_mask, inputs.id_mask)
        series, observed, groups = (torch.as_tensor(part) for part in parts)
        if series.ndim == 2:
            series, observed, groups = series[None], observed[None], groups[None]
        if not series.is_floating_point() or series.dtype.itemsize < 4:
            raise ValueError(f"the series are {series.dtype}; expected float32 or float64, in which prices fit")
        if groups.ndim != 3 or not bool((groups == groups[..., :1]).all()):
            raise UserError(
                "id_mask changes along a series, which the static engine can't honour; call the published forecaster"
            )
        groups = groups[..., 0].long().expand(series.shape[:2])
        with self._service.call([series.shape[-1]], prediction_length, len(series), num_samples):
            if num_samples is None:
                mean = self._engine.mean(series, prediction_length, observed=observed.bool(), groups=groups)
                return TotoForecast(mean.to(series.dtype))
            seeds = self.seeds(len(series))
            paths = self._engine.sample(
                series,
                prediction_length,
                num_samples,
                seeds,
                observed=observed.bool(),
                groups=groups,
                samples_per_batch=samples_per_batch,
            )
            samples = paths.transpose(2, 3).to(series.dtype)
            return TotoForecast(samples.mean(dim=-1), samples)

    def seeds(self, series: int) -> list[int]:
        """Seeds of the random numbers of each series, from torch's own generator."""
        found: list[int] = torch.randint(_MOST, (series,), dtype=torch.int64, device="cpu").tolist()
        return found

    def warm_up(
        self,
        context: int,
        horizon: int,
        samples: int | None = None,
        series: int = 1,
        variates: int = 1,
        samples_per_batch: int | None = None,
    ) -> None:
        """Have the code for a shape compiled: calls with the same numbers then run it, whatever the horizon up to it.

        `samples_per_batch` as in `forecast`, for which 10 is the published default; None is all samples.
        """
        rows = torch.sin(torch.arange(context, dtype=torch.float32, device="cpu")).expand(series, variates, -1)
        observed = torch.ones(rows.shape, dtype=torch.bool, device="cpu")
        with self._service.warming():
            for _ in range(2):  # a CUDA graph is recorded at the first, and replayed at the second
                if samples is None:
                    self._engine.mean(rows, horizon, observed=observed)
                else:
                    seeds = list(range(series))
                    self._engine.sample(
                        rows, horizon, samples, seeds, observed=observed, samples_per_batch=samples_per_batch
                    )


def _dimensions(backbone: nn.Module, tensors: dict[str, Tensor]) -> Dimensions:
    """Of a loaded `TotoBackbone`; UserError for an architecture that Toto 1.0 is not."""
    scaler, outputs, patches = backbone.scaler, backbone.output_distribution, backbone.patch_embed
    layers = backbone.transformer.layers
    over_time = tuple(layer.attention_axis.name == "TIME" for layer in layers)
    found = {
        "scaler": (type(scaler).__name__, "CausalPatchStdMeanScaler"),
        "output distribution": (type(outputs).__name__, "MixtureOfStudentTsOutput"),
        "stride": (patches.stride, patches.patch_size),
        "least variance": (float(scaler.minimum_scale), MINIMUM_VARIANCE),
        "fusion of labels": (getattr(backbone, "fusion", None), None),
    }
    for name, (own, expected) in found.items():
        if own != expected:
            raise UserError(f"accelerate: the forecaster's {name} is {own!r}; Toto 1.0, as run here, has {expected!r}")
    for every in (-1, *range(1, len(layers) + 1)):
        for first in (False, True):
            dimensions = Dimensions(
                patch_size=patches.patch_size,
                stride=patches.stride,
                embed_dim=backbone.embed_dim,
                num_layers=len(layers),
                num_heads=layers[0].num_heads,
                mlp_hidden_dim=tensors["model.transformer.layers.0.mlp.2.weight"].shape[1],
                spacewise_every_n_layers=every,
                spacewise_first=first,
                k_components=outputs.k_components,
                stabilize_with_global=scaler.stabilize_with_global,
                scale_factor_exponent=scaler.scale_factor_exponent,
            )
            if dimensions.time_layers == over_time:
                return dimensions
    raise UserError(f"accelerate: layers over time are {over_time}, which no setting of Toto 1.0 gives")
