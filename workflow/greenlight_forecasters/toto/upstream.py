"""The published code of `toto-ts`, as it is: the reference for accuracy and speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from greenlight.api import Forecaster, LoadOptions, UserError, Window, window_seed
from greenlight_forecasters.toto.checkpoint import find
from greenlight_forecasters.toto.inputs import contexts, truths
from greenlight_forecasters.toto.published import (
    PUBLISHED,
    MaskedTimeseries,
    Package,
    Toto,
    TotoBackbone,
    load_published,
    package_of_copy,
)
from greenlight_forecasters.toto.served import ServedTotoForecaster, divisor

DEFAULT_SAMPLES_PER_BATCH = 32
_DISTRIBUTION = ("df", "loc", "scale", "mixture_weights")


class TotoUpstream(Forecaster):
    """Toto as published, one window at a time.

    Settings:
        samples_per_batch: samples decoded at once, lowered to a divisor of the sample count (default 32).
        kv_cache: whether decoding uses the published KV cache (default true). The reference for numerics is
            float64 with `kv_cache: false`: the uncached run is what training saw.

    Attributes:
        published: the published forecaster.
        plain: its backbone as it was before torch.compile, which `mode` says how it compiles; None: it does not.
        samples_per_batch, kv_cache: of the settings.
    """

    def __init__(self, toto: Toto, options: LoadOptions, package: Package = PUBLISHED) -> None:
        self._package = package
        self._dtype = getattr(torch, options.dtype)
        self._device = torch.device(options.device)
        self.samples_per_batch = int(options.settings.get("samples_per_batch", DEFAULT_SAMPLES_PER_BATCH))
        self._batch = 1
        self.kv_cache = bool(options.settings.get("kv_cache", True))
        self._parameters = sum(parameter.numel() for parameter in toto.parameters())
        self._backbone: TotoBackbone = self.prepare(toto).to(self._device, self._dtype).model
        self.plain: TotoBackbone = self._backbone
        self.mode: str | None = None
        self.published = self._package.forecaster(self._backbone)

    @classmethod
    def load(cls, options: LoadOptions) -> TotoUpstream:
        """Load the published code, or its copy in `options.code`, with a checkpoint's weights.

        Raises:
            UserError: weights that can't be had or do not fit, or a copy that lacks something.
        """
        package = package_of_copy(Path(options.code)) if options.code else PUBLISHED
        folder = find(options.source, options.revision)
        try:
            return cls(load_published(folder, package), options, package)
        except UserError as error:
            if not options.code:
                raise
            raise UserError(f"models.toto.code: {options.code}: its Toto does not fit the weights ({error})") from error

    def prepare(self, toto: Toto) -> Toto:
        """What an implementation changes on the loaded model; upstream changes nothing."""
        return toto

    def compile(self, mode: str) -> None:
        """Compile the backbone, the module that the forecaster calls.

        `toto.compile()`, as the package's README has it, compiles the outer module, whose forward is never
        called.
        """
        self._backbone, self.mode = torch.compile(self._backbone, mode=mode), mode
        self.published = self._package.forecaster(self._backbone)

    def predictor(self, **settings: Any) -> ServedTotoForecaster:
        """The published forecaster itself, for production; settings as `ServedTotoForecaster` takes them."""
        return ServedTotoForecaster(self, **settings)

    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """Sampled paths [windows, samples, horizon] float64; see `Forecaster.forecast`.

        The random numbers of a window are those of torch's global generator, seeded for the window.
        """
        series, quoting = contexts(windows, self._patch)
        self._batch = divisor(samples, self.samples_per_batch)
        paths = np.empty((len(windows), samples, windows[0].horizon))
        for row, window in enumerate(windows):
            with torch.random.fork_rng(devices=self._devices()):
                torch.manual_seed(window_seed(seed, window))
                forecast = self.published.forecast(
                    self.masked(series[row]),
                    prediction_length=window.horizon,
                    num_samples=samples,
                    samples_per_batch=self._batch,
                    use_kv_cache=self.kv_cache,
                )
            paths[row] = forecast.samples[0, 0].T.double().cpu().numpy()
        return quoting.prices(paths)

    def served(self, windows: Sequence[Window], samples: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What production's object gives for the quoted series, one by one with the random numbers of `forecast`, and
        what that gives: {"close": (found, expected)}, [windows, samples, horizon] each."""
        series, quoting = contexts(windows, self._patch)
        predictor, paths = self.predictor(), []
        for row, window in enumerate(windows):
            with torch.random.fork_rng(devices=self._devices()):
                torch.manual_seed(window_seed(seed, window))
                found = predictor.forecast(self.masked(series[row]), window.horizon, samples).samples
            paths.append(found[0, 0].T.double().cpu().numpy())
        return {"close": (quoting.prices(np.stack(paths)), self.forecast(windows, samples, seed))}

    @torch.no_grad()
    def probe(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        """Parameters of the predicted distribution at the prefill and at each decode step, fed the truth.

        Returns:
            df, loc, scale, mixture_weights: [windows, steps, patch, components], the mixture of Student-t
            in the scaler's units; scaler_loc, scaler_scale: [windows, steps], the affine map back, in price
            times unit.
        """
        series, quoting = contexts(windows, self._patch)
        truth = truths(windows, self._patch, quoting)
        found = [self._teacher_forced(series[row], truth[row]) for row in range(len(windows))]
        return {name: np.stack([one[name] for one in found]) for name in found[0]}

    def sizes(self) -> dict[str, int]:
        """Number of parameters, rows in a patch, and the most samples that are decoded at once."""
        return {"parameters": self._parameters, "patch": self._patch, "samples_per_batch": self.samples_per_batch}

    @property
    def _patch(self) -> int:
        return self._backbone.patch_embed.patch_size

    def _devices(self) -> list[torch.device]:
        return [self._device] if self._device.type == "cuda" else []

    def masked(self, series: np.ndarray) -> MaskedTimeseries:
        """A series of prices as the published code takes it."""
        values = torch.as_tensor(series, dtype=self._dtype, device=self._device)[None]
        return self._package.series(
            series=values,
            padding_mask=torch.ones_like(values, dtype=torch.bool),
            id_mask=torch.zeros_like(values, dtype=torch.int),
            timestamp_seconds=torch.zeros_like(values, dtype=torch.int),
            time_interval_seconds=torch.zeros(1, dtype=torch.int, device=self._device),
        )

    def _teacher_forced(self, series: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
        """The steps of one window: the series grows by a patch of truth before each decode step.

        The window stands in a batch as large as the latest forecast's, and is handed over as there, so that compiled
        code is the same: to torch.compile an expanded tensor is another shape, and a number no tensor.
        """
        inputs = torch.as_tensor(series, dtype=self._dtype, device=self._device).repeat(self._batch, 1, 1)
        patches = torch.as_tensor(truth, dtype=self._dtype, device=self._device)
        prefix, cache = inputs.shape[-1], None
        # Where the published code has such a number, it collates it with the series.
        exogenous = getattr(self.masked(series), "num_exogenous_variables", None)
        beside = {} if exogenous is None else {"num_exogenous_variables": torch.tensor([exogenous])}
        if self.kv_cache:
            cache = self._backbone.allocate_kv_cache(
                self._batch, 1, prefix + (len(patches) + 1) * self._patch, self._device, self._dtype
            )
        steps = []
        for step in range(len(patches) + 1):
            if step > 0:
                inputs = torch.cat([inputs, patches[step - 1].expand(self._batch, 1, -1)], dim=-1)
            output = self._backbone(
                inputs,
                torch.ones_like(inputs, dtype=torch.bool),
                torch.zeros_like(inputs, dtype=torch.int),
                cache,
                prefix,
                **beside,
            )
            steps.append(_parameters(output.distribution, output.loc, output.scale, self._patch))
        return {name: np.stack([step[name] for step in steps]) for name in steps[0]}


def _parameters(
    mixture: torch.distributions.MixtureSameFamily, loc: torch.Tensor, scale: torch.Tensor, patch: int
) -> dict[str, np.ndarray]:
    components = mixture.component_distribution
    values = (components.df, components.loc, components.scale, mixture.mixture_distribution.probs)
    found = {
        name: value[0, 0, -patch:].double().cpu().numpy() for name, value in zip(_DISTRIBUTION, values, strict=True)
    }
    found["scaler_loc"] = loc[0, 0, -1].double().cpu().numpy()
    found["scaler_scale"] = scale[0, 0, -1].double().cpu().numpy()
    return found
