"""Small networks and windows for the tests of Kronos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from greenlight.data.windows import Window
from greenlight_forecasters.kronos.config import ModelConfig, Settings, TokenizerConfig
from greenlight_forecasters.kronos.network import KronosNetwork
from greenlight_forecasters.kronos.tokenizer import KronosTokenizer

GOLDEN = Path(__file__).parent / "golden"


class Golden:
    """One file of golden vectors: tensors by name, and the objects they describe."""

    def __init__(self, name: str) -> None:
        with safe_open(GOLDEN / f"kronos_{name}_time.safetensors", "pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.metadata = {key: json.loads(value) for key, value in file.metadata().items()}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def state(self, prefix: str) -> dict[str, torch.Tensor]:
        """Tensors whose name begins with `prefix`, without it."""
        found = {key: value for key, value in self.tensors.items() if key.startswith(prefix)}
        return {key.removeprefix(prefix): value for key, value in found.items()}

    def network(self) -> KronosNetwork:
        """The network with the golden weights."""
        network = KronosNetwork(ModelConfig(**self.metadata["model_config"]))
        network.load_state_dict(self.state("model."))
        return network.eval()

    def tokenizer_state(self) -> dict[str, torch.Tensor]:
        """The tokenizer's weights, without the golden outputs that share their prefix."""
        outputs = ("reconstruction", "reconstruction_pre", "joint_index", "decoded")
        return {key: value for key, value in self.state("tokenizer.").items() if key not in outputs}

    def tokenizer(self) -> KronosTokenizer:
        """The tokenizer with the golden weights."""
        tokenizer = KronosTokenizer(TokenizerConfig(**self.metadata["tokenizer_config"]))
        tokenizer.load_state_dict(self.tokenizer_state())
        return tokenizer.eval()

    def window(self) -> Window:
        """The case as a window."""
        context = self.metadata["context_length"]
        rows = context + self.metadata["horizon"]
        ohlcv = self["case.ohlcv"].numpy()
        times = self["case.timestamp_ns"].numpy().view("datetime64[ns]")
        return Window("CASE", 0, ohlcv[:context], ohlcv[context:rows], times[:rows])


@pytest.fixture(scope="session", params=["learned", "fixed"])
def golden(request: pytest.FixtureRequest) -> Golden:
    """Golden vectors with learned and with fixed time embeddings."""
    return Golden(request.param)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_network(sharpness: float = 1.0, seed: int = 0, **dimensions) -> KronosNetwork:
    """A network with random weights; `sharpness` scales the heads, and with them the logits."""
    sizes = {"s1_bits": 5, "s2_bits": 5, "n_layers": 2, "d_model": 32, "n_heads": 4, "ff_dim": 48}
    config = ModelConfig(**{**sizes, "learn_te": True, **dimensions})
    torch.manual_seed(seed)
    network = KronosNetwork(config)
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
        elif name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    with torch.no_grad():
        network.head.proj_s1.weight.mul_(sharpness)
        network.head.proj_s2.weight.mul_(sharpness)
    return network.eval()


def random_tokenizer(bits: int = 5, seed: int = 1, layers: int = 3) -> KronosTokenizer:
    """A tokenizer with random weights."""
    torch.manual_seed(seed)
    sizes = {"d_in": 6, "d_model": 32, "n_heads": 4, "ff_dim": 48, "n_enc_layers": layers, "n_dec_layers": layers}
    return KronosTokenizer(TokenizerConfig(**sizes, s1_bits=bits, s2_bits=bits, group_size=bits)).eval()


def random_window(symbol: str = "A", context: int = 40, horizon: int = 8, seed: int = 0) -> Window:
    """A random walk of hourly candles."""
    generator = np.random.default_rng([seed, *symbol.encode()])
    rows = context + horizon
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.01, rows)))
    spread = np.abs(generator.normal(0, 0.004, (2, rows))) * close
    opening = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(opening, close) + spread[0], np.minimum(opening, close) - spread[1]
    volume = generator.lognormal(10, 0.5, rows)
    times = np.datetime64("2024-02-27T05:00", "ns") + np.arange(rows) * np.timedelta64(1, "h")
    values = np.column_stack((opening, high, low, close, volume))
    return Window(symbol, 0, values[:context], values[context:], times)


@pytest.fixture(scope="session")
def build():
    """Builds forecasters with random weights: build(kind, settings, dtype, **network dimensions).

    `alter(network)` changes the weights before a forecaster takes them over.
    """

    def make(kind, settings=None, dtype=torch.float32, bits=5, alter=None, tokenizer_layers=3, **dimensions):
        network = random_network(s1_bits=bits, s2_bits=bits, **dimensions)
        if alter is not None:
            alter(network)
        return kind(network, random_tokenizer(bits, layers=tokenizer_layers), Settings(**(settings or {})), dtype=dtype)

    return make


@pytest.fixture(scope="session")
def make_network():
    """Makes networks: `random_network`."""
    return random_network


@pytest.fixture(scope="session")
def make_tokenizer():
    """Makes tokenizers: `random_tokenizer`."""
    return random_tokenizer


@pytest.fixture(scope="session")
def walk():
    """Makes windows: walk(symbol, context, horizon, seed)."""
    return random_window
