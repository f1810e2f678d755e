"""Train the embedded Toto checkpoint: `python -m tools.train_toto`.

The architecture and the loss are the published ones, small; the data are the first rows of each shipped symbol.
The same seed, data, torch version and thread count give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from greenlight.data.windows import CLOSE
from greenlight_forecasters.toto.checkpoint import CAUSAL_PATCH_SCALER, COMPUTED, STUDENT_T_MIXTURE
from greenlight_forecasters.toto.inputs import price_unit
from greenlight_forecasters.toto.published import CombinedLoss, Toto
from tools.train_checkpoint import command_line, fit, save_checkpoint
from tools.training_data import TrainingSeries, mirrored_blocks

CONFIGURATION: dict[str, Any] = {
    "patch_size": 8,
    "stride": 8,
    "embed_dim": 64,
    "num_layers": 4,
    "num_heads": 4,
    "mlp_hidden_dim": 128,
    "dropout": 0.0,
    "spacewise_every_n_layers": 4,
    "spacewise_first": False,
    "scaler_cls": CAUSAL_PATCH_SCALER,
    "output_distribution_classes": [STUDENT_T_MIXTURE],
    "output_distribution_kwargs": {"k_components": 6},
    "use_memory_efficient_attention": False,
    "stabilize_with_global": True,
    "scale_factor_exponent": 10.0,
}
LENGTH = 288
BLOCK = (16, 128)
BATCH = 24
# The causal statistics of the first patches rest on few rows; forecasts start from longer contexts.
SKIPPED_PATCHES = 4


def batches(series: dict[str, TrainingSeries], seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of stretches of prices, each put together anew from the closing prices of one symbol.

    A stretch is a chain of blocks of successive log returns, see `mirrored_blocks`. Half the batches have groups of two
    variates with the same id, so that attention across variates is trained too.

    Yields:
        [batch, variates, LENGTH] float32 prices in the units of `price_unit`; [batch, variates, LENGTH] int32 ids.
    """
    random = np.random.default_rng(seed)
    returns = [np.diff(np.log(one.values[:, CLOSE])) for one in series.values()]

    def stretch() -> np.ndarray:
        chosen = returns[random.integers(len(returns))]
        blocks = [sign * chosen[rows] for sign, rows in mirrored_blocks(random, len(chosen), LENGTH, BLOCK)]
        prices = np.exp(np.concatenate(blocks)[:LENGTH].cumsum())
        return prices * price_unit(prices)

    while True:
        variates = 1 + random.integers(2)
        values = np.stack([stretch() for _ in range(BATCH)]).reshape(BATCH // variates, variates, LENGTH)
        inputs = torch.tensor(values, dtype=torch.float32)
        yield inputs, torch.zeros(inputs.shape, dtype=torch.int32)


def next_patch_loss(toto: Toto, inputs: torch.Tensor, ids: torch.Tensor, loss: CombinedLoss) -> torch.Tensor:
    """Mean published loss of each patch given those before it, in the scaler's units."""
    patch = toto.model.patch_embed.patch_size
    observed = torch.ones_like(inputs, dtype=torch.bool)
    output = toto.model(inputs, observed, ids)
    # The output at a patch is the distribution of the next one, in the units of the patch that it was seen from.
    target = (inputs[..., patch:] - output.loc[..., :-patch]) / output.scale[..., :-patch]
    target = torch.nn.functional.pad(target, (0, patch))
    return loss(output.distribution, target)[..., SKIPPED_PATCHES * patch : -patch].mean()


def train(series: dict[str, TrainingSeries], steps: int, seed: int) -> tuple[Toto, float]:
    """Train a fresh model; returns it in evaluation mode with its mean loss over the last tenth of the steps."""
    torch.manual_seed(seed)
    toto = Toto(**CONFIGURATION).train()
    loss = CombinedLoss()
    losses = (next_patch_loss(toto, inputs, ids, loss) for inputs, ids in batches(series, seed))
    return toto, fit(toto, losses, steps)


def save(toto: Toto, training: dict[str, Any], folder: Path) -> None:
    """Write the checkpoint and its card to a folder."""
    tensors = {name: tensor.contiguous() for name, tensor in toto.state_dict().items() if not name.endswith(COMPUTED)}
    about = f"""\
- Architecture: as in `config.json`; patches of {CONFIGURATION["patch_size"]} rows, {CONFIGURATION["num_layers"]}
  layers, the last one across variates, width {CONFIGURATION["embed_dim"]}, a mixture of
  {CONFIGURATION["output_distribution_kwargs"]["k_components"]} Student-t distributions, causal patch scaler.
- Data: closing prices, the first {training["share"]:.0%} of the rows of each symbol below. Rows after the time that
  the table names were not seen; the gate evaluates on targets after it.
- Training: {training["steps"]} steps of AdamW on batches of {BATCH} stretches of {LENGTH} rows, each put
  together from blocks of the symbols' own returns, with the published combined loss; seed {training["seed"]},
  {training["threads"]} thread, torch {training["torch"]}. Mean loss over the last tenth: {training["loss"]:.4f}.
- Train it again: `python -m tools.train_toto`. The same seed, data, torch version and number of
  threads give the same bytes."""
    names = {"title": "Toto checkpoint", "kind": "model of the Toto 1.0 architecture"}
    save_checkpoint(tensors, CONFIGURATION, training, folder, about=about, **names)


def main() -> None:
    """Command line entry."""
    command_line(__doc__.splitlines()[0], "toto", 2000, 20261120, train, save)


if __name__ == "__main__":
    main()
