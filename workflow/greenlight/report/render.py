"""Facts as Markdown and as one HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import isfunction
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from greenlight.report import formats, markup
from greenlight.report.facts import Facts
from greenlight.report.forecasts import Charts

TEMPLATES = Path(__file__).parent / "templates"
_FILTERS = {name: value for name, value in vars(formats).items() if isfunction(value)}


@dataclass(frozen=True)
class FigureFile:
    """A figure of the report.

    Attributes:
        model: whose it is; "" for the run's.
        name: its file's name in the folder `figures`.
        caption: what it shows and how to read it, one sentence; also its text for those who can't see it.
    """

    model: str
    name: str
    caption: str


def markdown(facts: Facts, figures: Sequence[FigureFile]) -> str:
    """report.md. Every value passes through `markup.escape`, so that no name or message is ever markup."""
    return markdown_page("report.md.jinja", **_context(facts, figures))


def history_markdown(history: Any, figures: Sequence[tuple[str, str]]) -> str:
    """history.md from a `report.history.History` and (path, caption) of its figures."""
    return markdown_page("history.md.jinja", history=history, figures=figures)


def markdown_page(template: str, **context: Any) -> str:
    """A Markdown template rendered; every value passes through `markup.escape`."""
    return _tidy(_markdown_environment().get_template(template).render(context))


@cache
def _markdown_environment() -> jinja2.Environment:
    environment = _environment(finalize=markup.escape, autoescape=False)
    own = {"code": markup.code, "fenced": markup.fenced, "path": markup.path, "own": _own}
    environment.filters |= own
    return environment


def _own(text: Any) -> markup.Markdown:
    """What a macro of ours gave: Markdown already, its values escaped."""
    return markup.Markdown(text)


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"


def html(facts: Facts, figures: Sequence[FigureFile], folder: Path, forecasts: Mapping[str, Charts]) -> str:
    """report.html: everything in one file, figures included, nothing fetched.

    Args:
        folder: where the figures lie.
        forecasts: by model, what is drawn in the page.
    """
    sources = {figure.name: data_uri(folder / figure.name) for figure in figures}
    context = {**_context(facts, figures), "sources": sources, "forecasts": forecasts}
    return html_page("report.html.jinja", ["report", "report-forecasts"], **context)


def html_page(template: str, looks: Sequence[str], **context: Any) -> str:
    """An HTML template rendered as one file that fetches nothing; Jinja escapes every value.

    Args:
        looks: names of the style sheets and scripts that go into it, those that there are.
    """
    files = {suffix: [TEMPLATES / f"{name}.{suffix}" for name in looks] for suffix in ("css", "js")}
    style, script = (
        Markup("".join(path.read_text(encoding="utf-8") for path in paths if path.is_file()))
        for paths in files.values()
    )
    own = {"style": style, "script": script, "style_hash": _integrity(style), "script_hash": _integrity(script)}
    return _html_environment().get_template(template).render({**context, **own})


@cache
def _html_environment() -> jinja2.Environment:
    return _environment(finalize=_shown, autoescape=True)


def _integrity(text: str) -> str:
    """The hash by which the page's own policy admits its one style and its one script, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def data_uri(path: Path) -> str:
    """An SVG file as a data URI."""
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _environment(**options: Any) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        **options,
    )
    environment.filters |= _FILTERS | {"anchor": markup.anchor, "position": _position}
    return environment


def _position(names: Sequence[str], name: str) -> int:
    """Where a name stands; -1 where it does not."""
    return names.index(name) if name in names else -1


def _shown(value: Any) -> Any:
    """Plain text without what can't be seen; Jinja escapes it for HTML afterwards."""
    return markup.visible(value) if type(value) is str else value


def _context(facts: Facts, figures: Sequence[FigureFile]) -> Mapping[str, Any]:
    return {
        "facts": facts,
        "words": WORDS[facts.verdict],
        "figures": {model.name: [f for f in figures if f.model == model.name] for model in facts.models},
    }


WORDS = {
    "pass": "All that the gate asks of the variants to deploy is shown.",
    "fail": "Do not deploy: something the gate asks for does not hold, or its evidence is missing.",
    "inconclusive": "Do not deploy yet: nothing is shown to be wrong, and not all is shown to be right.",
    "unknown": "Do not deploy: there is no verdict that can be trusted.",
}
