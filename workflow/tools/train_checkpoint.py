"""The command line by which an embedded checkpoint is trained again."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from greenlight.api import WEIGHTS
from greenlight.files import sha256_of
from greenlight_forecasters import CHECKPOINTS
from tools.training_data import TrainingSeries, describe, training_series


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
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--data", type=Path, default=Path("trainingdata"), help="folder with one CSV a symbol")
    parser.add_argument("--output", type=Path, default=CHECKPOINTS / name, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--share", type=float, default=0.65, help="share of each symbol's rows to train on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    series = training_series(arguments.data, arguments.share)
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
