"""What forecasts compute more coarsely than what is probed."""

from __future__ import annotations

import pytest
import torch

from greenlight.watch.precision import coarser_forecasts

ONES = torch.ones(3, 3)


class Made:
    """A forecaster of two functions."""

    def __init__(self, forecast, probe=lambda: ONES @ ONES):
        self._forecast, self._probe = forecast, probe

    def forecast(self, windows, samples, seed):
        return self._forecast()

    def probe(self, windows):
        return self._probe()


def under(kind):
    with torch.autocast("cpu", kind):
        return (ONES @ ONES).float()


def medium():
    torch.set_float32_matmul_precision("medium")
    try:
        return ONES @ ONES
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("forecast", "probe", "found"),
    [
        (lambda: ONES @ ONES, lambda: ONES @ ONES, ""),
        (lambda: ONES.double() @ ONES.double(), lambda: ONES @ ONES, ""),
        (lambda: under(torch.bfloat16), lambda: ONES @ ONES, "bfloat16 (aten.mm.default)"),
        (lambda: under(torch.float16), lambda: under(torch.bfloat16), "float16 (aten.mm.default)"),
        (lambda: under(torch.bfloat16), lambda: under(torch.bfloat16), ""),
        (lambda: torch.rand(3, dtype=torch.float16), lambda: ONES @ ONES, "float16 (aten.rand.default)"),
        (lambda: ONES.half().float(), lambda: ONES @ ONES, "float16 (aten._to_copy.default)"),
        (medium, lambda: ONES @ ONES, "medium precision of matrix products (aten.mm.default)"),
    ],
)
def test_formats_of_fewer_digits_are_seen(forecast, probe, found):
    assert coarser_forecasts(Made(forecast, probe), [], 1, 0) == found
