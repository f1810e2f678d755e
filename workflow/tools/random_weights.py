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
from greenlight_forecasters.kronos.config import ModelConfig, TokenizerConfig
from greenlight_forecasters.kronos.network import KronosNetwork
from greenlight_forecasters.kronos.tokenizer import KronosTokenizer

SEED = 20260101
# Datadog/Toto-Open-Base-1.0, amazon/chronos-2, and https://github.com/shiyu-coder/Kronos (layers, width, heads, MLP);
# `small` of the first two is for trying things out.
TOTO = {
    "base": {"patch_size": 64, "embed_dim": 768, "num_layers": 12, "num_heads": 12, "mlp_hidden_dim": 3072},
    "small": {"patch_size": 16, "embed_dim": 64, "num_layers": 4, "num_heads": 4, "mlp_hidden_dim": 128},
}
CHRONOS2 = {
    "base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "small": {"d_model": 64, "d_kv": 16, "d_ff": 256, "num_layers": 4, "num_heads": 4},
}
KRONOS = {"mini": (4, 256, 4, 512), "small": (8, 512, 8, 1024), "base": (12, 832, 16, 2048)}
BITS = 10


def toto_config(size: str) -> dict[str, Any]:
    """config.json of Toto in a size of TOTO."""
    from greenlight_forecasters.toto.checkpoint import CAUSAL_PATCH_SCALER, STUDENT_T_MIXTURE

    dimensions = TOTO[size]
    return dimensions | {
        "stride": dimensions["patch_size"],
        "dropout": 0.0,
        "spacewise_every_n_layers": dimensions["num_layers"],
        "spacewise_first": False,
        "scaler_cls": CAUSAL_PATCH_SCALER,
        "output_distribution_classes": [STUDENT_T_MIXTURE],
        "output_distribution_kwargs": {"k_components": 24},
        "use_memory_efficient_attention": False,
    }


def toto(size: str, seed: int = SEED) -> tuple[dict[str, Any], nn.Module]:
    """config.json and the published model."""
    from greenlight_forecasters.toto.published import Toto

    config = toto_config(size)
    torch.manual_seed(seed)
    return config, Toto(**config)


def kronos(size: str, seed: int = SEED) -> tuple[dict[str, Any], KronosNetwork]:
    """config.json and network in a size of KRONOS."""
    layers, width, heads, hidden = KRONOS[size]
    torch.manual_seed(seed)
    network = KronosNetwork(
        ModelConfig(
            s1_bits=BITS, s2_bits=BITS, n_layers=layers, d_model=width, n_heads=heads, ff_dim=hidden, learn_te=True
        )
    )
    return network.config.model_dump(mode="json"), network


def kronos_tokenizer(size: str = "", seed: int = SEED) -> tuple[dict[str, Any], KronosTokenizer]:
    """config.json and tokenizer, which has one size."""
    torch.manual_seed(seed)
    heads, layers = {"n_heads": 4, "ff_dim": 512}, {"n_enc_layers": 4, "n_dec_layers": 4}
    config = TokenizerConfig(d_in=6, d_model=256, **heads, **layers, s1_bits=BITS, s2_bits=BITS, group_size=5)
    tokenizer = KronosTokenizer(config)
    return tokenizer.config.model_dump(mode="json"), tokenizer


def chronos2(size: str, seed: int = SEED) -> tuple[dict[str, Any], nn.Module]:
    """config.json and the published model, in a size of CHRONOS2."""
    from greenlight_forecasters.chronos2.published import build
    from tools.train_chronos2 import CONFIGURATION

    config = CONFIGURATION | CHRONOS2[size] | {"initializer_factor": 0.05}
    torch.manual_seed(seed)
    return config, build(config)


MAKERS = {"chronos-2": chronos2, "toto": toto, "kronos": kronos, "kronos-tokenizer": kronos_tokenizer}


def write_checkpoint(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write config.json and model.safetensors; the same tensors give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", dict(config))
    own = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, folder / "model.safetensors")


def write_random(name: str, below: Path) -> Path:
    """Write the checkpoint `model:size` below a folder, under its name with `-` for `:`; returns its folder."""
    model, _, size = name.partition(":")
    if model not in MAKERS:
        raise UserError(f"{name}: there is no model {model!r}; expected one of {', '.join(MAKERS)}")
    config, module = MAKERS[model](size)
    folder = below / name.replace(":", "-")
    write_checkpoint(folder, config, module.state_dict())
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Write each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("checkpoints", nargs="+", help="model:size, such as toto:base or kronos:small")
    options = parser.parse_args(arguments)
    for name in options.checkpoints:
        print(write_random(name, options.folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
