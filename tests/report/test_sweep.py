"""The sweep: figures of a size, the batch at which the decision changes, and the page in a browser."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.report.sweep import Sweep, decision, draw, fastest_by_batch, point_of, sweep_html, sweep_markdown
from tests.report.browser import open_page


def trials(seconds, windows, noise=0.01, processes=2, calls=10):
    """Trials of a size whose calls take some seconds."""
    rng = np.random.default_rng(round(1e6 * seconds) + windows)
    return [
        {
            "kind": "ok",
            "message": "",
            "sizes": {"timed_windows": windows},
            "result": {
                "seconds": (seconds * np.exp(noise * rng.standard_normal(calls))).tolist(),
                "first_call_seconds": 3.0 + process,
                "peak_memory_bytes": 2**30 + process,
                "device_peak_bytes": None,
            },
        }
        for process in range(processes)
    ]


def point(variant, batch, seconds, axis="windows", **more):
    return point_of("toto", variant, axis, batch, batch, trials(seconds, batch, **more), 0.001)


def crossing():
    """Compiled code has less to do in each call and more for each window: it is faster up to 4 windows, then slower."""
    points = []
    for batch in (1, 2, 4, 8, 16):
        points += [
            point("upstream-eager", batch, 0.1 + 0.01 * batch),
            point("static-default", batch, 0.005 + 0.025 * batch),
        ]
    return points


def test_a_size_has_its_median_throughput_cost_and_the_largest_memory():
    found = point("static-default", 4, 0.02)
    assert found.seconds.estimate == pytest.approx(0.02, rel=0.01)
    assert found.seconds.lower < 0.02 < found.seconds.upper
    assert found.throughput == pytest.approx(200, rel=0.01)
    assert found.cost(3.6) == pytest.approx(1000 / 200 / 3600 * 3.6, rel=0.01) and found.cost(None) is None
    assert (found.first_call, found.memory, found.problem) == (4.0, 2**30 + 1, "")


def test_bounds_hold_each_process():
    first, second = trials(0.02, 1), trials(0.03, 1)
    found = point_of("toto", "static", "windows", 1, 1, [first[0], second[0]], 0.01)
    assert found.seconds.lower <= 0.0201 and found.seconds.upper >= 0.0299


def test_a_process_that_failed_or_took_fewer_windows_leaves_no_figure():
    own = trials(0.02, 8)
    own[1] = {"kind": "out-of-memory", "message": "no room", "sizes": {}, "result": None}
    found = point_of("toto", "static", "windows", 8, 8, own, 0.01)
    assert found.seconds is None and found.throughput is None and found.problem == "out-of-memory: no room"
    found = point_of("toto", "static", "windows", 16, 16, trials(0.02, 8), 0.01)
    assert found.seconds is None and found.problem == "memory was enough for 8 windows in a call"


def test_the_batch_at_which_the_decision_changes():
    fastest = fastest_by_batch(crossing())
    assert [own.shown for own in fastest] == ["static-default"] * 3 + ["upstream-eager"] * 2
    assert decision(fastest) == (
        "the fastest variant changes at 8 windows in a call: from 1 to 4 windows in a call static-default; "
        "from 8 to 16 windows in a call upstream-eager"
    )


def test_what_is_not_told_apart_decides_nothing():
    points = [
        point(name, batch, 0.02 * factor, noise=0.2)
        for batch in (1, 2)
        for name, factor in (("a-eager", 1), ("b-eager", 1.01))
    ]
    fastest = fastest_by_batch(points)
    assert all(own.shown is None for own in fastest)
    assert decision(fastest) == (
        "the fastest variant is not shown to change with the batch: "
        "from 1 to 2 windows in a call not told apart: a-eager, b-eager"
    )
    assert decision([]) == "no batch was measured"


def test_the_page_in_a_browser(tmp_path):
    points = (*crossing(), *(point("static-default", size, 0.01 * size, axis="horizons") for size in (8, 16)))
    base = {"windows": 2, "contexts": 96, "horizons": 16, "samples": 16}
    sweep = Sweep(
        "2026-01-01", "abc", "a <b>CPU</b>", base, 1.5, 2, 10, points, (("toto static-eager", "its verdict is fail"),)
    )
    figures = draw(sweep, tmp_path)
    assert set(figures) == {("toto", "windows"), ("toto", "horizons")}
    file = tmp_path / "sweep.html"
    file.write_text(sweep_html(sweep, figures))
    text = sweep_markdown(sweep, {key: path.name for key, path in figures.items()})
    assert "changes at 8 windows in a call" in text and "| toto | `static-default` | windows in a call | 8 |" in text
    assert "<b>CPU" not in file.read_text() and "<b>CPU" not in text
    with open_page(file) as page:
        assert page.errors == [] and all(url.startswith(("file:", "data:")) for url in page.requests)
        cells = "[...document.querySelectorAll('#sizes tbody tr')].map(row => Number(row.cells[6].dataset.value))"
        page.value("document.querySelectorAll('#sizes th button')[6].focus()")
        page.press("Enter")
        found = page.value(cells)
        assert len(found) == len(points) and found == sorted(found)
        for width in (1200, 360):
            page.resize(width, 800)
            assert page.value("document.documentElement.scrollWidth") <= width
