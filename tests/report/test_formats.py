"""Figures in sentences."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from greenlight.report.formats import mae_cell, mae_text
from greenlight.report.variants import Estimate


@pytest.mark.parametrize(
    ("bounds", "end", "cell"),
    [((1.03, 1.22), ", 1.12 [1.03, 1.22] times that of repeating the last price, which is better",
      " naive is better"),
     ((0.99, 1.22), " (good), 1.12 [0.990, 1.22] times that of repeating the last price", " good")],
)  # fmt: skip
def test_an_error_is_said_to_be_worse_than_no_models_where_that_is_shown(bounds, end, cell):
    row = SimpleNamespace(mae_percent=Estimate(5.98), band="good", over_naive=Estimate(1.12, *bounds))
    assert mae_text(row) == f"5.98% of the mean price{end}"
    assert mae_cell(row) == f"5.98%{cell}"
