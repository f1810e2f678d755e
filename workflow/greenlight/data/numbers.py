"""Numbers as exports write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

_EMPTY = {"", "na", "n/a", "#n/a", "nan", "null", "none", "-", "--"}
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_CURRENCY = "$€£¥"


@dataclass(frozen=True)
class Numbers:
    """The cells of some columns as numbers.

    Attributes:
        values: float64 by column; NaN where empty or not a number.
        empty: masks by column, cells without a value.
        bad: masks by column, cells that are not a finite number.
        notation: what besides plain numbers was understood, or "".
    """

    values: dict[str, np.ndarray]
    empty: dict[str, np.ndarray]
    bad: dict[str, np.ndarray]
    notation: str


def read_numbers(columns: dict[str, list[str]]) -> Numbers:
    """Read columns of text as numbers.

    Besides plain and scientific notation: a currency sign in front, and either thousands separated by commas
    or a decimal comma, where the file as a whole leaves no doubt which: `1,234.50` or `24,95`, not `1,234`.
    """
    fast = {name: _all_plain(cells) for name, cells in columns.items()}
    hard = {name: [_bare(cell) for cell in columns[name]] for name, values in fast.items() if values is None}
    notation = _notation([cell for cells in hard.values() for cell in cells])
    values, empty, bad = {}, {}, {}
    for name, cells in columns.items():
        known = fast[name]
        numbers = known if known is not None else np.array([_number(cell, notation) for cell in hard[name]])
        blank = np.zeros(len(cells), dtype=bool)
        if known is None:
            blank = np.array([cell.lower() in _EMPTY for cell in hard[name]], dtype=bool)
        values[name], empty[name] = numbers, blank
        bad[name] = ~np.isfinite(numbers) & ~blank
        values[name][bad[name]] = math.nan
    currency = any(cell.strip()[:1] in _CURRENCY for name in hard for cell in columns[name] if cell.strip())
    words = [notation] if notation else []
    return Numbers(values, empty, bad, ", ".join(words + (["currency sign"] if currency else [])))


def _all_plain(cells: list[str]) -> np.ndarray | None:
    """The cells as numbers where all are plain, else None."""
    try:
        values = np.array([float(cell) for cell in cells], dtype=float)
    except ValueError:
        return None
    return values if np.isfinite(values).all() and "_" not in "".join(cells) else None


def _bare(cell: str) -> str:
    cell = cell.strip()
    return cell[1:].strip() if cell[:1] in _CURRENCY and len(cell) > 1 else cell


def _notation(cells: list[str]) -> str:
    """`thousands separators`, `decimal comma`, or "" where there is no comma or no telling."""
    with_comma = [cell for cell in cells if "," in cell]
    if not with_comma:
        return ""
    grouped = all(_THOUSANDS.fullmatch(cell) for cell in with_comma)
    decimal = all(_DECIMAL_COMMA.fullmatch(cell) for cell in with_comma)
    has_point = any("." in cell for cell in cells if any(digit.isdigit() for digit in cell))
    if grouped and (has_point or any(cell.count(",") > 1 for cell in with_comma)):
        return "thousands separators"
    if decimal and not grouped and not has_point:
        return "decimal comma"
    return ""


def _number(cell: str, notation: str) -> float:
    if _PLAIN.fullmatch(cell):
        return float(cell)
    if notation == "thousands separators" and _THOUSANDS.fullmatch(cell):
        return float(cell.replace(",", ""))
    if notation == "decimal comma" and _DECIMAL_COMMA.fullmatch(cell):
        return float(cell.replace(",", "."))
    return math.nan
