"""Text that comes from data, names or errors, made safe for Markdown; HTML is left to Jinja's own escaping."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
# Control characters, lone surrogates, and characters that turn the direction of text, so that what is read is not
# what is there (Unicode Technical Report 36). Tabs and line ends stay.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CODE = re.compile(r"[\w./@:=+ ,()-]+")
_SPECIAL = re.compile(r"[\\`*|~$#{}]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Markdown(str):
    """Text that is Markdown already and is not escaped again."""


def visible(text: Any) -> str:
    """Text without terminal colours, control characters and characters that turn its direction; lines are kept."""
    kept = _ANSI.sub("", str(text)).replace("\r\n", "\n").replace("\r", "\n")
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", kept)


def one_line(text: Any) -> str:
    """Visible text on one line."""
    return " ".join(visible(text).split())


def escape(value: Any) -> str:
    """A value as Markdown that shows it and nothing else: no markup, no table cell, no line of its own.

    `finalize` of the Markdown environment: every `{{ }}` of a template passes through it.
    """
    if value is None:
        return ""
    if isinstance(value, Markdown):
        return str(value)
    text = one_line(value)
    text = re.sub(r"[&<>]", lambda found: _ENTITIES[found[0]], text)
    text = _SPECIAL.sub(lambda found: f"\\{found[0]}", text)
    # A bracket makes a link only where something follows it; intervals such as [1, 2] stay as they are.
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)
    # An underscore inside a word is no emphasis; SIM_CALM stays as it is.
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    return re.sub(r"^([-+=]|\d+[.)])(?=\s|$|[-+=])", lambda found: f"{found[0][:-1]}\\{found[0][-1]}", text)


def code(value: Any) -> Markdown:
    """A name in a code span, or escaped where it has characters that a span can't hold safely."""
    text = one_line(value)
    return Markdown(f"`{text}`" if _CODE.fullmatch(text) else escape(text))


def path(value: Any) -> Markdown:
    """A relative path as the target of a link, percent-encoded."""
    return Markdown(quote(visible(value), safe="/."))


def fenced(value: Any) -> Markdown:
    """Text as a fenced block whose fence is longer than any run of backticks or tildes in it."""
    text = visible(value).strip("\n")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}text\n{text}\n{fence}")


def anchor(*names: Any) -> str:
    """An HTML id from names, of letters, digits and hyphens only."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(str(name) for name in names).lower()).strip("-")
