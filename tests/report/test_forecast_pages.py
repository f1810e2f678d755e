"""Forecasts of all variants: in the report, and a page a symbol, opened in a browser."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest

from greenlight.report.facts import gather
from greenlight.report.forecasts import SCALE, report_charts, symbol_charts
from greenlight.report.reading import Reader
from tests.report.browser import open_page

SHOWN = "document.activeElement.querySelector('output').textContent"


def make_pages(layout, *symbols):
    """Run the target on a results folder; the completed process."""
    config = {"models": {"kronos": {}}, "results_folder": str(layout.root)}
    config |= {"symbols": list(symbols)} if symbols else {}
    command = [sys.executable, "-m", "greenlight.run.stages.forecast", "--config", json.dumps(config)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def paged(plain):
    """The page of one symbol of the plain run."""
    done = make_pages(plain, "SYM2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(plain.forecast_page("SYM2"))
    return plain


def forecasts_of(layout, variant, symbol):
    return pyarrow.parquet.ParquetFile(layout.forecast("kronos", variant, symbol)).read().to_pandas()


def test_what_is_drawn_is_what_the_forecast_files_have(paged):
    """Every quantile of every variant and window, to the resolution of a chart."""
    (model,) = gather(paged).models
    charts = symbol_charts(Reader(paged.root), paged, model, "SYM2")
    assert [name for name, _ in charts.variants] == ["upstream-eager", "upstream-default"]
    cases = json.loads(charts.packed)
    assert [case["w"] for case in cases] == [4, 3, 2, 1, 0] and charts.left_out == 0
    for number, (name, _) in enumerate(charts.variants):
        table = forecasts_of(paged, name, "SYM2")
        for case in cases:
            own = table[table["window"] == case["w"]].sort_values("step")
            step = (case["hi"] - case["lo"]) / SCALE
            lines = zip((case["a"], *case["v"][number]), ("actual", "q10", "q50", "q90"), strict=True)
            for drawn, column in lines:
                np.testing.assert_allclose(case["lo"] + step * np.array(drawn), own[column], atol=0.51 * step)
            times = np.cumsum(case["t"]).astype("datetime64[s]")
            assert (times == own["timestamp"].to_numpy().astype("datetime64[s]")).all()


def test_the_report_holds_what_fits_and_says_what_it_left_out(plain):
    (model,) = gather(plain).models
    reader = Reader(plain.root)
    every = report_charts(reader, plain, model)
    assert sorted(every.labels) == [f"SYM{number}" for number in range(6)] and every.left_out == 0
    some = report_charts(reader, plain, model, most=len(every.packed) // 2)
    assert 0 < len(some.labels) < 6 and some.left_out == 6 - len(some.labels)
    assert len(json.loads(some.packed)) == len(some.labels) and len(some.packed) <= len(every.packed) // 2 + 9
    assert report_charts(reader, plain, model, most=0).labels == ()


def test_a_forecast_that_is_missing_or_not_a_number_is_said_not_invented(make_results):
    layout = make_results()
    layout.forecast("kronos", "upstream-default", "SYM1").unlink()
    path = layout.forecast("kronos", "upstream-default", "SYM2")
    table = pyarrow.parquet.ParquetFile(path).read()
    values = table.column("q50").to_numpy().copy()
    values[:3] = np.nan
    where = table.column_names.index("q50")
    pyarrow.parquet.write_table(table.set_column(where, "q50", pyarrow.array(values)), path)
    assert make_pages(layout).returncode == 0
    with open_page(layout.forecast_page("SYM1")) as page:
        assert page.errors == []
        outputs = page.value("[...document.querySelectorAll('output')].map(o => o.textContent)")
        assert outputs == ["", "no forecast"]
    (model,) = gather(layout).models
    case = json.loads(symbol_charts(Reader(layout.root), layout, model, "SYM2").packed)[-1]
    assert case["w"] == 0 and case["v"][1][1][:3] == [None] * 3 and None not in case["v"][0][1]
    with open_page(layout.forecast_page("SYM2")) as page:
        page.value(
            "{ const s = document.querySelector('select'); s.value = '4'; s.dispatchEvent(new Event('change')) }"
        )
        page.value("document.querySelectorAll('.chart')[1].focus()")
        page.press("Home")
        assert "50% none" in page.value(SHOWN) and page.errors == []


def check_page(page):
    """What holds of both pages: nothing fetched, no error, no wider than the screen."""
    assert page.errors == [] and all(url.startswith(("file:", "data:")) for url in page.requests)
    for width in (1200, 360):
        page.resize(width, 800)
        assert page.value("document.documentElement.scrollWidth") <= width


def test_a_page_in_a_browser_by_keyboard(paged):
    with open_page(paged.forecast_page("SYM2")) as page:
        check_page(page)
        drawn = page.value(
            "[...document.querySelectorAll('.chart svg')].map(s => s.querySelector('.band').getBBox().width)"
        )
        assert len(drawn) == 2 and min(drawn) > 10
        page.value("document.querySelector('select').focus()")
        page.press("Tab")
        assert page.value("document.activeElement.className") == "chart forecast"
        assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
        page.press("ArrowRight")
        first = page.value(SHOWN)
        row = forecasts_of(paged, "upstream-eager", "SYM2").query("window == 4 and step == 1").iloc[0]
        told = dict(zip(("outcome", "10%", "50%", "90%"), re.findall(r"(?:outcome|%) ([\d.,]+\d)", first), strict=True))
        assert first.startswith(f"step 1 of 8, {str(row['timestamp'])[:10]}: ")
        for name, column in {"outcome": "actual", "10%": "q10", "50%": "q50", "90%": "q90"}.items():
            assert float(told[name].replace(",", "")) == pytest.approx(row[column], rel=1e-3)
        page.press("End")
        assert page.value(SHOWN).startswith("step 8 of 8")
        page.press("ArrowRight")
        assert page.value(SHOWN).startswith("step 8 of 8")
        before = page.value("document.querySelector('.chart .median').getAttribute('d')")
        page.value(
            "{ const s = document.querySelector('select'); s.value = '1'; s.dispatchEvent(new Event('change')) }"
        )
        assert page.value("document.querySelector('.chart .median').getAttribute('d')") != before
        assert page.value("document.querySelectorAll('thead th button').length") == 6


def test_lines_are_told_apart_without_colour(paged):
    """Dashes, dots and widths differ, whatever the colours."""
    with open_page(paged.forecast_page("SYM2")) as page:
        looks = page.value(
            "['outcome', 'median', 'other'].map(name => { const s = getComputedStyle(document.querySelector("
            "`.chart.forecast .${name}`)); return s.strokeDasharray })"
        )
        assert len(set(looks)) == 3


def test_the_report_in_a_browser(plain):
    with open_page(plain.report_page) as page:
        check_page(page)
        assert page.value("document.querySelectorAll('.chart.forecast').length") == 2
        assert page.value("document.querySelectorAll('#forecasts-kronos option').length") == 6
        assert page.value("[...document.querySelectorAll('.chart .band')].every(p => p.getAttribute('d').length > 50)")


def test_a_symbol_that_was_not_forecast_is_one_message(plain, tmp_path):
    done = make_pages(plain, "SYM22")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "has no forecasts of 'SYM22' (did you mean 'SYM2'?)" in done.stderr
    plain.root.joinpath("last-error.txt").unlink(missing_ok=True)
    empty = type(plain)(tmp_path)
    assert "run `snakemake --cores 1` first" in make_pages(empty).stderr


def test_names_and_data_are_no_markup(paged):
    page = paged.forecast_page("SYM2").read_text()
    (attribute,) = re.findall(r'data-cases="([^"]+)"', page)
    assert len(json.loads(html.unescape(attribute))) == 5 and "<" not in attribute
