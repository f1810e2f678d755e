"""Estimates stand in the report with their bounds, how many values they rest on, and how many would decide."""

from __future__ import annotations

from greenlight.run.stages.report import report
from tests.judgement.evidence_builder import KRONOS, TOTO, Effects, Run


def rows_of(text, check):
    return [line for line in text.splitlines() if line.startswith("|") and f"| {check} |" in line]


def test_a_comparison_that_decides_nothing_says_what_would(make_results):
    noisy = {("kronos", "upstream-default"): Effects(latency=1.0, jitter=0.2)}
    layout = make_results(Run(models={"kronos": KRONOS}, effects=noisy))
    report(layout, {}, None)
    text = layout.report.read_text()

    (row,) = rows_of(text, "not-slower")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "`upstream-default`" and cells[2] == "`upstream-eager`" and cells[-1] == "inconclusive"
    assert " to " in cells[4] and cells[5] == "40 pairs" and int(cells[6]) > 40
    assert "6 series" in rows_of(text, "mae-not-worse")[0]
    assert "<td>not-slower</td>" in layout.report_page.read_text()


def test_a_comparison_of_several_seeds_says_how_many(make_results):
    flipped = {f"SYM{number}": (0.85, 1.15)[number % 2] for number in range(4)}
    effects = Effects(latency=0.7, flipped=flipped, replicated=(4, 0.0, 0.2))
    layout = make_results(Run(models={"kronos": KRONOS}, effects={("kronos", "upstream-default"): effects}))
    report(layout, {}, None)

    cells = [cell.strip() for cell in rows_of(layout.report.read_text(), "mae-not-worse")[0].strip("|").split("|")]
    assert cells[5] == "6 series, 8 seeds" and int(cells[6]) > 6 and cells[-1] == "inconclusive"
    assert "mean of 8 seeds at look 4 of 5" in layout.verdict.read_text()


def test_what_is_inconclusive_is_told_even_where_it_stops_nothing(make_results):
    models = {"toto": {name: TOTO[name] for name in ("upstream-eager", "static-eager")}}
    uneven = {f"SYM{number}": 0.5 + 0.25 * number for number in range(6)}
    layout = make_results(Run(models=models, effects={("toto", "static-eager"): Effects(latency=0.7, error=uneven)}))
    report(layout, {}, None)

    section = layout.report.read_text().partition("### Inconclusive, and no reason to stop a variant")[2]
    assert "mae-against-reference" in section.partition("###")[0]
