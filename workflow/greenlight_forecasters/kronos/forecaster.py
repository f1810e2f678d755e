"""What both implementations of Kronos share: loading, checks, tokens of the context and of the truth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from greenlight.api import (
    CONFIG,
    WEIGHTS,
    Forecaster,
    LoadOptions,
    UserError,
    Window,
    load_into,
    read_config,
    read_weights,
    resolve_checkpoint,
    same_shape,
)
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.kronos.candles import Candles
from greenlight_forecasters.kronos.config import ModelConfig, Settings, TokenizerConfig, check_pair, parse
from greenlight_forecasters.kronos.network import KronosNetwork
from greenlight_forecasters.kronos.sampling import Sampling
from greenlight_forecasters.kronos.tokenizer import KronosTokenizer

SETTING, TOKENIZER_SETTING = "models.kronos.source", "models.kronos.tokenizer"
MODEL_FOLDER = "kronos"
TOKENIZER_FOLDER = "kronos-tokenizer"
_PLACES = {ModelConfig: (MODEL_FOLDER, SETTING), TokenizerConfig: (TOKENIZER_FOLDER, TOKENIZER_SETTING)}
_Config = TypeVar("_Config", ModelConfig, TokenizerConfig)
_Module = TypeVar("_Module", KronosNetwork, KronosTokenizer)


class KronosForecaster(Forecaster):
    """Network and tokenizer with their weights loaded.

    Args:
        network, tokenizer: in float32; they are moved to device and dtype.
        settings: the model's own settings.
    """

    # The amount of a candle is volume times price: its normalised course changes where prices are shifted.
    shifts_with_prices = False

    def __init__(
        self,
        network: KronosNetwork,
        tokenizer: KronosTokenizer,
        settings: Settings,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.settings = settings
        self.sampling = Sampling(settings.temperature, settings.top_k, settings.top_p)
        self.device = torch.device(device)
        self.dtype = dtype
        self.network = network.eval().requires_grad_(False).to(self.device, dtype)
        # The truth is tokenised in float32 whatever the dtype: logits are compared for the same tokens.
        self.truth_tokenizer = tokenizer.eval().requires_grad_(False).to(self.device)
        self.tokenizer = self.truth_tokenizer
        if dtype != torch.float32:
            self.tokenizer = KronosTokenizer(tokenizer.config).eval().requires_grad_(False)
            self.tokenizer.load_state_dict(tokenizer.state_dict())
            self.tokenizer.to(self.device, dtype)

    @classmethod
    def load(cls, options: LoadOptions) -> Self:
        """Load published or embedded weights of model and tokenizer.

        Raises:
            UserError: files missing or corrupt, names or shapes that do not fit, a tokenizer of another
                model, a setting that is not known or not possible.
        """
        settings = parse(Settings, options.settings, "models.kronos")
        folder, dimensions = read_checkpoint(ModelConfig, options.source, options.revision)
        network = _with_weights(KronosNetwork(dimensions), folder)
        folder, own = read_checkpoint(TokenizerConfig, settings.tokenizer, settings.tokenizer_revision)
        tokenizer = _with_weights(KronosTokenizer(own), folder)
        check_pair(network.config, tokenizer.config, f"{TOKENIZER_SETTING} ({settings.tokenizer})")
        return cls(network, tokenizer, settings, options.device, getattr(torch, options.dtype))

    @contextlib.contextmanager
    def with_settings(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """See `Forecaster.with_settings`; how tokens are drawn is data to what is compiled."""
        usual = self.sampling
        self.sampling = replace(usual, **settings)
        try:
            yield
        finally:
            self.sampling = usual

    def served(self, windows: Sequence[Window], samples: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What production's object gives beside what `forecast` does; see `kronos.serving`."""
        from greenlight_forecasters.kronos.serving import served

        return served(self, windows, samples, seed)

    def columns(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """What `forecast` gives for each column of a candle, [windows, samples, horizon, 6]."""
        each = ([replace(window, column=column) for window in windows] for column in range(6))
        return np.stack([self.forecast(asked, samples, seed) for asked in each], axis=-1)

    @property
    def classes(self) -> tuple[int, int]:
        """Sizes of both vocabularies."""
        return self.network.config.classes

    def sizes(self) -> dict[str, int]:
        """Numbers of parameters of the network and of the tokenizer."""
        return {
            "parameters": sum(weight.numel() for weight in self.network.parameters()),
            "tokenizer_parameters": sum(weight.numel() for weight in self.tokenizer.parameters()),
        }

    def check(self, windows: Sequence[Window]) -> tuple[int, int]:
        """(context length, horizon) of all windows; UserError for a horizon beyond what the model can do."""
        context, horizon = same_shape(windows)
        if horizon > self.settings.max_context:
            raise UserError(
                f"models.kronos.max_context is {self.settings.max_context} and the horizon {horizon}; Kronos "
                "forecasts at most max_context rows, so shorten the horizon"
            )
        if context < 1 or horizon < 1:
            raise UserError(f"Kronos needs a context and a horizon of at least one row, found {context} and {horizon}")
        return context, horizon

    def encode(self, candles: Candles, repeats: int = 1) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """s1 and s2 of the contexts, and whether what they are the signs of is finite.

        Args:
            repeats: how often each window is encoded, one after the other.

        Returns:
            Two tensors [windows * repeats, context length] int64, and [windows * repeats] bool.
        """
        rows = torch.from_numpy(candles.values).to(self.device, self.dtype).repeat_interleave(repeats, dim=0)
        z, codes = self.tokenizer.quantize(rows)
        return self.tokenizer.tokenizer.tokens(codes), z.isfinite().flatten(1).all(-1)

    @torch.no_grad()
    def truth_tokens(self, candles: Candles) -> tuple[Tensor, Tensor]:
        """s1 and s2 of context and future, in float32: [windows, context length + horizon] int64 each."""
        rows = [torch.from_numpy(part).to(self.device) for part in (candles.values, candles.future)]
        with torch.autocast(self.device.type, enabled=False):
            return self.truth_tokenizer.encode(torch.cat(rows, dim=1))


def read_checkpoint(schema: type[_Config], source: str, revision: str | None) -> tuple[Path, _Config]:
    """Folder and dimensions of the checkpoint of network or tokenizer; UserError as for `KronosForecaster.load`."""
    name, setting = _PLACES[schema]
    folder = resolve_checkpoint(source, revision, embedded=CHECKPOINTS / name, setting=setting)
    return folder, parse(schema, read_config(folder), folder / CONFIG)


def _with_weights(module: _Module, folder: Path) -> _Module:
    """The module with a checkpoint's weights, in float32 on the CPU; UserError as for `KronosForecaster.load`."""
    load_into(module, read_weights(folder), str(folder / WEIGHTS))
    return module.float()


def as_array(steps: Sequence[Tensor]) -> np.ndarray:
    """Steps of [windows, classes] as [windows, steps, classes], in float64 where the model runs in it."""
    return in_full(torch.stack(list(steps), dim=1))


def in_full(values: Tensor) -> np.ndarray:
    """The values in float32, or in float64 where the model runs in it."""
    return values.to(torch.promote_types(values.dtype, torch.float32)).cpu().numpy()


def probed(s1_logits: np.ndarray, s2_logits: np.ndarray, candles: np.ndarray) -> dict[str, np.ndarray]:
    """What a probe returns: logits [windows, steps, classes], and the likeliest tokens [windows, steps] int64; and what
    the true tokens are decoded to, normalised: all columns, [windows, steps, 6]."""
    logits = {"s1_logits": s1_logits, "s2_logits": s2_logits}
    tokens = {name.replace("logits", "token"): values.argmax(-1) for name, values in logits.items()}
    return logits | tokens | {"candles": candles}
