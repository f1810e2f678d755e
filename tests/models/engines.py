"""An engine of each model with random weights, and calls of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from greenlight.api import LoadOptions
from greenlight.files import write_json
from greenlight_forecasters.chronos2.engine import Chronos2Engine
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.toto.static import TotoEngine
from tests.models.chronos2.conftest import random_checkpoint
from tests.models.kronos.conftest import random_network, random_tokenizer, random_window
from tests.models.toto.published_toto import random_toto, save_checkpoint, walk

CALLS = 4
# Made beforehand: in another state of torch they would be others.
SERIES = [walk(number, 2, 1, 48) for number in range(CALLS)]
WINDOWS = [[random_window(symbol, 24, 6, number) for symbol in "AB"] for number in range(CALLS)]


class Engine:
    """An engine and calls of it: `call(number)` gives an array that depends on the number."""

    def __init__(self, name: str, device: str, folder: Path) -> None:
        self.name, self.device, self.is_compiled = name, device, False
        if name == "toto":
            self.engine = TotoEngine.from_checkpoint(folder / "toto", device=device, windows_per_batch=2)
        elif name == "chronos-2":
            self.engine = Chronos2Engine.from_checkpoint(folder / "chronos-2", device=device)
        else:
            settings = {"tokenizer": str(folder / "tokenizer"), "max_context": 64, "top_p": 0.9}
            self.engine = KronosStatic.load(LoadOptions(str(folder / "kronos"), device=device, settings=settings))
        self.weights = self.engine.network

    def compiled(self) -> Engine:
        self.engine.compile("reduce-overhead" if self.device == "cuda" else "default")
        self.is_compiled = True
        return self

    def raw(self, number: int) -> torch.Tensor | np.ndarray:
        if self.name == "toto":
            return self.engine.sample(SERIES[number], 20, 4, [number, number + 1])
        if self.name == "chronos-2":
            return self.engine.quantiles(SERIES[number].expand(-1, 3, -1), 20)
        return self.engine.forecast(WINDOWS[number], 3, number)

    def call(self, number: int) -> np.ndarray:
        found = self.raw(number)
        return found.cpu().numpy() if isinstance(found, torch.Tensor) else found


def write_checkpoints(folder: Path) -> None:
    """Checkpoints of all models, with random weights."""
    toto, configuration = random_toto(num_layers=2, spacewise_every_n_layers=2, sharpness=3.0)
    save_checkpoint(toto, configuration, folder / "toto")
    random_checkpoint(folder / "chronos-2")
    for name, module in (("kronos", random_network(n_layers=1)), ("tokenizer", random_tokenizer(layers=2))):
        (folder / name).mkdir()
        write_json(folder / name / "config.json", module.config.model_dump())
        save_file(module.state_dict(), folder / name / "model.safetensors")


@contextlib.contextmanager
def intra_op_threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def forked(work):
    """What `work` gives in a forked child, in words."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = work()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said
