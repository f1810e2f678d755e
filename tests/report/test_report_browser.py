"""The report in a browser: tables sort, links lead to a check, and a phone can show it."""

from __future__ import annotations

import re

from tests.report.browser import open_page

CELLS = "[...document.querySelectorAll('#symbols-kronos tbody tr')].map(row => row.cells[{}].textContent)"


def test_tables_sort_by_number_and_by_word_with_the_keyboard(plain):
    with open_page(plain.report_page) as page:
        assert page.errors == [] and all(url.startswith(("file:", "data:")) for url in page.requests)
        buttons = page.value("document.querySelectorAll('thead th button').length")
        assert buttons == page.value("document.querySelectorAll('thead th').length") > 40
        for column, key in ((3, float), (0, str)):
            page.value(f"document.querySelectorAll('#symbols-kronos th button')[{column}].focus()")
            page.press("Enter")
            rising = page.value(CELLS.format(column))
            page.press("Enter")
            assert rising == sorted(rising, key=key) and page.value(CELLS.format(column)) == rising[::-1]


def test_a_link_to_a_check_unfolds_and_shows_it(plain):
    checks = re.findall(r'<tr id="(check-[^"]+)"', plain.report_page.read_text())
    assert len(checks) == len(set(checks)) > 50 and "check-kronos-upstream-default-not-slower" in checks
    with open_page(plain.report_page) as page:
        shown = "document.querySelector('tr:target')?.getClientRects().length"
        page.value("location.hash = 'check-kronos-upstream-default-not-slower'")
        page.value("new Promise(done => setTimeout(done, 100))")
        assert page.value(shown) == 1
        assert page.value("document.querySelector('tr:target').cells[1].textContent") == "not-slower"


def test_the_page_is_no_wider_than_a_phone(plain):
    with open_page(plain.report_page, 360, 780) as page:
        assert page.value("document.documentElement.scrollWidth") <= 360
