"""How every figure looks and is written: one style, fixed bytes, colours that work for all and in the dark."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from greenlight.files import write_text
from greenlight.report.markup import one_line

INK, FAINT, PAPER, GRID = "#1f2328", "#6e7781", "#ffffff", "#d8dee4"
# Okabe and Ito's colours, told apart by all kinds of sight; each series has a marker and a line style too.
BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW)
# As many as have no divisor in common with the number of colours, so that no pair comes twice.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*", "h", "d")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
_DARK = {
    INK: "#e6edf3",
    FAINT: "#9198a1",
    PAPER: "#151a20",
    GRID: "#30363d",
    BLUE: "#4da3dd",
    ORANGE: "#ff8f4d",
    "#000000": "#e6edf3",
}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "greenlight",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "lines.linewidth": 1.4,
    "hatch.linewidth": 0.6,
}


@contextlib.contextmanager
def canvas(
    path: Path, width: float, height: float, rows: int = 1, columns: int = 1
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of `rows` by `columns` axes, sizes in inches, the axes row by row; at the end it is written as SVG.

    Nothing of the user's own matplotlib settings gets in. The same picture gives the same bytes, and it follows a dark
    colour scheme.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, list(figure.subplots(rows, columns, squeeze=False).flat)
        buffer = io.StringIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            warnings.filterwarnings("ignore", message="AutoDateLocator was unable to pick")
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    head, separator, rest = buffer.getvalue().partition("<defs>")
    write_text(path, head + _dark_style() + separator + rest)


def _dark_style() -> str:
    rules = [
        f'[style*="{name}: {light}"]{{{name}:{dark} !important}}'
        for light, dark in _DARK.items()
        for name in ("fill", "stroke")
    ]
    # Glyph outlines carry no fill of their own where the colour is black.
    return f"<style>@media (prefers-color-scheme: dark){{{''.join(rules)}}}</style>\n "


def look_of(number: int) -> tuple[str, str, Any]:
    """Colour, marker and line style of a series by its number; colour and marker together stand for one series only."""
    return _COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)], _LINES[number % len(_LINES)]


def label(text: str, length: int = 28) -> str:
    """A name as a label: one line, shortened in the middle."""
    text = one_line(text)
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def seconds_unit(largest: float) -> tuple[float, str]:
    """(factor, unit) that suits seconds of this size."""
    return (1e3, "ms") if largest < 10 else (1.0, "s")
