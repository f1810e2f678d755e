"""The keys that say how a price file is to be read where it leaves a doubt itself: `data.…` in the configuration."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Canonical = Literal["timestamp", "time", "open", "high", "low", "close", "volume", "amount"]
_OFFSET = re.compile(r"[+-]\d\d:?\d\d")
_LEFT_OUT = ("-", "")


class ReadingOptions(BaseModel):
    """How price files are read; the defaults ask the file. Each key also stands under `data.symbols.<SYMBOL>`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    columns: dict[Canonical, str | int] | tuple[str, ...] | None = None
    """Which column is what: `{timestamp: window_start, close: px_last}`, by its name or its number from 1; `time` is a
    time of day beside the date. Or, for a file without a header, the list of all columns in their order, `-` for one
    that is not used."""
    header: Literal["auto", "none"] | int = "auto"
    """`none` where the first line holds prices already, or the number of the line that is the header."""
    dates: str = "auto"
    """`day-first` (31.01.2024), `month-first` (01/31/2024), or a pattern of strptime such as "%y%m%d"."""
    numbers: Literal["auto", "decimal-point", "decimal-comma"] = "auto"
    """How numbers are written: 1,234.56 (decimal-point) or 1.234,56 (decimal-comma)."""
    encoding: str = "auto"
    """Encoding of the text, such as utf-16-le, gb18030 or cp1252; auto reads UTF-8, and others beyond doubt only."""
    timezone: str = "auto"
    """Zone of times that are written without an offset, such as America/New_York or +09:00."""
    scale: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Factor of all prices, such as 1e-9 for prices in billionths."""
    symbol_check: Literal["on", "off"] = "on"
    """Whether a file that names another symbol than its own name is refused."""
    largest_file_mib: float = Field(default=2048, gt=0)
    """Price files above this size, also once unpacked, are refused."""

    @field_validator("symbol_check", mode="before")
    @classmethod
    def _words_of_yaml(cls, value: Any) -> Any:
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value

    @field_validator("dates")
    @classmethod
    def _known_order(cls, value: str) -> str:
        if value not in ("auto", "day-first", "month-first") and "%" not in value:
            raise ValueError('expected auto, day-first, month-first or a pattern of strptime such as "%y%m%d"')
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            if value != "auto" and not codecs.lookup(value)._is_text_encoding:
                raise LookupError
        except (LookupError, ValueError):
            raise ValueError("no such encoding; known are utf-8, utf-16-le, gb18030, cp1252, …") from None
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            if value != "auto" and not _OFFSET.fullmatch(value):
                ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("no such zone; expected a name such as America/New_York, or an offset: +09:00") from None
        return value

    @model_validator(mode="after")
    def _order_names_columns(self) -> ReadingOptions:
        if isinstance(self.header, int) and self.header < 1:
            raise ValueError("header: lines are counted from 1")
        if isinstance(self.columns, tuple):
            named = [name for name in self.columns if name not in _LEFT_OUT]
            unknown = sorted(set(named) - set(get_args(Canonical)))
            if unknown or len(set(named)) != len(named):
                raise ValueError(
                    f"columns: the list names {', '.join(unknown) or 'a column twice'}; expected each of "
                    f"{', '.join(get_args(Canonical))} at most once, and - for a column that is not used"
                )
        return self

    def chosen(self) -> dict[str, str | int]:
        """Column by canonical name as the configuration says, by name or by number from 1; empty where it does not."""
        if isinstance(self.columns, tuple):
            return {name: place for place, name in enumerate(self.columns, 1) if name not in _LEFT_OUT}
        return {name: place for name, place in (self.columns or {}).items()}


def yaml_word(name: str) -> str:
    """A name from a file as it has to stand in YAML."""
    plain = re.fullmatch(r"[^\W_][\w ().%/-]*", name) and name == name.strip() and name.isprintable()
    return name if plain else json.dumps(name, ensure_ascii=not name.isprintable())


def paste(key: str, value: str) -> str:
    """The end of a message: the key that would settle it, as a line for the configuration."""
    return f"paste `data: {{{key}: {value}}}` into the configuration"
