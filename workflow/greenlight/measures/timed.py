"""What timed calls returned: what the reference returned beside them, and each an answer of its own.

A wrong answer can be had at any speed. One that is right in every other stage may be wrong in a timed call: remembered
from an earlier call, or given by code that takes over after some calls.
"""

from __future__ import annotations

import hashlib

import numpy as np

from greenlight.measures.paths import compare_paths

# Share of a call's paths that draws near a tie never change together.
_MOST = 0.5
# Share of the timed calls that may be so, or be repeated, beyond what the reference's are.
_CALLS = 0.1
# Outputs of fewer values may be the same by chance, where a model draws tokens.
_FEW_VALUES = 64


class TimedOutputs:
    """The outputs of timed calls, each asked for with a seed of its own.

    Args:
        price: [windows] of the context; differences below its rounding in float32 are none.
        alike: whether the variant's paths are to be the reference's, which has the same random numbers.
        tolerance: difference at any step, as a share of the width of the reference's band, from which on a path is
            another.
        random: whether another seed gives another forecast.
    """

    def __init__(self, price: np.ndarray, *, alike: bool, tolerance: float, random: bool) -> None:
        self._price, self._alike, self._tolerance, self._random = price, alike, tolerance, random
        self._other = 0
        self._pairs: tuple[list[bytes], list[bytes]] = ([], [])
        self._alone: list[bytes] = []
        self._few = False

    def add_pair(self, own: np.ndarray, other: np.ndarray) -> None:
        """Outputs [windows, rows, horizon] of the variant and of the reference with one seed."""
        self._few = own.size < _FEW_VALUES
        for digests, output in zip(self._pairs, (own, other), strict=True):
            digests.append(_digest(output))
        if self._alike:
            low, high = np.quantile(other, (0.1, 0.9), axis=1)
            found = compare_paths(own, other, (high - low).mean(axis=1), self._price)
            self._other += int((found.apart > self._tolerance).mean() > _MOST)

    def add(self, own: np.ndarray) -> None:
        """Output of the variant, called alone with a seed of its own."""
        self._alone.append(_digest(own))

    def problem(self) -> str:
        """What can't be an answer to what was asked, in words; empty where all may be."""
        pairs = len(self._pairs[0])
        if self._other > max(1.0, _CALLS * pairs):
            return (
                f"{self._other} of {pairs} timed calls return other forecasts than the reference beside them, "
                "which has the same random numbers"
            )
        if not self._random or self._few or not pairs:
            return ""
        own, other = (_repeated(digests) for digests in self._pairs)
        if own - other > max(1.0, _CALLS * pairs):
            return (
                f"{own} of {pairs} timed calls return what an earlier one with another seed did; of the reference's "
                f"{other}"
            )
        again = _repeated([*self._pairs[0], *self._alone]) - own
        if not other and again > max(1.0, _CALLS * len(self._alone)):
            return f"{again} of {len(self._alone)} calls return what an earlier one with another seed did"
        return ""


def _digest(output: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(output).tobytes()).digest()


def _repeated(digests: list[bytes]) -> int:
    return len(digests) - len(set(digests))
