"""The published algorithm: every step recomputes the whole window for every sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from greenlight.api import Window
from greenlight_forecasters.kronos.candles import Candles, prepare
from greenlight_forecasters.kronos.forecaster import KronosForecaster, as_array, in_full, probed
from greenlight_forecasters.kronos.sampling import (
    Sampling,
    draw,
    fill_noise,
    noise_size,
    probabilities,
    sound,
    split_noise,
)

if TYPE_CHECKING:
    from greenlight_forecasters.kronos.served import ServedKronosPredictor


class KronosUpstream(KronosForecaster):
    """Kronos as published: no cache, one window at a time, all samples as rows of one batch."""

    mode: str | None = None

    def compile(self, mode: str) -> None:
        """Compile `decode_s1` and `decode_s2`.

        Wrapping the module instead would compile nothing: the published loop calls these two methods, which
        bypass the module's wrapper.
        """
        self.mode = mode
        self.network.decode_s1 = torch.compile(self.network.decode_s1, mode=mode)
        self.network.decode_s2 = torch.compile(self.network.decode_s2, mode=mode)

    def predictor(self, **settings: Any) -> ServedKronosPredictor:
        """The published predictor's interface, by this loop; settings as `StaticKronosPredictor` takes them."""
        from greenlight_forecasters.kronos.served import ServedKronosPredictor

        return ServedKronosPredictor(self, clip=self.settings.clip, **settings)

    @torch.no_grad()
    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """Sampled paths of the price in `Window.column`: [windows, samples, horizon] float64."""
        self.check(windows)
        return np.concatenate([self.paths(window, samples, seed)[..., window.column] for window in windows])

    def columns(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """As `KronosForecaster.columns`, by one run of the loop."""
        return np.concatenate([self.paths(window, samples, seed) for window in windows])

    @torch.no_grad()
    def paths(self, window: Window, samples: int, seed: int) -> np.ndarray:
        """Sampled candles of one window in its own units: [1, samples, horizon, 6] float64.

        A sample is NaN throughout where a logit that it was drawn from, or the tokenizer's output, was not finite.
        """
        candles, noise = self._given(window, samples, seed)
        values = self.normalised(candles, noise, samples, self.sampling)[None]
        return np.stack([candles.restore(values[..., feature], feature) for feature in range(6)], axis=-1)

    @torch.no_grad()
    def normalised(self, candles: Candles, noise: Tensor, samples: int, sampling: Sampling) -> np.ndarray:
        """Sampled candles of one window, normalised: [samples, horizon, 6] float32; NaN as in `paths`.

        Args:
            candles: of one window, of which the truth is not read.
            noise: [horizon, noise_size] exponential random numbers.
            sampling: how tokens are drawn.
        """
        s1, s2, usable = self._run(candles, noise, samples, sampling)
        decoded = self._decoded(s1, s2)[:, -len(noise) :]
        return decoded.masked_fill(~usable[:, None, None], torch.nan).to(torch.float32).cpu().numpy()

    @torch.no_grad()
    def sample(self, window: Window, samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Tokens of the context followed by sampled ones: s1 and s2 [samples, context length + horizon]."""
        candles, noise = self._given(window, samples, seed)
        s1, s2, _ = self._run(candles, noise, samples, self.sampling)
        return s1, s2

    def _given(self, window: Window, samples: int, seed: int) -> tuple[Candles, Tensor]:
        """A window as the model reads it, and its random numbers [horizon, noise_size]."""
        _, horizon = self.check([window])
        size = noise_size(samples, self.classes)
        noise = torch.empty(1, horizon, size, dtype=torch.float32, device=self.device)
        fill_noise(noise, [window], seed)
        return prepare([window], self.settings.clip), noise[0]

    def _run(self, candles: Candles, noise: Tensor, samples: int, sampling: Sampling) -> tuple[Tensor, Tensor, Tensor]:
        """As `sample`, and whether each sample was drawn from finite logits throughout, [samples] bool."""
        noise_s1, noise_s2 = split_noise(noise, samples, self.classes)
        stamps = torch.from_numpy(candles.stamps).to(self.device).expand(samples, -1, -1)
        (s1, s2), usable = self.encode(candles, samples)
        context = s1.shape[1]
        for step in range(len(noise)):
            last = context + step
            seen = slice(max(0, last - self.settings.max_context), last)
            logits, hidden = self.network.decode_s1(s1[:, seen], s2[:, seen], stamps[:, seen])
            next_s1 = draw(probabilities(logits[:, -1], sampling), noise_s1[step]).unsqueeze(1)
            usable = usable & sound(logits[:, -1])
            logits = self.network.decode_s2(hidden, next_s1)
            next_s2 = draw(probabilities(logits[:, -1], sampling), noise_s2[step]).unsqueeze(1)
            usable = usable & sound(logits[:, -1])
            s1, s2 = torch.cat((s1, next_s1), dim=1), torch.cat((s2, next_s2), dim=1)
        return s1, s2, usable

    @torch.no_grad()
    def probe(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        """Logits at each step, fed the truth, the likeliest tokens, and candles; see `probed`.

        The logits of s2 are given the true s1 of the same step.
        """
        context, horizon = self.check(windows)
        candles = prepare(windows, self.settings.clip)
        stamps = torch.from_numpy(candles.stamps).to(self.device)
        s1, s2 = self.truth_tokens(candles)
        logits_s1, logits_s2 = [], []
        for step in range(horizon):
            last = context + step
            seen = slice(max(0, last - self.settings.max_context), last)
            # Versions of the published code differ in what they return beside the two.
            logits, hidden = self.network.decode_s1(s1[:, seen], s2[:, seen], stamps[:, seen])[:2]
            # Cloned: the next call of a compiled function may overwrite what this one returned.
            logits_s1.append(logits[:, -1].clone())
            logits_s2.append(self.network.decode_s2(hidden, s1[:, last : last + 1])[:, -1].clone())
        return probed(as_array(logits_s1), as_array(logits_s2), in_full(self._decoded(s1, s2)[:, -horizon:]))

    def _decoded(self, s1: Tensor, s2: Tensor) -> Tensor:
        """Normalised candles [batch, length, 6] of the latest tokens, at most `max_context`."""
        return self.tokenizer.decode(*(tokens[:, -self.settings.max_context :] for tokens in (s1, s2)))
