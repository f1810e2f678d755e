"""Finds models: those that installed packages bring, and those of files that the configuration names.

Nothing of torch is imported with a plug-in: the workflow reads it while it plans. What it names by dotted paths, its
forecasters, is imported in trials.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from greenlight.api import IMPLEMENTATION_NAME, Forecaster, LoadOptions, Model
from greenlight.errors import UserError, nearest

GROUP = "greenlight.models"
_CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reference:
    """Where an object is: `package.module:NAME`, or `path/to/file.py:NAME`.

    Attributes:
        file: the file, as it is written; None for a module of an installed package.
        module: dotted name of the module; of a file, the name of its own that it is imported under.
        name: the object's name in it.
    """

    file: Path | None
    module: str
    name: str

    @classmethod
    def parse(cls, text: str, model: str) -> Reference:
        """Read a reference to a model's plug-in; UserError names what was expected."""
        place, _, name = text.rpartition(":")
        if not place or not name.isidentifier():
            raise UserError(
                f"models.{model}.plugin: expected path/to/file.py:NAME, or package.module:NAME, found {text!r}"
            )
        if place.endswith(".py"):
            return cls(Path(place).expanduser(), f"greenlight_plugin_{model.replace('-', '_')}", name)
        return cls(None, place, name)


@cache
def installed_plugins() -> dict[str, str]:
    """Reference of the plug-in of each model that an installed package brings, by the model's name.

    Of the checkout that this package lies in, its pyproject.toml is read: what was installed may be older.
    """
    found: dict[str, str] = {}
    for entry in entry_points(group=GROUP):
        if found.setdefault(entry.name, entry.value) != entry.value:
            raise UserError(
                f"two installed packages bring a model {entry.name!r}: {found[entry.name]} and {entry.value}; "
                "uninstall one of them"
            )
    try:
        project = tomllib.loads((_CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return found
    own = project.get("entry-points", {}).get(GROUP, {}) if project.get("name") == "greenlight" else {}
    return own | {name: found[name] for name in sorted(found) if name not in own}


@cache
def model_of(name: str, plugin: str | None = None) -> Model:
    """The model of a name; UserError if there is none, or what is named is none.

    Args:
        plugin: where its plug-in is, as for `Reference`; None for one that an installed package brings.
    """
    text = plugin or installed_plugins().get(name)
    if text is None:
        known = list(installed_plugins())
        raise UserError(
            f"there is no model {name!r}{nearest(name, known)}; installed packages bring {', '.join(known)}. "
            f"A plug-in of your own is named by models.{name}.plugin: path/to/file.py:NAME"
        )
    reference = Reference.parse(text, name)
    found = getattr(_imported(reference, name), reference.name, None)
    if not isinstance(found, Model):
        raise UserError(
            f"models.{name}.plugin: {text} is {type(found).__name__}, expected a greenlight.api.Model"
            if found is not None
            else f"models.{name}.plugin: {text}: there is no {reference.name} in it"
        )
    if found.name != name:
        raise UserError(f"models.{name}.plugin: {text} is the plug-in of {found.name!r}; name it models.{found.name}")
    for word in (name, *found.implementations):
        if not IMPLEMENTATION_NAME.fullmatch(word):
            raise UserError(
                f"models.{name}.plugin: {text}: {word!r} can't be the name of a model or an implementation; "
                "expected lower-case letters, digits and hyphens, a letter first"
            )
    return found


def reference_of(name: str, plugin: str | None = None) -> str:
    """The reference of a model's plug-in; arguments and UserError as for `model_of`."""
    model_of(name, plugin)
    return plugin or installed_plugins()[name]


def _imported(reference: Reference, model: str) -> ModuleType:
    """The module of a plug-in. A file is imported under a name of its own, with its folder last on sys.path."""
    key, before = f"models.{model}.plugin", "torch" in sys.modules
    try:
        if reference.file is None:
            module = importlib.import_module(reference.module)
        else:
            module = _import_file(reference.file, reference.module, key)
    except UserError:
        raise
    except Exception as error:
        place = reference.file or reference.module
        raise UserError(f"{key}: {place} can't be imported ({type(error).__name__}: {error}); mend it") from error
    if not before and "torch" in sys.modules:
        raise UserError(
            f"{key}: {reference.file or reference.module} imports torch, which takes seconds whenever a run is "
            "planned; import it within functions, or in another file that Implementation.target names"
        )
    return module


def _import_file(file: Path, name: str, key: str) -> ModuleType:
    path = file.absolute()
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    if not path.is_file():
        raise UserError(f"{key}: there is no file {file}; expected a Python file that holds a greenlight.api.Model")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _forecaster_class(model: str, target: str, plugin: str | None) -> type[Forecaster]:
    """The class that an implementation's `target` names; imports torch. UserError if it is not there."""
    reference = Reference.parse(reference_of(model, plugin), model)
    place, _, name = target.rpartition(":")
    module = importlib.import_module(place) if place else _imported(reference, model)
    beside = reference.file.absolute().parent / f"{place}.py" if reference.file and place else None
    if beside and beside.is_file() and Path(module.__file__ or "").resolve() != beside.resolve():
        raise UserError(
            f"models.{model}.plugin: {target} is {module.__file__}, not {beside} beside the plug-in; rename the latter"
        )
    if not isinstance(kind := getattr(module, name, None), type) or not issubclass(kind, Forecaster):
        raise UserError(f"models.{model}.plugin: {target} is not there or no greenlight.api.Forecaster")
    return kind


def load_forecaster(
    model: str, implementation: str, options: LoadOptions, plugin: str | None = None, target: str | None = None
) -> Forecaster:
    """One implementation of one model with its weights loaded, in eager mode.

    Args:
        plugin: as for `model_of`.
        target: dotted path of its class; None for that which the plug-in names.

    Raises:
        UserError: an unknown name, or weights that are missing or do not fit.
    """
    if target is None:
        known = model_of(model, plugin).implementations
        if implementation not in known:
            expected = ", ".join(known)
            raise UserError(f"model {model} has no implementation {implementation!r}; expected one of {expected}")
        target = known[implementation].target
    return _forecaster_class(model, target, plugin).load(options)
