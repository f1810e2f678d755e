"""forecast: a page a symbol with the forecasts of all variants beside the outcome, from the last run's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greenlight.errors import UserError, nearest
from greenlight.files import write_text
from greenlight.layout import Layout
from greenlight.report.facts import gather
from greenlight.report.forecast_page import forecast_html, rows_of_symbols, symbols_with_forecasts
from greenlight.run.command import run_target
from greenlight.settings import load_settings


def forecast(config: dict[str, Any], files: list[str]) -> str:
    """Make the pages of the configured symbols; where they are."""
    settings = load_settings(config, files)
    layout = Layout(Path(settings.results_folder))
    there = symbols_with_forecasts(layout)
    wanted = there if settings.symbols == "all" else list(settings.symbols)
    if not there:
        raise UserError(f"results_folder: {layout.root} has no forecasts; run `snakemake --cores 1` first")
    for symbol in wanted:
        if symbol not in there:
            raise UserError(
                f"symbols: {layout.root} has no forecasts of {symbol!r}{nearest(symbol, there)}; expected a symbol of "
                "the last run. Name one, or run `snakemake --cores 1` with it first"
            )
    facts = gather(layout)
    rows = rows_of_symbols(facts)
    for symbol in wanted:
        write_text(layout.forecast_page(symbol), forecast_html(layout, facts, rows, symbol))
    shown = [str(layout.forecast_page(symbol)) for symbol in wanted[:10]]
    more = [f"and {len(wanted) - 10} more beside them"] if len(wanted) > 10 else []
    return "\n".join([*shown, *more])


if __name__ == "__main__":
    run_target(__doc__, forecast, beside_a_run=True)
