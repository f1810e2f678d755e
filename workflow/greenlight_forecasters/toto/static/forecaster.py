"""The gate's view of the engine: windows of one symbol's closing prices."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from greenlight.api import Forecaster, LoadOptions, Window, window_seed
from greenlight_forecasters.toto.checkpoint import find
from greenlight_forecasters.toto.inputs import contexts, truths
from greenlight_forecasters.toto.static.engine import TotoEngine

if TYPE_CHECKING:
    from greenlight_forecasters.toto.predictor import StaticTotoForecaster


class TotoStatic(Forecaster):
    """Toto on our own engine, many windows at once.

    Settings, under `static`, for `samples_per_batch` beside it is the published code's:
        windows_per_batch: windows that are prefilled at once (default 16).
        samples_per_batch: most sample paths of a window that are decoded at once (default 256). The probe takes it
            for its shape where nothing was forecast before.
    """

    def __init__(self, engine: TotoEngine) -> None:
        self._engine = engine

    @classmethod
    def load(cls, options: LoadOptions) -> TotoStatic:
        """Load a checkpoint into the engine; UserError where files are missing or do not fit."""
        folder = find(options.source, options.revision)
        sizes = {name: int(size) for name, size in options.settings.get("static", {}).items()}
        dtype = getattr(torch, options.dtype)
        return cls(TotoEngine.from_checkpoint(folder, device=options.device, dtype=dtype, **sizes))

    def compile(self, mode: str) -> None:
        """Compile prefill, start and decode, each as one graph."""
        self._engine.compile(mode)

    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """Sampled paths [windows, samples, horizon] float64; see `Forecaster.forecast`."""
        series, quoting = contexts(windows, self._engine.dimensions.patch_size)
        paths = self._engine.sample(
            torch.from_numpy(series)[:, None],
            windows[0].horizon,
            samples,
            [window_seed(seed, window) for window in windows],
        )
        return quoting.prices(paths[:, 0].double().cpu().numpy())

    def probe(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        """Parameters of the predicted distribution at the prefill and at each decode step; see `TotoUpstream`."""
        patch = self._engine.dimensions.patch_size
        series, quoting = contexts(windows, patch)
        found = self._engine.teacher_forced(
            torch.from_numpy(series)[:, None], torch.from_numpy(truths(windows, patch, quoting))[:, None]
        )
        return {name: value[:, 0].double().cpu().numpy() for name, value in zip(found._fields, found, strict=True)}

    def predictor(self, **settings: Any) -> StaticTotoForecaster:
        """The published forecaster's interface on this engine; settings as `StaticTotoForecaster` takes them."""
        from greenlight_forecasters.toto.predictor import StaticTotoForecaster

        return StaticTotoForecaster(self._engine, **settings)

    def served(self, windows: Sequence[Window], samples: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What production's object gives for the quoted series, called for all windows at once with the random numbers
        of `forecast`, and what that gives: {"close": (found, expected)}, [windows, samples, horizon] each."""
        series, quoting = contexts(windows, self._engine.dimensions.patch_size)
        predictor = self.predictor()
        predictor.seeds = lambda count: [window_seed(seed, one) for one in windows]
        values = torch.from_numpy(series)[:, None]
        inputs = SimpleNamespace(
            series=values, padding_mask=torch.ones_like(values), id_mask=torch.zeros_like(values, dtype=torch.int)
        )
        found = predictor.forecast(inputs, windows[0].horizon, samples).samples
        paths = quoting.prices(found[:, 0].transpose(1, 2).double().cpu().numpy())
        return {"close": (paths, self.forecast(windows, samples, seed))}

    def changes(self) -> dict[str, str]:
        """See `Forecaster.changes`."""
        return self._engine.changes()

    def sizes(self) -> dict[str, int]:
        """Parameters, with the two output layers folded into one; rows in a patch; what is computed at once."""
        engine = self._engine
        return {
            "parameters": engine.parameters,
            "patch": engine.dimensions.patch_size,
            "windows_per_batch": engine.windows_per_batch,
            "samples_per_batch": engine.samples_per_batch,
        }
