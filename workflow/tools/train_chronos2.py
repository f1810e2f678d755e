"""Train the embedded Chronos-2 checkpoint: `python -m tools.train_chronos2`.

The architecture and the loss are the published ones, small; the data are the first rows of each shipped symbol.
The same seed, data, torch version and thread count give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from greenlight.data.windows import FEATURES
from greenlight_forecasters.chronos2 import LEVELS
from greenlight_forecasters.chronos2.published import Chronos2Model, build
from greenlight_forecasters.chronos2.random_weights import PATCH, PUBLISHED
from tools.train_checkpoint import command_line, fit, save_checkpoint
from tools.training_data import TrainingSeries, mirrored_blocks

CONFIGURATION: dict[str, Any] = {
    **PUBLISHED,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 256,
    "num_layers": 4,
    "num_heads": 4,
    "initializer_factor": 0.3,
}
PRICES = ("open", "high", "low", "close")
BLOCK = (16, 128)
ROWS = 24
CONTEXT = (32, 385)
HORIZON = 4 * PATCH


@dataclass(frozen=True)
class Batch:
    """Rows of prices: context [rows, length] with NaN for what is missing, target [rows, HORIZON], groups [rows]."""

    context: torch.Tensor
    target: torch.Tensor
    groups: torch.Tensor


def batches(series: dict[str, TrainingSeries], seed: int) -> Iterator[Batch]:
    """Endless batches of stretches of prices, each put together anew from blocks of one symbol's rows.

    A stretch is a chain of blocks, see `mirrored_blocks`, of the four prices against the close before. Half the batches
    have closing prices, each row for itself; half have groups of open, high, low and close, so that attention across
    variates is trained too. In half of them some of the context is missing.
    """
    random = np.random.default_rng(seed)
    changes = [_changes(one.values) for one in series.values()]
    while True:
        together, gaps = random.integers(2, size=2)
        length = int(random.integers(*CONTEXT))
        rows = length + HORIZON
        stretches = [
            _stretch(random, changes[random.integers(len(changes))], rows)
            for _ in range(ROWS // len(PRICES) if together else ROWS)
        ]
        values = np.stack(stretches)  # [stretches, prices, rows]
        if together:
            groups = np.repeat(np.arange(len(values)), len(PRICES))
            values = values.reshape(ROWS, rows)
        else:
            groups = np.arange(ROWS)
            values = values[:, PRICES.index("close")]
        context, target = values[:, :length].copy(), values[:, length:]
        if gaps:
            context[random.random(context.shape) < random.uniform(0, 0.3)] = np.nan
        yield Batch(
            torch.tensor(context, dtype=torch.float32),
            torch.tensor(target, dtype=torch.float32),
            torch.tensor(groups),
        )


def _changes(values: np.ndarray) -> np.ndarray:
    """Logarithms of the PRICES of each row over the close of the row before, [rows - 1, prices]."""
    logs = np.log(values[:, [FEATURES.index(price) for price in PRICES]])
    return logs[1:] - logs[:-1, [PRICES.index("close")]]


def _stretch(random: np.random.Generator, changes: np.ndarray, rows: int) -> np.ndarray:
    """The PRICES of a chain of blocks, [prices, rows]."""
    blocks = []
    for sign, chosen in mirrored_blocks(random, len(changes), rows, BLOCK):
        block = sign * changes[chosen]
        # In a mirror the lowest price is the highest.
        blocks.append(block if sign > 0 else block[:, [0, 2, 1, 3]])
    chain = np.concatenate(blocks)[:rows]
    closes = chain[:, PRICES.index("close")].cumsum()
    return np.exp(chain + np.concatenate([[0.0], closes[:-1]])[:, None]).T


def train(series: dict[str, TrainingSeries], steps: int, seed: int) -> tuple[Chronos2Model, float]:
    """Train a fresh model; returns it in evaluation mode with its mean loss over the last tenth of the steps."""
    torch.manual_seed(seed)
    model = build(CONFIGURATION).train()
    losses = (_loss(model, batch, 1 + step % (HORIZON // PATCH)) for step, batch in enumerate(batches(series, seed)))
    return model, fit(model, losses, steps)


def _loss(model: Chronos2Model, batch: Batch, patches: int) -> torch.Tensor:
    return model(
        context=batch.context,
        group_ids=batch.groups,
        num_output_patches=patches,
        future_target=batch.target[:, : patches * PATCH],
    ).loss


def save(model: Chronos2Model, training: dict[str, Any], folder: Path) -> None:
    """Write the checkpoint and its card to a folder."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    about = f"""\
- Architecture: as in `config.json`; patches of {PATCH} rows, {CONFIGURATION["num_layers"]} layers of attention over
  time and across variates, width {CONFIGURATION["d_model"]}, {len(LEVELS)} quantiles.
- Data: open, high, low and closing prices, the first {training["share"]:.0%} of the rows of each symbol below. Rows
  after the time that the table names were not seen; the gate evaluates on targets after it.
- Training: {training["steps"]} steps of AdamW on batches of {ROWS} rows of prices, contexts of {CONTEXT[0]} to
  {CONTEXT[1] - 1} rows with 1 to {HORIZON // PATCH} patches to forecast, put together from blocks of the symbols' own
  returns, with the published quantile loss; seed {training["seed"]}, {training["threads"]} thread, torch
  {training["torch"]}. Mean loss over the last tenth: {training["loss"]:.4f}.
- Train it again: `python -m tools.train_chronos2`. The same seed, data, torch version and number of
  threads give the same bytes."""
    names = {"title": "Chronos-2 checkpoint", "kind": "model of the Chronos-2 architecture"}
    save_checkpoint(tensors, CONFIGURATION, training, folder, about=about, **names)


def main() -> None:
    """Command line entry."""
    command_line(__doc__.splitlines()[0], "chronos-2", 3000, 20261128, train, save)


if __name__ == "__main__":
    main()
