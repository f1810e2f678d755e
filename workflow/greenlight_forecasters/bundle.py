"""Reading results/deploy/, the bundle that the gate writes after a pass (`greenlight.run.bundle` says what is in it).

Imports no torch with the module, so that a check can set where compile caches are before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.api import (
    FEATURES,
    WEIGHT_FORMATS,
    Forecaster,
    Implementation,
    LoadOptions,
    Model,
    ProcessSettings,
    UserError,
    Window,
    package_differences,
    package_versions,
    processor_name,
    resolve_checkpoint,
    shell_variable,
    stated_process,
    weights_hash,
)

FORMAT = 2
# What says where compile caches are, and their folders in a bundle's.
CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
_SEAL = "content_sha256"


class Differs(UserWarning):
    """What runs here is not what was judged, and was loaded all the same, as was asked for."""


@dataclass(frozen=True)
class Entry:
    """One model of a bundle.

    Attributes:
        folder: the bundle.
        name: the model's.
        facts: its part of the manifest.
    """

    folder: Path
    name: str
    facts: Mapping[str, Any]

    @property
    def variant(self) -> str:
        """The variant that was judged."""
        return str(self.facts["variant"])

    @property
    def process(self) -> ProcessSettings:
        """The state of torch in which it was judged."""
        return stated_process(self.facts.get("process", {}))

    def window(self) -> tuple[Window, np.ndarray]:
        """The stored window, and its stored forecast [10, horizon]: the mean and the deciles."""
        with np.load(self.folder / self.facts["check"]["file"], allow_pickle=False) as arrays:
            values, times, forecast = arrays["values"], arrays["timestamps"], arrays["forecast"]
            wall = arrays["wall"].astype("datetime64[ns]") if "wall" in arrays else None
            amount = arrays.get("amount")
        place, times = self.facts["window"], times.astype("datetime64[ns]")
        context = len(values) - int(place["horizon"])
        rows = (values[:context], values[context:], times, wall, amount, FEATURES.index(place.get("target", "close")))
        own = self.facts["shapes"].get("by_symbol", {}).get(place["symbol"], {})
        return Window(place["symbol"], int(place["index"]), *rows, tuple(sorted(own.items()))), forecast

    def model(self) -> Model:
        """The model's plug-in; UserError for one that is no installed package's."""
        place, _, name = str(self.facts["plugin"]).rpartition(":")
        if place.endswith(".py") or not place:
            raise UserError(
                f"{self.name}: its plug-in {self.facts['plugin']} is a file; load its model by its own code"
            )
        found = getattr(importlib.import_module(place), name)
        assert isinstance(found, Model)
        return found

    def forecaster(self, device: str | None = None) -> Forecaster:
        """What was judged, with its weights loaded and told to compile; imports torch."""
        place, _, name = self._implementation().target.rpartition(":")
        kind: type[Forecaster] = getattr(importlib.import_module(place), name)
        weights = {role: self._checkpoint(role) for role in self.facts["weights"]}
        settings = dict(self.facts["settings"])
        for role, folder in weights.items():
            if role != "model":
                settings |= {role: str(folder), f"{role}_revision": None}
        options = LoadOptions(
            source=str(weights["model"]),
            device=device or str(self.facts["device"]),
            dtype=WEIGHT_FORMATS.get(str(self.facts["precision"]), "float32"),
            settings=settings,
            code=str(self._copy or ""),
        )
        forecaster = kind.load(options)
        if self.facts["mode"] != "eager":
            forecaster.compile(self.facts["mode"])
        return forecaster

    @property
    def _copy(self) -> Path | None:
        """The bundle's own folder of the code that was judged; None where that is a package's or ours."""
        return self.folder / self.facts["copy"] if self.facts["copy"] else None

    def _implementation(self) -> Implementation:
        model, name = self.model(), str(self.facts["implementation"])
        known = model.implementations
        if self._copy is not None:
            known = model.implementations_of(model.settings.model_validate({"code": {name: str(self._copy)}}))
        if name not in known:
            raise UserError(f"{self.name}: its plug-in {self.facts['plugin']} has no implementation {name} here")
        return known[name]

    def differences(self, device: str | None = None) -> Iterator[str]:
        """What is not as it was judged, a sentence each: code, weights, packages, torch and its state, device."""
        for name, digest in self.facts["code"].items():
            file = Path(__file__).parents[1] / name
            if not file.is_file() or _sha256(file) != digest:
                yield f"the code in {file} is not what was judged"
        yield from package_differences(self.facts["published"])
        for role, stated in self.facts["weights"].items():
            if weights_hash(self._checkpoint(role)) != stated["sha256"]:
                yield f"the weights of {role} in {self._checkpoint(role)} are not what was judged"
        packages = self.facts["packages"]
        for name, version in package_versions(tuple(packages)).items():
            if version != packages[name]:
                yield f"{name} is {version}, and was {packages[name]} when it was judged"
        if (own := _device_name(device or str(self.facts["device"]))) != self.facts["device_name"]:
            yield f"the device is {own}, and was {self.facts['device_name']} when it was judged"
        yield from self.process.differences()
        told = os.environ.get(shell_variable(self.name, "PROCESS"))
        if told and told != json.dumps(self.facts.get("process", {}), sort_keys=True):
            yield f"the deploy.env that this shell has read is of a verdict on another state of torch, {told}"

    def _checkpoint(self, role: str) -> Path:
        known = self.facts["weights"][role]
        embedded = self.model().checkpoints[role]
        return resolve_checkpoint(str(known["source"]), known["revision"], embedded=embedded, setting=f"weights.{role}")


def read_bundle(folder: Path) -> dict[str, Entry]:
    """The models of a bundle; UserError where it is none, was changed, is not whole, or holds no pass."""
    path = Path(folder) / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        body = {key: value for key, value in manifest.items() if key != _SEAL}
        text = json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        sealed = manifest.get(_SEAL) == hashlib.sha256(text.encode()).hexdigest()
        files, gate = manifest["files"], manifest["gate"]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: this is no bundle ({type(error).__name__}: {error}); expected the folder results/deploy of a run"
        ) from error
    if not sealed:
        raise UserError(f"{path}: its content does not match its {_SEAL}: it was changed; copy the bundle again")
    if manifest["format"] != FORMAT:
        raise UserError(f"{path}: its format is {manifest['format']}; this version reads {FORMAT}; update the package")
    if gate != "pass":
        raise UserError(
            f"{folder}: the gate says {gate!r}, so nothing is to be deployed: {'; '.join(manifest['reasons'])}"
        )
    for name, digest in files.items():
        if not (file := Path(folder) / name).is_file() or _sha256(file) != digest:
            raise UserError(f"{file} is missing or was changed since the bundle was made; copy the bundle again")
    return {name: Entry(Path(folder), name, facts) for name, facts in manifest["models"].items()}


def read_entry(folder: Path, model: str) -> Entry:
    """One model of a bundle; UserError as from `read_bundle`, or where it has no such model."""
    known = read_bundle(folder)
    if model not in known:
        raise UserError(f"{folder}: there is no model {model!r} in this bundle; it has {', '.join(known) or 'none'}")
    return known[model]


def use_cache(folder: Path) -> None:
    """Have this process look for compiled code in a bundle's cache, where nothing has said yet where to look.

    torch looks in one place for all models of a process, and writes there what it compiles itself.
    """
    for variable, part in CACHES.items():
        if variable not in os.environ and os.access(folder / part, os.W_OK):
            os.environ[variable] = str((folder / part).absolute())


def load_predictor(
    folder: Path, model: str, *, device: str | None = None, differences: str = "refuse", policy: str = "compile"
) -> Any:
    """What was judged, as an object with the published interface, warmed with the shapes of the verdict.

    Raises:
        UserError: no such model, an implementation without a predictor, or something that is not what was judged.
    """
    if differences not in ("refuse", "warn"):
        raise UserError(f"differences is {differences!r}; expected refuse or warn")
    entry = read_entry(folder, model)
    # A predictor sets the precision of products for its own calls, but for the usual one on a CPU.
    own = entry.process.matmul_precision != "highest" or (device or str(entry.facts["device"])).startswith("cuda")
    with entry.process.products() if own else contextlib.nullcontext():
        found = list(entry.differences(device))
    if found:
        message = f"{folder}: {model} is not what was judged: {'; '.join(found)}"
        if differences == "refuse":
            raise UserError(f"{message}. Run the gate here, or load with differences='warn'")
        warnings.warn(message, Differs, stacklevel=3)
    use_cache(folder / "cache")
    forecaster = entry.forecaster(device)
    make = getattr(forecaster, "predictor", None)
    if make is None:
        raise UserError(
            f"{folder}: {model}'s choice is {entry.variant}, whose class {type(forecaster).__qualname__} has no method "
            "`predictor`; load it by its own loader, with the switches that deploy.env sets"
        )
    shapes = entry.facts["shapes"]
    in_tf32 = entry.facts["precision"] == "tf32" or entry.process.matmul_precision != "highest"
    scope = {**shapes, "process": entry.facts.get("process", {})}
    predictor = make(policy=policy, precision="tf32" if in_tf32 else "float32", scope=scope)
    drawn = {} if entry.model().forecast.levels else {"samples": shapes["samples"]}
    for windows in shapes["windows"]:
        predictor.warm_up(shapes["context_length"], shapes["horizon"], series=windows, **drawn)
    return predictor


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _device_name(device: str) -> str:
    """As the gate's trials name it."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device) if torch.cuda.is_available() else "no CUDA device"
    return processor_name()
