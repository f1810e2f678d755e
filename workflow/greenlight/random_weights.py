"""Checkpoints with seeded random weights, `source: random:base`: the gate's work and speed at published dimensions.

A plug-in says which sizes there are, and what makes a model of one. A checkpoint is made once, while a run is planned,
by a process of its own, because that takes torch. It is kept below `$XDG_CACHE_HOME/greenlight/random-weights`, else
`~/.cache/...`, under a name that holds its size, seed and dimensions, the file that makes
it and torch's version. Then it is a folder like any other, known by the hashes of its files. It forecasts nothing, and
nothing with random weights is ever to be deployed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenlight.errors import UserError, nearest
from greenlight.files import sha256_of, write_json
from greenlight.provenance import digest, package_versions
from greenlight.weights import CONFIG, WEIGHTS

if TYPE_CHECKING:
    import torch

PREFIX = "random:"
SEED = 20260101
_NAME = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True)
class RandomWeights:
    """Which checkpoints with random weights can be made for a role of a model.

    Attributes:
        make: dotted path, `package.module:function`, of a function of the dimensions of a size. It gives the content of
            config.json, and a torch module whose tensors have the names of a published checkpoint.
        sizes: the dimensions, by the name of a size.
    """

    make: str
    sizes: Mapping[str, Mapping[str, Any]]

    def problem_with(self, source: str, revision: str | None) -> str:
        """Why a source that begins with PREFIX can't be meant, in words; empty if it can."""
        size = source.removeprefix(PREFIX)
        if size not in self.sizes:
            known = [f"{PREFIX}{name}" for name in self.sizes]
            return f"there is no {source!r}{nearest(source, known)}; known are {', '.join(known) or 'none'}"
        return f"{source!r} has no revision, but its revision is {revision!r}; set it to null" if revision else ""

    def build(self, size: str, seed: int = SEED) -> tuple[dict[str, Any], torch.nn.Module]:
        """The content of config.json, and the module, on the CPU; the same size and seed give the same numbers."""
        return _build(self.make, self.sizes[size], seed)

    def made(self, source: str, setting: str) -> str:
        """Name of the folder that holds the checkpoint of a source, for `folder_of`; it is made if it is not there.

        Raises:
            UserError: it could not be made; `setting` names the key in the configuration.
        """
        size = source.removeprefix(PREFIX)
        spec = importlib.util.find_spec(self.make.partition(":")[0])
        code = sha256_of(Path(spec.origin)) if spec and spec.origin else ""
        asked = {"make": self.make, "dimensions": dict(self.sizes[size]), "seed": SEED}
        name = f"{size}-{digest(asked | {'code': code} | package_versions(('torch',)))}"
        if not (folder := folder_of(name)).is_dir():
            _write(folder, asked, setting)
        return name


def folder_of(name: str) -> Path:
    """Where a checkpoint is kept; UserError for what can't be its name."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} can't be the name of a checkpoint with random weights")
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "greenlight" / "random-weights" / name


def _write(folder: Path, asked: Mapping[str, Any], setting: str) -> None:
    """Have a process write a checkpoint beside its place, and move it there when it is whole."""
    beside = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        command = [sys.executable, "-m", "greenlight.random_weights", json.dumps(asked), str(beside)]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
        if done.returncode:
            raise OSError(next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}"))
        if not folder.is_dir():  # else another run was faster
            beside.rename(folder)
    except OSError as error:
        raise UserError(
            f"{setting}: the random weights could not be made in {folder.parent} ({error.strerror or error}); expected "
            "a folder to write to, with room for them. Set XDG_CACHE_HOME to another, or name a checkpoint"
        ) from None
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def _build(make: str, dimensions: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], torch.nn.Module]:
    import torch

    module, _, name = make.partition(":")
    torch.manual_seed(seed)
    config, network = getattr(importlib.import_module(module), name)(dimensions)
    return config, network


def main(asked: str, folder: str) -> None:
    """Write the checkpoint that a JSON text describes: `make`, `dimensions`, `seed`."""
    from safetensors.torch import save_file

    config, network = _build(**json.loads(asked))
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}
    write_json(Path(folder) / CONFIG, config)
    save_file(tensors, Path(folder) / WEIGHTS)


if __name__ == "__main__":
    main(*sys.argv[1:])
