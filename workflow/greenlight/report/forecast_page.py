"""The page of one symbol: all windows, all models, all variants."""

from __future__ import annotations

from greenlight.layout import Layout
from greenlight.report.facts import Facts
from greenlight.report.forecasts import symbol_charts
from greenlight.report.reading import Reader
from greenlight.report.render import html_page
from greenlight.report.symbols import SymbolRow, symbol_rows

Rows = dict[tuple[str, str], list[tuple[str, SymbolRow]]]


def symbols_with_forecasts(layout: Layout) -> list[str]:
    """Symbols of which any variant left forecasts, by name."""
    found = (layout.root / "forecasts").glob("model=*/variant=*/symbol=*/part-0.parquet")
    return sorted({path.parent.name.removeprefix("symbol=") for path in found})


def rows_of_symbols(facts: Facts) -> Rows:
    """Mean scores by model and symbol, of each variant that has some."""
    found: Rows = {}
    for model in facts.models:
        for variant, scores in model.scores.items():
            for row in symbol_rows(scores, None):
                found.setdefault((model.name, row.symbol), []).append((variant, row))
    return found


def forecast_html(layout: Layout, facts: Facts, rows: Rows, symbol: str) -> str:
    """The page as one HTML file that fetches nothing.

    Args:
        rows: as `rows_of_symbols` gives them.
    """
    reader = Reader(layout.root)
    models = [
        (symbol_charts(reader, layout, model, symbol), rows.get((model.name, symbol), [])) for model in facts.models
    ]
    context = {"facts": facts, "verdict": facts.verdict, "problems": reader.problems, "models": models}
    return html_page("report-forecasts.html.jinja", ["report", "report-forecasts"], symbol=symbol, **context)
