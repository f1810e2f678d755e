"""Settings of a model that differ by symbol: a CSV or YAML file, or keys in the configuration itself.

    symbol,temperature,top_p                GOOG: {temperature: 0.8}
    GOOG,0.8,                               SIM_HOURLY: {temperature: 1.2, top_p: 0.95}
    SIM_HOURLY,1.2,0.95

An empty cell is the model's own setting.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from greenlight.errors import UserError, nearest

_SHARED = {
    "samples": "evaluation.samples",
    "context": "evaluation.context_length",
    "context_length": "evaluation.context_length",
    "horizon": "evaluation.horizon",
}


def read_by_symbol(
    given: str | Mapping[str, Mapping[str, Any]], key: str, known: Sequence[str], symbols: Sequence[str]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """By symbol, where it stands, in words, and the settings that it has of its own.

    Args:
        given: a file's name, or the settings by symbol.
        key: of the configuration, for messages.
        known: names of settings that may differ; symbols: those that there are prices of.

    Raises:
        UserError: a file that can't be read, a setting or a symbol that is not known, or one that is named twice.
    """
    rows = _rows(Path(given).expanduser(), key) if isinstance(given, str) else ((key, *row) for row in given.items())
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for where, symbol, own in rows:
        if symbol in found:
            raise UserError(f"{where}: the symbol {symbol!r} is named twice; expected it once")
        if symbol not in symbols:
            raise UserError(
                f"{where}: there are no prices of the symbol {symbol!r}{nearest(symbol, symbols)}; expected symbols of "
                "data_folder. Correct or remove it"
            )
        if not isinstance(own, Mapping):
            raise UserError(f"{where}: {symbol} has {own!r}; expected settings such as {{{known[0]}: value}}")
        for name in own:
            if name not in known:
                shared = f" ({_SHARED[name]} is one for all symbols)" if name in _SHARED else nearest(str(name), known)
                raise UserError(
                    f"{where}: {name!r} is no setting that may differ by symbol{shared}; expected {', '.join(known)}"
                )
        found[symbol] = (where, dict(own))
    return found


def own_by_symbol(model: Any, settings: Any, symbols: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By symbol, the settings in which it differs from the model's; UserError as `read_by_symbol`, and for values.

    Args:
        model: what the plug-in says of it (`api.Model`); settings: the model's own.
        symbols: those that there are prices of.
    """
    key = f"models.{model.name}.by_symbol"
    if not model.by_symbol:
        raise UserError(f"{key}: the plug-in of {model.name} has no settings that may differ by symbol; remove the key")
    usual = settings.model_dump()
    found = {}
    for symbol, (where, own) in read_by_symbol(settings.by_symbol or {}, key, model.by_symbol, symbols).items():
        try:
            checked = type(settings).model_validate(usual | own).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            message = f"{first['msg']} (found {first.get('input')!r})"
            raise UserError(f"{where}: {symbol}, {name}: {message}") from None
        if differing := {name: checked[name] for name in model.by_symbol if checked[name] != usual[name]}:
            found[symbol] = differing
    return found


def _rows(path: Path, key: str) -> Iterator[tuple[str, str, Any]]:
    """(where it stands, symbol, its settings) of a file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{key}: {path} can't be read ({reason}); expected a CSV or YAML file") from None
    if path.suffix.lower() in (".yaml", ".yml"):
        return _rows_of_yaml(path, text)
    if path.suffix.lower() == ".csv":
        return _rows_of_csv(path, text)
    raise UserError(f"{key}: {path} is neither .csv nor .yaml; expected one of these")


def _rows_of_yaml(path: Path, text: str) -> Iterator[tuple[str, str, Any]]:
    try:
        read = yaml.load(text, _EachOnce)  # a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not readable as YAML ({' '.join(str(error).split())}); mend it") from None
    if not isinstance(read, Mapping):
        raise UserError(f"{path}: holds no settings by symbol; expected lines such as GOOG: {{temperature: 0.8}}")
    for symbol, own in read.items():
        yield str(path), str(symbol), own


def _rows_of_csv(path: Path, text: str) -> Iterator[tuple[str, str, Any]]:
    lines = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(lines, [])]
    if "symbol" not in header or len(set(header)) < len(header):
        raise UserError(
            f"{path}, line 1: the columns are {', '.join(header) or 'none'}; expected symbol and settings, each once"
        )
    for row in lines:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}, line {lines.line_num}"
        if len(row) != len(header):
            raise UserError(f"{where}: {len(row)} cells, expected {len(header)} as in the first line")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        symbol = cells.pop("symbol")
        yield where, symbol, {name: cell for name, cell in cells.items() if cell}


class _EachOnce(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As SafeLoader's."""
        names = [self.construct_object(key) for key, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise yaml.MarkedYAMLError(problem=f"{twice[0]!r} stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)
