"""The history of archived runs: since when figures differ, as text and as a page that is opened in a browser."""

from __future__ import annotations

import re

import numpy as np
import pytest

from greenlight.layout import Layout
from greenlight.report.history import read_history
from greenlight.run.stages.history import history
from tests.report.archived import archive_figures, noisy
from tests.report.browser import open_page

VARIANTS = ("upstream-eager", "static-default")


def record(layout, count, machines=("machine-a",), change=None, seed=0, share=0.02):
    """Archive `count` runs; `change(number)` gives what differs in the last variant of a run."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        figures = {name: noisy(rng, share) for name in VARIANTS}
        factors = change(number) if change else {}
        figures[VARIANTS[-1]] = noisy(rng, share, **factors)
        archive_figures(layout.archive, number, figures, machines[number % len(machines)])
    return layout


def slower_since_30_and_larger_mae_since_40(number):
    """8% slower from run 30 on, MAE 2% larger from run 40 on."""
    speed = {"speedup": 1 / 1.08, "median_seconds": 1.08} if number >= 30 else {}
    return speed | ({"mae_percent": 1.02} if number >= 40 else {})


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """60 runs in which two figures shift, and their history."""
    layout = Layout(tmp_path_factory.mktemp("shifted"))
    record(layout, 60, change=slower_since_30_and_larger_mae_since_40)
    return layout, history(layout), layout.history_page.read_text()


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """300 runs on two machines in turn, slower on both since the 200th."""
    layout = Layout(tmp_path_factory.mktemp("long"))
    slow = {"speedup": 1 / 1.08, "median_seconds": 1.08}
    record(layout, 300, ("machine-a", "machine-b"), lambda number: slow if number >= 200 else {})
    history(layout)
    return layout


def test_planted_shifts_are_found_at_the_commit_where_they_begin(shifted):
    layout, text, _ = shifted
    part = text.partition("## Since when")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("- since")]
    assert len(lines) == 3
    (mae,) = [line for line in lines if "MAE" in line]
    assert mae.startswith(
        "- since 2026-02-10, commit `c40`: kronos `static-default` 1.02 times larger errors (MAE 1.50% to 1.53%)"
    )
    assert mae.endswith("the run before: commit `c39`")
    (slower,) = [line for line in lines if "times slower" in line]
    commit = int(
        re.search(r"commit `c(\d+)`: kronos `static-default` 1\.\d\d times slower \(speedup \d\.\d+ to 3\.", slower)[1]
    )
    assert abs(commit - 30) <= 1
    steps = read_history(layout.archive).steps
    assert {step.series.variant for step in steps} == {"static-default"} and all(step.worse for step in steps)


def test_a_flat_history_has_no_step(tmp_path):
    """Twenty histories of ten series each; at 5 in 100 pages, four or more have a step in one of 60 cases."""
    pages = 0
    for seed in range(20):
        layout = record(Layout(tmp_path / str(seed)), 24, seed=seed)
        pages += bool(read_history(layout.archive).steps)
    assert pages <= 3
    layout = record(Layout(tmp_path / "text"), 12, seed=100)
    assert "No figure of any variant is shown to have moved" in history(layout)
    assert "to have moved to another level" in layout.history_page.read_text()


def test_machines_are_not_compared_with_each_other(tmp_path):
    """A machine that is twice as fast, in turn with the other, and alone since the middle, is no change."""
    layout, rng = Layout(tmp_path), np.random.default_rng(0)
    for number in range(40):
        fast = number >= 20 or number % 2
        figures = {name: noisy(rng, median_seconds=0.5 if fast else 1.0) for name in VARIANTS}
        archive_figures(layout.archive, number, figures, "fast" if fast else "slow")
    assert read_history(layout.archive).steps == []


def test_what_changed_with_a_step_is_named(tmp_path):
    layout, rng = Layout(tmp_path), np.random.default_rng(0)
    for number in range(10):
        figures = {"upstream-eager": noisy(rng, mae_percent=1.1 if number >= 6 else 1.0)}
        weights = {"kronos": {"reference": "upstream-eager", "weights_hash": "new" if number >= 6 else "old"}}
        archive_figures(layout.archive, number, figures, models=weights)
    text = history(layout)
    assert (
        "1.10 times larger errors (MAE 1.50% to 1.65%); changed with it: weights; the run before: commit `c5`" in text
    )
    assert "<td>weights</td>" in layout.history_page.read_text()


def test_every_link_of_the_page_leads_somewhere_and_steps_have_both_reports(shifted):
    layout, _, page = shifted
    ids = set(re.findall(r'id="([^"]+)"', page))
    links = re.findall(r'href="([^"]+)"', page)
    assert sum(link.startswith("#step-") for link in links) == 3
    for link in links:
        assert link[1:] in ids if link.startswith("#") else (layout.root / link).is_file(), link
    rows = re.findall(r'<tr id="step-.*?</tr>', page, re.S)
    assert len(rows) == 3
    for row in rows:
        before, after = re.findall(r'href="archive/\w+-c(\d+)-pass/report.html"', row)
        assert int(after) == int(before) + 1
    assert "http" not in page.replace("http-equiv", "") and "<link" not in page and "<img" not in page


def test_names_are_no_markup(tmp_path):
    layout, name = Layout(tmp_path), '<b onclick="x">'
    for number in range(3):
        archive_figures(layout.archive, number, {name: noisy(np.random.default_rng(number))}, machine="</script><i>")
    history(layout)
    page = layout.history_page.read_text()
    assert "<b onclick" not in page and "</script><i>" not in page and "&lt;/script&gt;&lt;i&gt;" in page


def shown(page, selector):
    return page.value(f"[...document.querySelectorAll({selector!r})].filter(e => e.getClientRects().length).length")


def check_page(page, runs):
    """What holds in a browser whatever the history: nothing fetched, no error, no wider than the screen."""
    assert page.errors == [] and all(url.startswith("file:") for url in page.requests)
    assert shown(page, "#run-table tbody tr") == runs
    for width in (1200, 360):
        page.resize(width, 800)
        assert page.value("document.documentElement.scrollWidth") <= width


def test_three_runs_in_a_browser(tmp_path):
    layout = record(Layout(tmp_path), 3)
    history(layout)
    with open_page(layout.history_page) as page:
        check_page(page, 3)
        assert page.value("document.getElementById('machine')") is None
        assert shown(page, ".chart") == 2 * 5


def test_300_runs_in_a_browser_with_filter_search_sorting_and_keyboard(long):
    with open_page(long.history_page) as page:
        check_page(page, 300)
        page.resize(1200, 900)
        charts, steps = shown(page, ".chart"), shown(page, "#step-table tbody tr")
        assert charts == 2 * 2 * 5 and steps >= 4

        change = "machine.value = 'machine-b'; machine.dispatchEvent(new Event('change'))"
        page.value(f"{{ const machine = document.getElementById('machine'); {change} }}")
        assert shown(page, ".chart") == charts / 2 and 0 < shown(page, "#step-table tbody tr") < steps
        assert shown(page, "#run-table tbody tr") == 150

        first = "document.querySelector('#run-table tbody tr').cells[1].textContent"
        assert page.value(first) == "c299"
        page.value("document.querySelector('#run-table th button').focus()")
        page.press("Enter")
        assert page.value(first) == "c0"
        assert page.value("document.querySelector('#run-table th').getAttribute('aria-sort')") == "ascending"

        page.value("document.querySelectorAll('.chart')[12].focus()")
        told = "document.activeElement.querySelector('output').textContent"
        page.press("Home")
        assert page.value(told).startswith("2026-01-02 00:00, commit c1: ")
        page.press("ArrowRight")
        assert page.value(told).startswith("2026-01-04 00:00, commit c3: ")

        page.value("document.querySelector('section:not(.elsewhere) .chart a[href^=\"#step-\"]').focus()")
        page.press("Enter")
        assert page.value("location.hash").startswith("#step-") and shown(page, "tr:target") == 1


def test_everything_can_be_reached_with_the_keyboard(shifted):
    """Tab goes through filter, sorting, reports and charts; each shows where the focus is."""
    layout, _, _ = shifted
    with open_page(layout.history_page) as page:
        seen = []
        for _ in range(40):
            page.press("Tab")
            seen.append(page.value("document.activeElement.tagName + '.' + document.activeElement.className"))
        assert {"A.", "BUTTON.", "FIGURE.chart"} <= set(seen)
        assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
