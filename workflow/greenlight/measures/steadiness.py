"""A variant called alone, many times, beside work of the same length: how often it is slow, and how often the machine.

Pairs cost the reference's time, so that they are too few to bound the share of slow calls. Where none is slow among
enough calls in a row, that bounds it. Else beside each call of the variant stands a yardstick, work that takes about as
long: what interrupts the one interrupts the other as often. Half of it stays in the caches of a processor, as a layer's
products do, and half reads what only the cache holds that processors share, as weights and paths are: others at work
there make a call slow that no one interrupts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from greenlight.measures.latency import timed_call
from greenlight.statistics.sequential import slow_of

_MEDIAN_OF = 9  # calls, at least, before one is held to their median
_SIZE = 256
_MEMORY = 8 << 20  # bytes: more than a processor's own caches, less than what processors share


def calls_until_slow(
    variant: Callable[[int], Any],
    *,
    calls: int,
    slow_call: float,
    after_call: Callable[[Any], None] = lambda output: None,
) -> dict[str, list[float]]:
    """As `steady_calls` without a yardstick, which none needs that has no slow call; it ends at the first slow one.

    Args:
        slow_call: a call is slow above so many medians.
    """
    found: list[float] = []
    for number in range(calls):
        taken, output = timed_call(variant, number)
        found.append(taken)
        after_call(output)
        if number + 1 >= _MEDIAN_OF and slow_of(slow_call, found)[0]:
            break
    return {"variant_seconds": found, "yardstick_seconds": []}


def steady_calls(
    variant: Callable[[int], Any],
    *,
    calls: int,
    seconds: float,
    device: str,
    seed: int = 0,
    after_call: Callable[[Any], None] = lambda output: None,
) -> dict[str, list[float]]:
    """{"variant_seconds", "yardstick_seconds"} of calls beside each other, either of the two first, at random.

    In a fixed order what interrupts a machine regularly may always hit the same one.

    Args:
        variant: gets the number of its call; returns a plain array, as for `interleaved_pairs`.
        seconds: what a call takes, about; the yardstick is made as long.
        after_call: gets what the variant returned; outside the timed part.
    """
    found: dict[str, list[float]] = {"variant_seconds": [], "yardstick_seconds": []}
    if not calls:
        return found
    arms: dict[str, Callable[[int], Any]] = {
        "variant_seconds": variant,
        "yardstick_seconds": Yardstick(device, seconds),
    }
    random = np.random.default_rng(seed)
    for number in range(calls):
        for name in random.permutation(list(arms)):
            taken, output = timed_call(arms[name], number)
            found[name].append(taken)
            if name == "variant_seconds":
                after_call(output)
    return found


class Yardstick:
    """Matrix products of a fixed size and sums over a fixed piece of memory, of each so many (`products`, `sums`) that
    they take half of the time that was asked for; at least one product, however short that is.
    """

    def __init__(self, device: str, seconds: float) -> None:
        self._matrix = torch.full((_SIZE, _SIZE), 1 / _SIZE, device=device)
        self._memory = torch.zeros(_MEMORY // 4, device=device)
        product, total = self._take(1, 0), self._take(0, 1)
        # Again in full: what follows on itself takes another time than what is done once.
        taken = self._take(*self._filled(seconds, product, total))
        self.products, self.sums = self._filled(seconds * seconds / taken, product, total)

    @staticmethod
    def _filled(seconds: float, product: float, total: float) -> tuple[int, int]:
        return max(1, round(seconds / 2 / product)), round(seconds / 2 / total)

    def _take(self, products: int, sums: int) -> float:
        """Seconds that so many take: the median, for a single interruption would make it too long."""
        self.products, self.sums = products, sums
        return float(np.median([timed_call(self, number)[0] for number in range(5)]))

    def __call__(self, number: int) -> np.ndarray:
        """All products and all sums, one after the other."""
        product, total = self._matrix, self._matrix[0]
        for _ in range(self.products):
            product = product @ self._matrix
        for _ in range(self.sums):
            total = total + self._memory.sum()
        found: np.ndarray = (product[0] + total).cpu().numpy()
        return found
