"""What the trainings of the embedded checkpoints share: the command line, the descent, and what is written."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from greenlight.files import atomic_path, sha256_of, write_json, write_text
from greenlight.weights import CONFIG, TRAINING, WEIGHTS
from greenlight_forecasters import CHECKPOINTS
from tools.training_data import TrainingSeries, describe, training_series

PEAK_RATE = 2e-3
WARM_UP = 100


def fit(model: torch.nn.Module, losses: Iterator[torch.Tensor], steps: int) -> float:
    """Descend along the next loss in each step; the model is then in evaluation mode.

    Returns:
        The mean loss over the last tenth of the steps.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=steps, pct_start=min(0.3, WARM_UP / steps), cycle_momentum=False
    )
    seen = []
    for step, loss in zip(range(steps), losses, strict=False):
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        seen.append(loss.item())
        if (step + 1) % 250 == 0:
            print(f"step {step + 1} of {steps}: loss {np.mean(seen[-250:]):.4f}", flush=True)
    model.eval()
    return float(np.mean(seen[-max(1, steps // 10) :]))


def save_checkpoint(
    tensors: Mapping[str, torch.Tensor],
    configuration: dict[str, Any],
    training: dict[str, Any],
    folder: Path,
    *,
    title: str,
    kind: str,
    about: str,
    parameters: int | None = None,
) -> None:
    """Write config.json, model.safetensors, training.json and the model card, each atomically.

    Args:
        title: "Toto checkpoint"; kind: "model of the Toto 1.0 architecture".
        about: the card's list of what is particular to this checkpoint.
        parameters: where some of the tensors are none.
    """
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "pt"})
    write_json(folder / CONFIG, configuration)
    write_json(folder / TRAINING, training)
    parameters = parameters or sum(tensor.numel() for tensor in tensors.values())
    symbols = "\n".join(
        f"| {symbol} | {entry['rows']} | {entry['trained_until']} |" for symbol, entry in training["symbols"].items()
    )
    card = f"""---
license: apache-2.0
pipeline_tag: time-series-forecasting
---
# Embedded {title}

A small {kind} ({parameters:,} parameters), trained from random weights by this project
so that the gate runs without a download. It is made for validating code, not for trading; no published weight is in it.

{about}

| symbol | rows trained on | trained until |
|---|---|---|
{symbols}
"""
    write_text(folder / "README.md", card)


def parser_of(about: str | None, output: Path, seed: int) -> argparse.ArgumentParser:
    """The options that all trainings have, with where the checkpoint goes, and the seed, if none is given."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--data", type=Path, default=Path("trainingdata"), help="folder with one CSV a symbol")
    parser.add_argument("--output", type=Path, default=output, help="folder of the checkpoint, or of all that it has")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--share", type=float, default=0.65, help="share of each symbol's rows to train on")
    return parser


def series_of(arguments: argparse.Namespace) -> dict[str, TrainingSeries]:
    """The series to train on; from here on torch works on one thread and by deterministic algorithms."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    return training_series(arguments.data, arguments.share)


def command_line(
    about: str,
    name: str,
    steps: int,
    seed: int,
    train: Callable[[dict[str, TrainingSeries], int, int], tuple[Any, float]],
    save: Callable[[Any, dict[str, object], Path], None],
) -> None:
    """Train a checkpoint on the data that ships, on one thread and by deterministic algorithms; print what came out.

    Args:
        about: what `--help` says.
        name: of the checkpoint's folder.
        steps, seed: where the command line gives no others.
        train: series, steps and seed to a model and its mean loss over the last tenth.
        save: writes the model, and what training.json records, to a folder.
    """
    parser = parser_of(about, CHECKPOINTS / name, seed)
    parser.add_argument("--steps", type=int, default=steps)
    arguments = parser.parse_args()
    series = series_of(arguments)
    started = time.process_time()
    model, loss = train(series, arguments.steps, arguments.seed)
    training = {
        "symbols": describe(series),
        "share": arguments.share,
        "seed": arguments.seed,
        "steps": arguments.steps,
        "loss": round(loss, 6),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    save(model, training, arguments.output)
    print(
        json.dumps(
            {
                "checkpoint": str(arguments.output),
                "loss": loss,
                "sha256": sha256_of(arguments.output / WEIGHTS),
                "cpu_seconds": round(time.process_time() - started, 1),
            }
        )
    )
