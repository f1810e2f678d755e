"""Checkpoints with seeded random weights at the published dimensions: the gate's work and speed without real weights.

    python -m tools.random_weights --folder weights toto:base kronos:small kronos-tokenizer

Such a model forecasts nothing, so that what compares it with naive forecasts is off in
`config/published-sizes.yaml`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from greenlight.errors import UserError
from greenlight.files import write_json

SEED = 20260101


def _toto(size: str) -> tuple[dict[str, Any], nn.Module]:
    from greenlight_forecasters.toto.published import Toto
    from tools.toto import configuration

    config = configuration(size)
    torch.manual_seed(SEED)
    return config, Toto(**config)


def _kronos(size: str) -> tuple[dict[str, Any], nn.Module]:
    from tools.kronos import network_of

    network = network_of(size, SEED)
    return network.config.model_dump(mode="json"), network


def _kronos_tokenizer(size: str) -> tuple[dict[str, Any], nn.Module]:
    from tools.kronos import tokenizer_of

    tokenizer = tokenizer_of(SEED)
    return tokenizer.config.model_dump(mode="json"), tokenizer


def _chronos2(size: str) -> tuple[dict[str, Any], nn.Module]:
    from greenlight_forecasters.chronos2.published import build
    from tools.chronos2 import configuration

    config = configuration(size)
    torch.manual_seed(SEED)
    return config, build(config)


MAKERS = {"chronos-2": _chronos2, "toto": _toto, "kronos": _kronos, "kronos-tokenizer": _kronos_tokenizer}


def write_checkpoint(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write config.json and model.safetensors; the same tensors give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", dict(config))
    own = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, folder / "model.safetensors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write each checkpoint below the folder, under its name with `-` for `:`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("checkpoints", nargs="+", help="model:size, such as toto:base or kronos:small")
    options = parser.parse_args(arguments)
    for name in options.checkpoints:
        model, _, size = name.partition(":")
        if model not in MAKERS:
            raise UserError(f"{name}: there is no model {model!r}; expected one of {', '.join(MAKERS)}")
        config, module = MAKERS[model](size)
        folder = options.folder / name.replace(":", "-")
        write_checkpoint(folder, config, module.state_dict())
        print(f"{folder}: {sum(p.numel() for p in module.parameters()):,} parameters")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
