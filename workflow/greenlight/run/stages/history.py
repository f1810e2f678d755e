"""history: archived runs and since when figures differ; results/history.html, and history.md, which is printed."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from greenlight.errors import shown
from greenlight.files import write_text
from greenlight.layout import Layout
from greenlight.report.figures import draw_trend
from greenlight.report.history import FOLLOWED, History, read_history
from greenlight.report.history_page import history_html
from greenlight.report.render import history_markdown


def history(layout: Layout) -> str:
    """Write history.html, history.md and its figures; return the text."""
    found = read_history(layout.archive)
    text = history_markdown(found, _draw(layout, found) if found.runs > 1 else [])
    write_text(layout.history, text)
    write_text(layout.history_page, history_html(found, layout.archive.relative_to(layout.root).as_posix()))
    return text


def _draw(layout: Layout, found: History) -> list[tuple[str, str]]:
    """Draw each trend over all runs; (path relative to the results folder, caption)."""
    drawn = []
    for name, title in FOLLOWED.items():
        series = {}
        for model in found.models:
            values = {line.run.folder: line.figures[name] for line in found.lines(model)}
            known = [values.get(run.folder) for run in found.every]
            series[model] = np.array([np.nan if value is None else value for value in known])
        if any(np.isfinite(values).any() for values in series.values()):
            path = layout.history_figures / f"{name.replace('_', '-')}.svg"
            draw_trend(path, [run.when for run in found.every], series, title)
            drawn.append((path.relative_to(layout.root).as_posix(), f"{title}, by archived run"))
    return drawn


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    print(shown(history(Layout(parser.parse_args().results))))


if __name__ == "__main__":
    main()
