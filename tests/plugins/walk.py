"""A plug-in that draws paths in two ways, each with random numbers of its own: walks whose steps a network gives."""

import numpy as np
from scipy.special import ndtri

from greenlight.api import CLOSE, Forecaster, Implementation, Model, ModelSettings, window_seed


class WalkSettings(ModelSettings):
    """Random walks."""

    variants: tuple[str, ...] = ("plain-eager", "own-eager")
    """Variants to examine."""
    reference: str = "plain-eager"
    """The variant that the others are compared with."""


class Walk(Forecaster):
    """Steps from the last price, of a drift and a spread that the latest changes give."""

    STREAM = 0

    def __init__(self, device, dtype):
        import torch

        self.torch, self.place = torch, {"device": device, "dtype": getattr(torch, dtype)}
        rng = np.random.default_rng(0)
        self.layers = [torch.as_tensor(rng.standard_normal(shape) / 3, **self.place) for shape in ((8, 16), (16, 2))]

    @classmethod
    def load(cls, options):
        return cls(options.device, options.dtype)

    def compile(self, mode):
        """Never asked for: both implementations have the mode eager alone."""
        raise NotImplementedError

    def steps(self, windows):
        """Last price, unit, drift and spread of a step, [windows, 1] each."""
        closes = np.stack([window.context[-9:, CLOSE] for window in windows])
        changes = np.diff(closes, axis=1)
        unit = changes.std(axis=1, keepdims=True)
        hidden = self.torch.tanh(self.torch.as_tensor(changes / unit, **self.place) @ self.layers[0])
        drift, spread = (hidden @ self.layers[1] / 3).double().cpu().numpy().T[..., None]
        return closes[:, -1:], unit, drift, np.exp(spread)

    def uniforms(self, windows, samples, seed):
        """[windows, samples, horizon] in (0, 1)."""
        seeds = [[window_seed(seed, window), self.STREAM] for window in windows]
        return np.stack([np.random.default_rng(one).random((samples, windows[0].horizon)) for one in seeds])

    def forecast(self, windows, samples, seed):
        last, unit, drift, spread = (part[..., None] for part in self.steps(windows))
        return last + unit * np.cumsum(drift + spread * ndtri(self.uniforms(windows, samples, seed)), axis=2)

    def probe(self, windows):
        return dict(zip(("drift", "spread"), self.steps(windows)[2:], strict=True))

    def sizes(self):
        return {"parameters": 160}


class Own(Walk):
    """The same with other random numbers."""

    STREAM = 1


MODEL = Model(
    name="walk-1",
    settings=WalkSettings,
    implementations={
        "plain": Implementation("Walk", ("eager",)),
        "own": Implementation("Own", ("eager",), own_draws=True),
    },
    checkpoints={},
)
