"""Numbers as exports write them: one decision on the notation for a file, taken from all of its cells.

Cells are Arrow arrays of text, already without spaces around them, or numbers where the file itself has types.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.text import characters_in, forms_of

_EMPTY = ["", "na", "n/a", "#n/a", "nan", "null", "none", "-", "--"]
# RE2 patterns, which Arrow runs over whole columns.
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_MONEY = r"(?:[A-Z]{0,3}[$€£¥₹₩₽₺₫₪]|Rs\.?|kr\.?|zł|Kč|Fr\.)"
_SPACES = r"[\s\x{00a0}\x{202f}\x{2009}\x{2007}'’`´]"
_SUFFIX = {
    "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "thousand": 1e3, "mn": 1e6, "million": 1e6, "bn": 1e9, "billion": 1e9,
    "Mio": 1e6, "Mrd": 1e9, "Mln": 1e6, "Md": 1e9, "Tsd": 1e3,
    "L": 1e5, "Cr": 1e7, "万": 1e4, "亿": 1e8, "萬": 1e4, "億": 1e8, "만": 1e4, "억": 1e8, "천": 1e3,
}  # fmt: skip
_PLAIN_CHARACTERS = frozenset("0123456789.-eE")
_DIGITS = frozenset("0123456789.,+ ")
_GAPS = frozenset("'`é ")
_FACTORS = {name.lower(): factor for name, factor in _SUFFIX.items()}
# Forms have 9 for each digit. What each form can be, with a decimal point and with a decimal comma.
_GROUPS = r"9{1,3}(?:S999)+|9{1,2}(?:S99)*S999"
_POINT = re.compile(rf"[+-]?(?:9+|{_GROUPS.replace('S', ',')}|9{{1,3}}(?: 999)+)?(?:\.9*)?")
_COMMA = re.compile(r"[+-]?(?:9+|9{1,3}(?:\.999)+|9{1,3}(?: 999)+)?(?:,9*)?")
DECIMAL_POINT, DECIMAL_COMMA = "decimal-point", "decimal-comma"
_OTHER = {DECIMAL_POINT: ",", DECIMAL_COMMA: "."}


@dataclass(frozen=True)
class Numbers:
    """The cells of some columns as numbers.

    Attributes:
        values: float64 by column; NaN where empty or not a number.
        empty: masks by column, cells without a value.
        bad: masks by column, cells that are not a finite number.
        notation: what besides plain numbers was understood, in words, or "".
        doubt: a cell that can be two numbers, with nothing in the file to tell which, and its column; or None.
    """

    values: dict[str, np.ndarray]
    empty: dict[str, np.ndarray]
    bad: dict[str, np.ndarray]
    notation: str
    doubt: tuple[str, str] | None = None


@dataclass(frozen=True)
class _Cells:
    """The cells of a column of text.

    Attributes:
        text: all of them, and plain: what those that are plain numbers say, `decimals` (12.5), `groups` (only such as
            1.234, that might set thousands apart) or "".
        rows: which are not plain numbers; bare: these without signs of currency and suffixes, with their forms.
    """

    text: pa.Array
    plain: str
    rows: np.ndarray
    bare: pa.Array
    forms: list[str]
    form_of: np.ndarray
    factor: np.ndarray
    money: bool


def read_numbers(
    columns: Mapping[str, pa.Array],
    groups: Mapping[str, str],
    witnesses: Callable[[], list[pa.Array]] = list,
    wanted: str = "auto",
    contradictions: Callable[[dict[str, np.ndarray]], int] = lambda prices: 0,
    delimiter: str = ",",
    point_in_doubt: bool = False,
) -> Numbers:
    """Read columns of text as numbers.

    Besides plain and scientific notation: signs of currencies, thousands set apart by commas, points, spaces or
    apostrophes (also the lakh), decimal commas, and for volumes 1.23M.

    Args:
        columns: cells by column.
        groups: `price` or `volume` by column: one notation for each group, told from the other where it is in doubt.
        witnesses: further columns of the file, asked for the notation only where the groups themselves leave a doubt.
        wanted: `decimal-point` or `decimal-comma` where the configuration says it.
        contradictions: how many rows of prices contradict each other; decides where nothing else does.
        delimiter: of the file; volumes such as 200,000 between commas have thousands.
        point_in_doubt: whether prices that all are such as 1.234 may have thousands (a European file).
    """
    values, empty, hard = {}, {}, {}
    for name, cells in columns.items():
        if pa.types.is_string(cells.type):
            values[name], empty[name], hard[name] = _plain(cells, volume=groups[name] == "volume")
        else:
            values[name] = _typed(cells)
            empty[name] = np.isnan(values[name])
    prices = {name: cells for name, cells in hard.items() if groups[name] == "price"}
    volumes = {name: cells for name, cells in hard.items() if groups[name] == "volume"}

    def faults(notation: str) -> int:
        tried = {name: values[name].copy() for name, group in groups.items() if group == "price"}
        for name, cells in prices.items():
            _read(tried[name], cells, notation)
        return contradictions(tried)

    doubt = None
    notation = {"price": wanted, "volume": wanted}
    if wanted == "auto":
        forms = {"price": _forms(prices), "volume": _forms(volumes)}
        notation = {group: _decide(found) for group, found in forms.items()}
        if _only_groups(prices) and notation["price"] == "":
            doubted = point_in_doubt or notation["volume"] == DECIMAL_COMMA or faults(DECIMAL_POINT)
            notation["price"] = "doubt" if doubted else ""
        if _only_groups(volumes) and notation["volume"] == "" and notation["price"] == DECIMAL_COMMA:
            notation["volume"] = DECIMAL_COMMA
        before = dict(notation)
        for group, other in (("price", "volume"), ("volume", "price")):
            if notation[group] == "doubt":
                told = before[other] if before[other] in _OTHER else _decide(_witnessed(witnesses()), certain=True)
                if told not in _OTHER and group == "price":
                    told = _without_contradictions(faults)
                elif told not in _OTHER and delimiter == ",":
                    told = notation["price"] if notation["price"] in _OTHER else DECIMAL_POINT
                notation[group] = told if told in _OTHER else "doubt"
                if notation[group] == "doubt" and doubt is None:
                    doubt = _doubtful(prices if group == "price" else volumes)
    for name, cells in hard.items():
        _read(values[name], cells, notation[groups[name]])
        pa.default_memory_pool().release_unused()
    bad = {name: ~np.isfinite(values[name]) & ~empty[name] for name in columns}
    for name, mask in bad.items():
        values[name][mask] = math.nan
    return Numbers(values, empty, bad, _in_words(hard, notation, groups), doubt)


def _typed(cells: pa.Array) -> np.ndarray:
    try:
        return np.array(pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False), dtype=float)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.full(len(cells), math.inf)


def _plain(cells: pa.Array, volume: bool) -> tuple[np.ndarray, np.ndarray, _Cells]:
    """(values of the plain cells and NaN for others, mask of empty ones, the cells)."""
    none, nothing = np.zeros(len(cells), dtype=bool), np.zeros(0, dtype=np.int64)
    if characters_in(cells) <= _PLAIN_CHARACTERS:
        try:
            values = np.array(pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False), dtype=float)
            if np.isfinite(values).all():
                return values, none, _Cells(cells, _points(cells), nothing, cells[:0], [], nothing, nothing, False)
        except pa.ArrowInvalid:
            pass
    plain = pc.match_substring_regex(cells, _PLAIN)
    candidates = pc.if_else(plain, cells, pa.scalar(None, pa.string()))
    if "+" in characters_in(cells):
        candidates = pc.replace_substring_regex(candidates, r"^\+", "")
    values = np.array(pc.cast(candidates, pa.float64()).to_numpy(zero_copy_only=False), dtype=float)
    rows = np.flatnonzero(~plain.to_numpy(zero_copy_only=False))
    bare = cells if len(rows) == len(cells) else cells.take(pa.array(rows))
    found, factor, money = characters_in(bare), np.ones(len(rows)), False
    if not found <= _DIGITS or pc.any(pc.equal(bare, "")).as_py():
        blank = pc.is_in(pc.utf8_lower(bare), value_set=pa.array(_EMPTY)).to_numpy(zero_copy_only=False)
        none[rows[blank]] = True
        rows, others = rows[~blank], bare.filter(pa.array(~blank))
        bare = _without_money(others)
        money = bool(len(others)) and pc.any(pc.not_equal(bare, others)).as_py()
        bare, factor = _without_suffix(bare) if volume else (bare, np.ones(len(rows)))
    if found & _GAPS:
        bare = pc.replace_substring_regex(bare, _SPACES, " ")
    encoded = forms_of(bare).dictionary_encode()
    forms, form_of = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
    points = _points(cells.filter(plain)) if len(rows) < len(cells) else ""
    return values, none, _Cells(cells, points, rows, bare, forms, form_of, factor, money)


def _points(plain: pa.Array) -> str:
    """What the points in plain numbers can be: `decimals` where some can't set thousands apart, `groups`, or ""."""
    if "." not in characters_in(plain):
        return ""
    for part in (plain[:1000], plain):
        if pc.any(pc.match_substring_regex(part, r"[eE]|\.(\d{0,2}|\d{4,})$|^[+-]?(0\d*|\d{4,})?\.")).as_py():
            return "decimals"
    return "groups"


def _without_money(cells: pa.Array) -> pa.Array:
    bare = pc.replace_substring_regex(cells, rf"^([+-]?){_MONEY}{_SPACES}*", r"\1")
    return pc.replace_substring_regex(bare, rf"{_SPACES}*{_MONEY}$", "")


def _without_suffix(bare: pa.Array) -> tuple[pa.Array, np.ndarray]:
    pattern = rf"(?i)^(?P<number>.*\d[.,]?)\s*(?P<suffix>{'|'.join(sorted(_FACTORS, key=len, reverse=True))})\.?$"
    found = pc.extract_regex(bare, pattern)
    suffix = pc.utf8_lower(pc.struct_field(found, "suffix"))
    factor = np.ones(len(bare))
    for name in pc.unique(suffix).to_pylist():
        if name is not None:
            factor[pc.equal(suffix, name).fill_null(False).to_numpy(zero_copy_only=False)] = _FACTORS[name]
    return pc.coalesce(pc.struct_field(found, "number"), bare), factor


def _forms(cells: Mapping[str, _Cells]) -> Counter[str]:
    """How often each form of a group's cells that are not plain occurs, and 9.9 where plain ones have decimals."""
    found: Counter[str] = Counter()
    for own in cells.values():
        found.update(dict(zip(own.forms, np.bincount(own.form_of, minlength=len(own.forms)).tolist(), strict=True)))
        if own.plain == "decimals":
            found["9.9"] += len(own.text) - len(own.rows)
    return found


def _only_groups(cells: Mapping[str, _Cells]) -> bool:
    """Whether all points in the plain numbers of a group might set thousands apart."""
    said = {own.plain for own in cells.values()}
    return "groups" in said and "decimals" not in said


def _decide(forms: Mapping[str, int], certain: bool = False) -> str:
    """The notation of some forms: of a point, of a comma, `doubt` where they can be either, "" where they don't matter.

    A form here and there against ten times as many others is a mistake in its cells, and decides nothing.

    Args:
        certain: only forms that can be one alone count, so that there is no doubt but silence.
    """
    point = {form for form in forms if _POINT.fullmatch(form)}
    comma = {form for form in forms if _COMMA.fullmatch(form)}
    only_point, only_comma = (sum(forms[form] for form in own) for own in (point - comma, comma - point))
    if only_point > 10 * only_comma:
        return DECIMAL_POINT
    if only_comma > 10 * only_point:
        return DECIMAL_COMMA
    either = any("," in form or "." in form for form in point & comma)
    return "doubt" if not certain and (either or only_point) else ""


def _witnessed(columns: list[pa.Array]) -> dict[str, int]:
    """The forms of numbers and percentages in columns that are not used."""
    forms: dict[str, int] = {}
    for cells in columns:
        if not pa.types.is_string(cells.type):
            continue
        bare, _ = _without_suffix(_without_money(pc.replace_substring_regex(cells, rf"{_SPACES}*%$", "")))
        found = pc.unique(pc.replace_substring_regex(bare, r"\d", "9")).to_pylist()
        numbers = {form for form in found if "9" in form and (_POINT.fullmatch(form) or _COMMA.fullmatch(form))}
        # A column of other things that look like numbers here and there is no witness.
        if len(numbers) * 2 > len([form for form in found if form]):
            forms |= dict.fromkeys(numbers, 1)
    return forms


def _without_contradictions(faults: Callable[[str], int]) -> str:
    """The notation under which the prices of a row fit each other, where under the other they do not."""
    point, comma = faults(DECIMAL_POINT), faults(DECIMAL_COMMA)
    if point == 0 < comma:
        return DECIMAL_POINT
    return DECIMAL_COMMA if comma == 0 < point else "doubt"


def _doubtful(cells: Mapping[str, _Cells]) -> tuple[str, str] | None:
    """The first cell of a group that can be two numbers, and its column."""
    for name, own in cells.items():
        for place, form in enumerate(own.forms):
            if re.search("[,.]", form) and _POINT.fullmatch(form) and _COMMA.fullmatch(form):
                return own.bare[int(np.argmax(own.form_of == place))].as_py(), name
    for name, own in cells.items():
        if own.plain == "groups":
            return own.text.filter(pc.match_substring(own.text, "."))[0].as_py(), name
    return None


def _read(values: np.ndarray, cells: _Cells, notation: str) -> None:
    """Write the cells of a column that are not plain into its values; what is no number in the notation stays NaN."""
    chosen = {DECIMAL_POINT: _POINT, DECIMAL_COMMA: _COMMA}.get(notation)
    if notation == DECIMAL_COMMA and cells.plain:
        # A plain number with a point is none here, unless the point sets thousands apart.
        points = pc.match_substring(cells.text, ".").to_numpy(zero_copy_only=False)
        points[cells.rows] = False
        thousands = pc.match_substring_regex(cells.text, r"^[+-]?[1-9]\d{0,2}\.\d{3}$").to_numpy(zero_copy_only=False)
        values[points] = np.where(thousands[points], np.round(values[points] * 1000), math.nan)
    if not len(cells.rows):
        return
    # Without a decision, what is the same in both is still read: 1 234 567.
    fits = [
        "9" in form
        and bool(chosen.fullmatch(form) if chosen else _POINT.fullmatch(form) and not re.search("[,.]", form))
        for form in cells.forms
    ]
    good = np.array(fits, dtype=bool)[cells.form_of]
    text, found = cells.bare, characters_in(cells.bare)
    for mark, becomes in ((" ", ""), (_OTHER.get(notation, ","), ""), (",", "."), ("+", "")):
        if mark in found:
            text = pc.replace_substring(text, mark, becomes)
    if not good.all():
        text = pc.if_else(pa.array(good), text, pa.scalar(None, pa.string()))
    values[cells.rows] = pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False) * cells.factor


def _in_words(hard: Mapping[str, _Cells], notation: Mapping[str, str], groups: Mapping[str, str]) -> str:
    said = []
    forms = {(groups[name], form) for name, cells in hard.items() for form in cells.forms if "9" in form}
    for group, what in (("price", "prices"), ("volume", "volumes")):
        own = [form for owner, form in forms if owner == group]
        marks = {DECIMAL_POINT: (",", "."), DECIMAL_COMMA: (".", ",")}.get(notation[group])
        if not marks:
            continue
        if any(marks[1] in form for form in own) and notation[group] == DECIMAL_COMMA:
            said.append(f"decimal comma in {what}")
        if any(marks[0] in form for form in own):
            said.append(f"thousands separators in {what}")
    if any(" " in form for _, form in forms):
        said.append("thousands set apart by spaces or apostrophes")
    if any((cells.factor != 1).any() for cells in hard.values()):
        said.append("abbreviated volumes such as 1.23M")
    if any(cells.money for cells in hard.values()):
        said.append("currency signs")
    return ", ".join(said)
