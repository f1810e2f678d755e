"""The published code itself, or an edited copy of it, from a folder that the configuration names.

Its own loop forecasts (`auto_regressive_inference` of model/kronos.py), with its own network, tokenizer, window,
temperature and filters. Only the draws are ours: `torch.multinomial` is answered with the class that wins the
exponential race over the window's random numbers, which on a CPU is its own answer, so that variants share them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from greenlight.api import WEIGHTS, LoadOptions, UserError, Window, load_into, read_weights
from greenlight_forecasters.copies import getattr_of_copy
from greenlight_forecasters.kronos.candles import Candles
from greenlight_forecasters.kronos.config import ModelConfig, Settings, TokenizerConfig, check_pair, parse
from greenlight_forecasters.kronos.forecaster import SETTING, TOKENIZER_SETTING, read_checkpoint
from greenlight_forecasters.kronos.sampling import Sampling, draw, split_noise
from greenlight_forecasters.kronos.upstream import KronosUpstream

_NAMES = ("Kronos", "KronosTokenizer", "auto_regressive_inference")
_KEY = "models.kronos.code"


@dataclass(frozen=True)
class PublishedCode:
    """What is used of the published code: two classes and the loop."""

    network: Callable[..., nn.Module]
    tokenizer: Callable[..., nn.Module]
    infer: Callable[..., np.ndarray]


def load_code(folder: Path) -> PublishedCode:
    """What is used of `kronos.py` in a folder. This runs the code that is there.

    Raises:
        UserError: an import that fails, or a name that is not there.
    """
    path = list(sys.path)
    try:
        return PublishedCode(*(getattr_of_copy(folder, "model", "kronos", name, _KEY) for name in _NAMES))
    finally:
        sys.path[:] = path  # the published code adds to it


class Draws(TorchFunctionMode):
    """Answers `torch.multinomial` with draws from given random numbers, and keeps them.

    Args:
        noise: [steps, noise_size] of one window.
        classes: sizes of both vocabularies.

    Attributes:
        drawn: [samples] int64 each, s1 and s2 in turn.
        usable: [samples] bool, whether all probabilities were finite.
    """

    def __init__(self, noise: Tensor, samples: int, classes: tuple[int, int]) -> None:
        super().__init__()
        self._noise = [part for step in zip(*split_noise(noise, samples, classes), strict=True) for part in step]
        self.drawn: list[Tensor] = []
        self.usable = torch.ones(samples, dtype=torch.bool, device=noise.device)

    def __torch_function__(
        self, function: Any, types: Sequence[type], arguments: tuple = (), named: dict[str, Any] | None = None
    ) -> Any:
        """Every torch function that the published code calls comes by here."""
        if function is not torch.multinomial:
            return function(*arguments, **(named or {}))
        probabilities = arguments[0]
        self.usable = self.usable & probabilities.isfinite().all(-1)
        self.drawn.append(draw(probabilities, self._noise[len(self.drawn)]))
        return self.drawn[-1].unsqueeze(-1)


class KronosPublished(KronosUpstream):
    """`upstream` by the code of a copy: float32, one window at a time, all samples as rows of one batch.

    Args:
        code: where the loop comes from; network and tokenizer are of its classes.
        config: dimensions of the network.
    """

    def __init__(
        self,
        network: nn.Module,
        tokenizer: nn.Module,
        settings: Settings,
        device: str,
        code: PublishedCode,
        config: ModelConfig,
    ) -> None:
        super().__init__(network, tokenizer, settings, device)
        self.code, self.config = code, config

    @classmethod
    def load(cls, options: LoadOptions) -> Self:
        """As `KronosForecaster.load`; UserError also for a dtype but float32, which the published code needs."""
        settings = parse(Settings, options.settings, "models.kronos")
        if options.dtype != "float32":
            raise UserError(
                f"{_KEY}: the published code runs in float32 only (it decodes tokens in it), found dtype "
                f"{options.dtype}; name a variant in float32"
            )
        code = load_code(Path(options.code))
        folder, config = read_checkpoint(ModelConfig, options.source, options.revision)
        place, own = read_checkpoint(TokenizerConfig, settings.tokenizer, settings.tokenizer_revision)
        check_pair(config, own, f"{TOKENIZER_SETTING} ({settings.tokenizer})")
        network = _built(code.network, config, folder, SETTING)
        tokenizer = _built(code.tokenizer, own, place, TOKENIZER_SETTING)
        return cls(network, tokenizer, settings, options.device, code, config)

    @property
    def classes(self) -> tuple[int, int]:
        """Sizes of both vocabularies."""
        return self.config.classes

    @torch.no_grad()
    def normalised(self, candles: Candles, noise: Tensor, samples: int, sampling: Sampling) -> np.ndarray:
        """As `KronosUpstream.normalised`."""
        values, draws = self._infer(candles, noise, samples, sampling)
        return np.where(draws.usable.cpu().numpy()[:, None, None], values, np.nan).astype(np.float32)

    @torch.no_grad()
    def sample(self, window: Window, samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Tokens of the context followed by the drawn ones: s1 and s2 [samples, context length + horizon]."""
        candles, noise = self._given(window, samples, seed)
        _, draws = self._infer(candles, noise, samples, self.sampling)
        context = self._encoded(torch.from_numpy(candles.values).to(self.device))
        s1, s2 = (
            torch.cat((known.expand(samples, -1), torch.stack(draws.drawn[first::2], dim=1)), dim=1)
            for first, known in enumerate(context)
        )
        return s1, s2

    @torch.no_grad()
    def truth_tokens(self, candles: Candles) -> tuple[Tensor, Tensor]:
        """s1 and s2 of context and future, in float32: [windows, context length + horizon] int64 each."""
        rows = np.concatenate((candles.values, candles.future), axis=1)
        with torch.autocast(self.device.type, enabled=False):
            return self._encoded(torch.from_numpy(rows).to(self.device))

    def _encoded(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        s1, s2 = self.tokenizer.encode(rows, half=True)
        return s1, s2

    def _decoded(self, s1: Tensor, s2: Tensor) -> Tensor:
        """As `KronosUpstream._decoded`."""
        latest = [tokens[:, -self.settings.max_context :] for tokens in (s1, s2)]
        decoded: Tensor = self.tokenizer.decode(latest, half=True)
        return decoded

    def _infer(self, candles: Candles, noise: Tensor, samples: int, sampling: Sampling) -> tuple[np.ndarray, Draws]:
        """The published loop over one window: normalised candles [samples, horizon, 6], and its draws.

        Each sample is a series of its own to it, for it gives the mean of a series' samples only.
        """
        context, horizon = candles.values.shape[1], len(noise)
        rows, stamps = (
            torch.from_numpy(part.astype(np.float32)).to(self.device).repeat(samples, 1, 1)
            for part in (candles.values, candles.stamps)
        )
        with Draws(noise, samples, self.classes) as draws:
            values = self.code.infer(
                self.tokenizer,
                self.network,
                rows,
                stamps[:, :context],
                stamps[:, context:],
                self.settings.max_context,
                horizon,
                clip=self.settings.clip,
                T=sampling.temperature,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                sample_count=1,
            )
        return values[:, -horizon:], draws


def _built(kind: Callable[..., nn.Module], config: ModelConfig | TokenizerConfig, folder: Path, key: str) -> nn.Module:
    """A module of the published code with the weights of a checkpoint, whose names must all fit."""
    try:
        module = kind(**config.model_dump())
    except TypeError as error:
        raise UserError(
            f"{_KEY}: its class for {key} does not take the dimensions in {folder / 'config.json'} ({error}); "
            "name a version of the published code that belongs to these weights"
        ) from error
    try:
        load_into(module, read_weights(folder), str(folder / WEIGHTS))
    except UserError as error:
        name, file = getattr(kind, "__name__", kind), getattr(sys.modules.get(kind.__module__), "__file__", "")
        raise UserError(
            f"{_KEY}: the class {name} of {file} does not fit the weights ({error}); name a version of the published "
            "code that belongs to them"
        ) from error
    return module.float()
