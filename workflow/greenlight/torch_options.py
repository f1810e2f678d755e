"""Options of torch._dynamo.config and torch._inductor.config by name: which there are, and reading and setting them.

Which there are is read from torch's text, for the workflow plans with them and imports no torch.
"""

from __future__ import annotations

import ast
import importlib.util
import operator
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from greenlight.errors import nearest

Option = bool | int | float | str | None
OPTIONS_OF = {"dynamo": "torch._dynamo.config", "inductor": "torch._inductor.config"}
_TYPES = {"bool": bool, "int": int, "float": float, "str": str}


def set_option(part: str, name: str, option: Option) -> None:
    """Set an option of a part in OPTIONS_OF, for the whole process."""
    place, _, own = name.rpartition(".")
    config = _config(part)
    setattr(operator.attrgetter(place)(config) if place else config, own, option)


def found_option(part: str, name: str) -> str:
    """What an option is now, as Python writes it; `unknown` if this torch has none of the name."""
    try:
        return repr(operator.attrgetter(name)(_config(part)))
    except AttributeError:
        return "unknown"


def _config(part: str) -> Any:
    if part == "dynamo":
        import torch._dynamo.config

        return torch._dynamo.config
    import torch._inductor.config

    return torch._inductor.config


def problem_with(part: str, name: str, option: Option) -> str:
    """Why an option can't be set, in words; empty where it can, or where torch is not installed here."""
    known = _known(part)
    if known and name not in known:
        return f"{OPTIONS_OF[part]} of the installed torch has no {name!r}{nearest(name, list(known))}"
    kind = known.get(name)
    if option is None or kind is None or type(option) is kind or (kind is float and type(option) is int):
        return ""
    return f"{name} is {option!r}; expected {'true or false' if kind is bool else kind.__name__}"


@cache
def _known(part: str) -> dict[str, type | None]:
    """Options of the installed torch, from its text, with their types where these are plain."""
    found = importlib.util.find_spec("torch")
    for place in (found.submodule_search_locations or ()) if found else ():
        file = Path(place) / f"_{part}" / "config.py"
        if file.is_file():
            return dict(_options(ast.parse(file.read_text(encoding="utf-8")).body, ""))
    return {}


def _options(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, type | None]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _options(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and not target.id.startswith("_"):
                yield f"{prefix}{target.id}", _type_of(node)
        elif isinstance(node, ast.If):
            yield from _options([*node.body, *node.orelse], prefix)


def _type_of(node: ast.Assign | ast.AnnAssign) -> type | None:
    if isinstance(node, ast.AnnAssign) and isinstance(node.annotation, ast.Name):
        return _TYPES.get(node.annotation.id)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
        return kind if (kind := type(node.value.value)) in _TYPES.values() else None
    return None
