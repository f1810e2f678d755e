"""A variant called alone, many times, beside work of the same length: how often it is slow, and how often the machine.

Pairs cost the reference's time, so that they are too few to bound the share of slow calls. Here each call of the
variant is followed by a yardstick, matrix products that take about as long: what interrupts the one interrupts the
other as often.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from greenlight.measures.latency import timed_call
from greenlight.statistics.sequential import slow_of

_SIZE = 256


def steady_calls(
    variant: Callable[[int], Any],
    *,
    calls: int,
    seconds: float,
    device: str,
    look_at: float = math.inf,
    slow_call: float = math.inf,
    after_call: Callable[[Any], None] = lambda output: None,
) -> dict[str, list[float]]:
    """{"variant_seconds", "yardstick_seconds"} of calls in turn.

    Args:
        variant: gets the number of its call; returns a plain array, as for `interleaved_pairs`.
        seconds: what a call takes, about; the yardstick is made as long.
        look_at, slow_call: after so many calls it ends where none was slow, which is above so many medians.
        after_call: gets what the variant returned; outside the timed part.
    """
    found: dict[str, list[float]] = {"variant_seconds": [], "yardstick_seconds": []}
    if not calls:
        return found
    yardstick = Yardstick(device, seconds)
    for number in range(calls):
        taken, output = timed_call(variant, number)
        found["variant_seconds"].append(taken)
        after_call(output)
        found["yardstick_seconds"].append(timed_call(yardstick, number)[0])
        if number + 1 == look_at and not slow_of(slow_call, found["variant_seconds"])[0]:
            break
    return found


class Yardstick:
    """Matrix products of a fixed size, so many (`products`) that they take about as long as was asked for."""

    def __init__(self, device: str, seconds: float) -> None:
        self._matrix = torch.full((_SIZE, _SIZE), 1 / _SIZE, device=device)
        self.products = 1
        # The median: a single interruption would make it too short.
        each = float(np.median([timed_call(self, number)[0] for number in range(9)]))
        self.products = max(1, round(seconds / each))

    def __call__(self, number: int) -> np.ndarray:
        """All products, one after the other."""
        product = self._matrix
        for _ in range(self.products):
            product = product @ self._matrix
        found: np.ndarray = product[0].cpu().numpy()
        return found
