"""The package `toto-ts`, imported quietly, and its model with a checkpoint's weights."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gluonts

from greenlight.api import CONFIG, WEIGHTS, UserError, load_into, read_config
from greenlight_forecasters.copies import getattr_of_copy
from greenlight_forecasters.toto.checkpoint import COMPUTED, read_dimensions, read_tensors


@contextlib.contextmanager
def _without_training_framework() -> Iterator[None]:
    """Import `gluonts.torch.*` without the package's own __init__, and so without lightning.

    toto-ts takes distributions from there. The __init__ also imports GluonTS's trainers, and with them lightning:
    3 seconds in every process, and packages that forecasting never uses. Whoever imports the package afterwards gets
    it whole.
    """
    name = "gluonts.torch"
    if name in sys.modules:
        yield
        return
    package = sys.modules[name] = ModuleType(name)
    package.__path__ = [str(Path(gluonts.__file__).parent / "torch")]
    try:
        yield
    finally:
        del sys.modules[name]


with warnings.catch_warnings(), _without_training_framework():
    # xformers and faster JSON readers are optional: their absence is no news to whoever runs the gate.
    warnings.simplefilter("ignore", ImportWarning)
    warnings.filterwarnings("ignore", "Using `json`-module", UserWarning)
    from toto.data.util.dataset import MaskedTimeseries
    from toto.inference.forecaster import TotoForecaster
    from toto.model.attention import XFORMERS_AVAILABLE
    from toto.model.backbone import TotoBackbone
    from toto.model.losses import CombinedLoss
    from toto.model.toto import Toto
    from toto.model.transformer import XFORMERS_SWIGLU_AVAILABLE

__all__ = ["CombinedLoss", "MaskedTimeseries", "Toto", "TotoBackbone", "TotoForecaster", "load_published"]


class Package(NamedTuple):
    """What is used of the package: three classes, and whether it runs two parts by xFormers."""

    toto: Any
    forecaster: Any
    series: Any
    fused_attention: bool
    fused_feed_forward: bool


PUBLISHED = Package(Toto, TotoForecaster, MaskedTimeseries, XFORMERS_AVAILABLE, XFORMERS_SWIGLU_AVAILABLE)
_PLACES = {
    "toto": ("model.toto", "Toto"),
    "forecaster": ("inference.forecaster", "TotoForecaster"),
    "series": ("data.util.dataset", "MaskedTimeseries"),
    "fused_attention": ("model.attention", "XFORMERS_AVAILABLE"),
    "fused_feed_forward": ("model.transformer", "XFORMERS_SWIGLU_AVAILABLE"),
}


def package_of_copy(folder: Path) -> Package:
    """The same of a copy of the package in a folder, whose code is run; UserError names what it lacks."""
    found = {}
    with warnings.catch_warnings(), _without_training_framework():
        warnings.simplefilter("ignore", ImportWarning)
        for field, (place, name) in _PLACES.items():
            found[field] = getattr_of_copy(folder, "toto", place, name, "models.toto.code")
    return Package(**found)


def load_published(folder: Path, package: Package = PUBLISHED) -> Toto:
    """The published `Toto` module with a checkpoint's weights, float32 on the CPU, in evaluation mode.

    `Toto.from_pretrained` does not work with huggingface_hub 1.0 and later, and the published loaders drop
    keys that they do not know without a word; here the key sets must be equal.

    Raises:
        UserError: config.json or the weights do not fit the architecture.
    """
    config = read_config(folder)
    read_dimensions(config, str(folder / CONFIG))
    config.pop("pre_xformers_checkpoint", None)
    if not package.fused_attention:
        config["use_memory_efficient_attention"] = False
    try:
        toto = package.toto(**config)
    except TypeError as error:
        raise UserError(f"{folder / CONFIG}: toto-ts does not know a key ({error})") from error
    # The published renaming, for whichever of the two feed-forward implementations this machine has.
    tensors = package.toto._map_state_dict_keys(read_tensors(folder), package.fused_feed_forward)
    load_into(toto, tensors, str(folder / WEIGHTS), ignore=COMPUTED)
    return toto.eval()
