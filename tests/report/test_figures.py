"""Figures that many variants stand in."""

from __future__ import annotations

import re

import numpy as np

from greenlight.report.drawing import FAINT
from greenlight.report.figures import draw_mae_ratios


def test_no_two_of_many_variants_look_alike(tmp_path):
    """Twenty comparisons: each must have a colour and a marker that no other has together."""
    names = [f"variant {number}" for number in range(20)]
    draw_mae_ratios(tmp_path / "ratios.svg", ["A", "B"], {name: np.array([1.0, 1.001]) for name in names})

    text = (tmp_path / "ratios.svg").read_text()
    # A plotted point uses the path of its marker, in its colour; so do the ticks of the axes.
    looks = set(re.findall(r'<use xlink:href="#(m\w+)"[^>]*style="fill: (#\w+)', text))
    assert len({look for look in looks if look[1] != FAINT}) == len(names)
