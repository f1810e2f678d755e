"""The report shows the shapes, threads and soak of each variant."""

from __future__ import annotations

import numpy as np

from greenlight.report.calls import calls_of
from greenlight.report.figures import draw_shapes
from tests.judgement.test_calls import good


def test_a_row_for_each_shape_and_a_sentence_for_threads_and_soak():
    (entry,) = calls_of(*[{("kronos", "upstream-default"): good()}] * 2)  # a probe's result and a call's
    assert [row.name for row in entry.shapes] == [
        "64 → 8, 1 windows, 16 samples",
        "96 → 8, 1 windows, 16 samples",
        "64 → 8, 4 windows, 16 samples",
    ]
    first = entry.shapes[0]
    assert (first.compiled, first.again, first.first, first.second, first.parted) == (2, 0, 9.0, 0.01, 0.0)
    assert 1e-8 < first.error < 1e-6
    threads, soak = entry.sentences
    assert (
        threads
        == "2 threads on one object: p50 15 ms beside each other, 10 ms alone; 1.23 times as many calls a second"
    )
    assert soak == "soak of 60 calls: p50 10 ms, slowest 10 ms, memory +0.0 MiB from first to last"


def test_damaged_results_give_what_can_be_read():
    damaged = {"shapes": [{"context": 8, "quantities": "x"}, None], "together": {"seconds_alone": "x"}, "soak": 3}
    (entry,) = calls_of(*[{("toto", "static-default"): damaged}] * 2)
    assert [row.name for row in entry.shapes] == ["8 → ?, ? windows, ? samples", "? → ?, ? windows, ? samples"]
    assert entry.shapes[0].error is None and entry.sentences == ()
    assert list(calls_of({("toto", "static-eager"): {}}, {})) == []


def test_the_picture_of_a_sweep(tmp_path):
    pair = (np.array([9.0, np.nan, 30.0]), np.array([0.01, 0.02, 0.01]))
    draw_shapes(tmp_path / "shapes.svg", ["a", "b", "c"], {"static-default": pair})
    assert (tmp_path / "shapes.svg").read_text().startswith("<?xml")
