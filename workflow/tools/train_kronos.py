"""Training the small embedded checkpoint: the real architecture at reduced size, on the data that ships.

The tokenizer first, then the network on its tokens. Both see random windows of the training rows only, each
normalised by its own context as in forecasting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from greenlight.errors import UserError
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.kronos.candles import stamps, with_amount
from greenlight_forecasters.kronos.config import CLIP, EPSILON, ModelConfig, TokenizerConfig
from greenlight_forecasters.kronos.forecaster import MODEL_FOLDER, TOKENIZER_FOLDER
from greenlight_forecasters.kronos.network import KronosNetwork
from greenlight_forecasters.kronos.tokenizer import KronosTokenizer
from tools.train_checkpoint import parser_of, save_checkpoint, series_of
from tools.training_data import TrainingSeries, describe

_PRICES = slice(0, 4)
_BITS = 7


@dataclass(frozen=True)
class Recipe:
    """How the embedded checkpoint is trained; the defaults are those of the one that ships."""

    tokenizer_steps: int = 900
    network_steps: int = 1100
    batch: int = 16
    context: tuple[int, int] = (64, 160)
    horizon: int = 24
    rate: float = 4e-3
    warm_up: int = 50
    early_weight: float = 0.25
    shuffled: float = 0.6
    block: int = 24
    tokenizer: TokenizerConfig = field(
        default_factory=lambda: TokenizerConfig(
            d_in=6, d_model=64, n_heads=4, ff_dim=128, n_enc_layers=2, n_dec_layers=2, zeta=0.02,
            s1_bits=_BITS, s2_bits=_BITS, group_size=_BITS,
        )
    )  # fmt: skip
    network: ModelConfig = field(
        default_factory=lambda: ModelConfig(
            s1_bits=_BITS, s2_bits=_BITS, n_layers=2, d_model=96, n_heads=4, ff_dim=192,
            ffn_dropout_p=0.1, resid_dropout_p=0.1, token_dropout_p=0.1, learn_te=True,
        )
    )  # fmt: skip


class WindowSampler:
    """Random windows of random symbols, augmented.

    A window is often put together from blocks of the symbol's own moves, and turned upside down half of the
    time, so that no path and no trend is learned by heart. Its prices are shrunk now and then, because the
    published normalisation (a fixed 1e-5 is added to the deviation) leaves prices near 1e-5 with small
    amplitudes. Its times are shifted by whole weeks, so that dates are not learned.
    """

    def __init__(self, series: Mapping[str, TrainingSeries], recipe: Recipe, generator: np.random.Generator) -> None:
        self.recipe, self.generator = recipe, generator
        self.rows = [with_amount(one.values, known_until=len(one.values)) for one in series.values()]
        self.times = [one.timestamps for one in series.values()]
        needed = recipe.context[1] + recipe.horizon
        for symbol, one in series.items():
            if len(one.timestamps) < needed:
                raise UserError(
                    f"{symbol}: {len(one.timestamps)} rows to train on; expected at least {needed}, so bring more "
                    "history or leave the symbol out"
                )

    def batch(self) -> tuple[Tensor, Tensor, Tensor, int]:
        """Candles [batch, length, 6], stamps [batch, length, 5], spread of prices [batch], length of context."""
        context = int(self.generator.integers(*self.recipe.context, endpoint=True))
        drawn = [self._window(context, context + self.recipe.horizon) for _ in range(self.recipe.batch)]
        values, times, spread = (np.stack(part) for part in zip(*drawn, strict=True))
        return (
            torch.from_numpy(values.astype(np.float32)),
            torch.from_numpy(times),
            torch.from_numpy(spread.astype(np.float32)),
            context,
        )

    def _window(self, context: int, length: int) -> tuple[np.ndarray, np.ndarray, float]:
        which = int(self.generator.integers(len(self.rows)))
        first = int(self.generator.integers(len(self.rows[which]) - length + 1))
        rows = self.rows[which][first : first + length].astype(np.float64)
        if self.generator.random() < self.recipe.shuffled:
            rows = self._shuffled(self.rows[which].astype(np.float64), length)
        if self.generator.random() < 0.5:
            turned = rows[:context, _PRICES].mean() * 2 - rows[:, _PRICES]
            rows[:, _PRICES] = turned[:, [0, 2, 1, 3]]
        mean, deviation = rows[:context].mean(0), rows[:context].std(0)
        values = (rows - mean) / (deviation + EPSILON)
        if self.generator.random() < 0.35:
            values[:, _PRICES] *= np.exp(self.generator.uniform(math.log(0.04), 0))
        weeks = np.timedelta64(7 * int(self.generator.integers(-500, 500)), "D")
        times = stamps(self.times[which][first : first + length] + weeks)
        return np.clip(values, -CLIP, CLIP), times, float(values[:context, _PRICES].std()) + 1e-3

    def _shuffled(self, rows: np.ndarray, length: int) -> np.ndarray:
        """A path put together from blocks of a symbol's own candles, each relative to the close before it."""
        block = self.recipe.block
        starts = self.generator.integers(1, len(rows) - block + 1, size=-(-length // block))
        chosen = (starts[:, None] + np.arange(block)).ravel()[:length]
        moves = np.log(rows[chosen, _PRICES] / rows[chosen - 1, 3:4])
        before = np.concatenate(([0.0], np.cumsum(moves[:-1, 3])))
        prices = rows[0, 3] * np.exp(before[:, None] + moves)
        volume = rows[chosen, 4]
        return np.column_stack((prices, volume, volume * prices.mean(1)))


def train_tokenizer(sampler: WindowSampler, recipe: Recipe) -> tuple[KronosTokenizer, float]:
    """Train the tokenizer to reconstruct candles from both tokens, and from the coarse one alone.

    The error counts in units of the window's own spread of prices. A penalty keeps every bit in use.

    Returns:
        The tokenizer and the mean absolute error of the close, in units of the spread, of the last 100 steps.
    """
    tokenizer = KronosTokenizer(recipe.tokenizer).train()
    weights = torch.tensor([1.0, 1.0, 1.0, 2.0, 0.1, 0.1])
    errors: list[float] = []
    for descend in _steps(tokenizer, recipe, recipe.tokenizer_steps):
        candles, _, spread, _ = sampler.batch()
        coarse, full, z = tokenizer(candles)
        unit = spread[:, None, None].expand_as(candles).clone()
        unit[..., 4:] = 1.0
        loss = sum(
            (functional.smooth_l1_loss(each / unit, candles / unit, reduction="none", beta=0.3) * weights).mean()
            for each in (coarse, full)
        )
        loss = loss + recipe.tokenizer.zeta * _code_penalty(z, recipe.tokenizer)
        descend(loss)
        errors.append(float(((full - candles) / unit)[..., 3].detach().abs().mean()))
    return tokenizer.eval(), float(np.mean(errors[-100:]))


def _code_penalty(z: Tensor, config: TokenizerConfig) -> Tensor:
    """Entropy of the codes of each candle, less that of the codes of all candles (arXiv 2406.07548, eq. 9).

    As published it is taken over groups of bits; within a group the codes of all its bits count jointly, which
    keeps bits from saying the same twice.
    """
    groups = (functional.normalize(z, dim=-1) * math.sqrt(z.shape[-1])).unflatten(-1, (-1, config.group_size))
    bits = torch.arange(2**config.group_size)[:, None] >> torch.arange(config.group_size) & 1
    likely = (groups @ (4.0 * bits - 2.0).T).softmax(-1)

    def entropy(p: Tensor) -> Tensor:
        return -(p * (p + 1e-8).log()).sum(-1).mean()

    return config.gamma0 * entropy(likely) - config.gamma * entropy(likely.flatten(0, 1).mean(0))


def train_network(
    sampler: WindowSampler, tokenizer: KronosTokenizer, recipe: Recipe
) -> tuple[KronosNetwork, tuple[float, float]]:
    """Train the network to predict the next coarse token, and the fine one given the true coarse one.

    Returns:
        The network and the mean cross-entropies (nats) of s1 and s2 after the context, of the last 100 steps.
    """
    network = KronosNetwork(recipe.network).train()
    _initialise(network)
    losses: list[tuple[float, float]] = []
    for descend in _steps(network, recipe, recipe.network_steps):
        candles, times, _, context = sampler.batch()
        with torch.no_grad():
            s1, s2 = tokenizer.encode(candles)
        logits_s1, hidden = network.decode_s1(s1[:, :-1], s2[:, :-1], times[:, :-1])
        logits_s2 = network.decode_s2(hidden, s1[:, 1:])
        each = [
            functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
            for logits, tokens in ((logits_s1, s1), (logits_s2, s2))
        ]
        weight = torch.full((candles.shape[1] - 1,), recipe.early_weight)
        weight[context - 1 :] = 1.0
        loss = sum((one.mean(0) * weight).sum() for one in each) / (2 * weight.sum())
        descend(loss)
        losses.append(tuple(float(one[:, context - 1 :].detach().mean()) for one in each))
    last = np.mean(losses[-100:], axis=0)
    return network.eval(), (float(last[0]), float(last[1]))


def _initialise(network: KronosNetwork) -> None:
    """Weights as the published code draws them before training."""
    width = network.config.d_model
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, torch.nn.Embedding) and module.weight.requires_grad:
            torch.nn.init.normal_(module.weight, std=width**-0.5)


def _steps(module: torch.nn.Module, recipe: Recipe, steps: int) -> Iterator[Callable[[Tensor], None]]:
    """What descends along a loss, once a step: the rate warms up linearly, then falls along a cosine."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=0.05, betas=(0.9, 0.98))

    def rate(step: int) -> float:
        if step < recipe.warm_up:
            return (step + 1) / recipe.warm_up
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - recipe.warm_up) / (steps - recipe.warm_up)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def descend(loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    for _ in range(steps):
        yield descend


def train(series: Mapping[str, TrainingSeries], folder: Path, seed: int, recipe: Recipe | None = None) -> None:
    """Train tokenizer and network and write both checkpoints into `folder`.

    The same series, seed, torch version and number of threads give the same bytes.

    Args:
        series: the rows to train on, by symbol.
        folder: gets the folders `kronos` and `kronos-tokenizer`, each with config.json, model.safetensors,
            training.json and a model card.

    Raises:
        UserError: a series too short for the windows of the recipe.
    """
    recipe = recipe or Recipe()
    torch.manual_seed(seed)
    sampler = WindowSampler(series, recipe, np.random.default_rng(seed))
    tokenizer, error = train_tokenizer(sampler, recipe)
    network, (loss_s1, loss_s2) = train_network(sampler, tokenizer, recipe)
    training = {
        "symbols": describe(dict(series)),
        "seed": seed,
        "tokenizer_steps": recipe.tokenizer_steps,
        "network_steps": recipe.network_steps,
        "batch": recipe.batch,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "loss": {"reconstruction": error, "s1": loss_s1, "s2": loss_s2},
    }
    for name, what, module in ((TOKENIZER_FOLDER, "tokenizer", tokenizer), (MODEL_FOLDER, "model", network)):
        save_checkpoint(
            module.state_dict(),
            module.config.model_dump(),
            training,
            folder / name,
            title=f"Kronos {what}",
            kind=f"{what} of the Kronos architecture",
            about=_about(training),
            parameters=sum(weight.numel() for weight in module.parameters()),
        )


def _about(training: dict[str, Any]) -> str:
    loss = training["loss"]
    return f"""\
- Architecture: as in `config.json`, under the published parameter names.
- Data: candles, the first rows of each symbol below. Rows after the time that the table names were not seen; the
  gate evaluates on targets after it.
- Training: {training["tokenizer_steps"]} steps of the tokenizer, then {training["network_steps"]} of the network,
  AdamW on batches of {training["batch"]} random windows, half of them turned upside down; seed {training["seed"]},
  {training["threads"]} thread, torch {training["torch"]}. In the last 100 steps the close was reconstructed to
  {loss["reconstruction"]:.3f} of the window's spread of prices, and the cross-entropies after the context were
  {loss["s1"]:.3f} (s1) and {loss["s2"]:.3f} (s2) nats.
- Train it again: `python -m tools.train_kronos`. The same data, seed, torch version and number of
  threads give the same bytes."""


def main(arguments: list[str] | None = None) -> int:
    """Train the embedded checkpoint on the data that ships."""
    options = parser_of(main.__doc__, CHECKPOINTS, 20261120).parse_args(arguments)
    train(series_of(options), options.output, options.seed)
    print(f"wrote {options.output / TOKENIZER_FOLDER} and {options.output / MODEL_FOLDER}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
