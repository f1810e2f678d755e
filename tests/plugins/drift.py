"""A whole plug-in in one file: quantiles of a damped drift, eager and compiled. docs/plugins.md walks through it."""

from statistics import NormalDist

import numpy as np
from pydantic import Field

from greenlight.api import CLOSE, DECILES, Forecast, Forecaster, Implementation, Model, ModelSettings


class DriftSettings(ModelSettings):
    """Quantiles of a damped drift."""

    variants: tuple[str, ...] = ("plain-eager", "plain-default")
    """Variants to examine."""
    reference: str = "plain-eager"
    """The variant that the others are compared with."""
    damping: float = Field(default=0.5, ge=0, le=1)
    """Share of the context's mean change a row that goes on."""


class Drift(Forecaster):
    """Moves the last price by a share of the mean change a row; the spread grows as a random walk's."""

    def __init__(self, damping, device, dtype):
        import torch  # here: a run is planned without it

        def predict(closes, rows):
            changes = closes.diff(dim=1)
            centre = closes[:, -1:] + damping * changes.mean(dim=1, keepdim=True) * rows
            return centre, changes.std(dim=1, keepdim=True) * rows.sqrt()

        self.torch, self.predict, self.place = torch, predict, {"device": device, "dtype": getattr(torch, dtype)}

    @classmethod
    def load(cls, options):
        return cls(options.settings["damping"], options.device, options.dtype)

    def compile(self, mode):
        self.predict = self.torch.compile(self.predict, mode=mode, fullgraph=True)

    def forecast(self, windows, samples, seed):
        centre, spread = (part[:, None] for part in self._predict(windows))
        return centre + spread * np.array([[NormalDist().inv_cdf(level)] for level in DECILES])

    def probe(self, windows):
        return {name: part[:, None] for name, part in zip(("centre", "spread"), self._predict(windows), strict=True)}

    def sizes(self):
        return {"parameters": 0}

    def _predict(self, windows):
        """Centre and spread, [windows, horizon] float64 each."""
        closes = np.stack([window.context[:, CLOSE] for window in windows])
        # As differences from the last price, which float32 holds without losing digits.
        inputs = self.torch.as_tensor(closes - closes[:, -1:], **self.place)
        rows = self.torch.arange(1, windows[0].horizon + 1, **self.place)
        centre, spread = (part.double().cpu().numpy() for part in self.predict(inputs, rows))
        return centre + closes[:, -1:], spread


MODEL = Model(
    name="drift-1",
    settings=DriftSettings,
    implementations={"plain": Implementation("Drift", modes=("eager", "default"))},
    forecast=Forecast(levels=DECILES, random=False),
    checkpoints={},
)
