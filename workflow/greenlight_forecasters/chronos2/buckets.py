"""Few shapes for all calls: what is shorter or smaller than its bucket is masked.

Chronos-2 attends from all tokens to all tokens, so that tokens that nobody looks at change nothing. A context goes into
the next bucket of 8, 16, 32, ... patches, a horizon into one of 3 or 15 patches or the most, and series into batches of
1, 2, 4, ... 64. Each combination that occurs is compiled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from greenlight_forecasters.chronos2.checkpoint import Dimensions

_LEAST_CONTEXT = 8
# With the register the tokens of the usual buckets are a multiple of 4, as a GPU's attention wants them.
_FUTURES = (3, 15)
MOST_ROWS = 64
# Series that a batch may be filled up by: a quarter of it. Otherwise what is left over is a smaller batch.
_FILLED = 4


@dataclass(frozen=True)
class Bucket:
    """A shape that buffers are allocated for, and code is compiled for.

    Attributes:
        rows: series of a batch; each variate of a window is one.
        context_patches: room for the context.
        future_patches: room for the horizon.
        grouped: whether series may attend to each other.
    """

    rows: int
    context_patches: int
    future_patches: int
    grouped: bool

    @property
    def tokens(self) -> int:
        """Tokens of a series: context, the register, horizon."""
        return self.context_patches + 1 + self.future_patches

    def describe(self, patch: int) -> str:
        """In a reader's words, such as `32 series, contexts to 512 rows, horizons to 48`."""
        kind = "series that see each other" if self.grouped else "series"
        return (
            f"{self.rows} {kind}, contexts to {self.context_patches * patch} rows, "
            f"horizons to {self.future_patches * patch}"
        )


def context_buckets(dimensions: Dimensions) -> list[int]:
    """The numbers of patches that there is room for in a context, ascending; the last holds the longest."""
    return _doubling(_LEAST_CONTEXT, dimensions.context_patches)


def future_buckets(dimensions: Dimensions) -> list[int]:
    """The numbers of patches that there is room for in a horizon, ascending; the last holds the longest."""
    most = dimensions.max_output_patches
    return [room for room in _FUTURES if room < most] + [most]


def smallest(rooms: Sequence[int], needed: int) -> int:
    """The smallest room that holds what is needed; ValueError if none does."""
    for room in rooms:
        if room >= needed:
            return room
    raise ValueError(f"{needed} patches; there is room for {rooms[-1]}")


def batches(sizes: Sequence[int]) -> list[tuple[range, int]]:
    """How groups of series are spread over batches: (which groups, rows of the batch) each, in order.

    Args:
        sizes: series of each group, which stay together.

    Raises:
        ValueError: a group that fits no batch.
    """
    if max(sizes) > MOST_ROWS:
        raise ValueError(f"{max(sizes)} variates of one window; at most {MOST_ROWS} can see each other")
    found, first = [], 0
    while first < len(sizes):
        left = sum(sizes[first:])
        rows = 1
        while rows < min(left, MOST_ROWS):
            rows *= 2
        if rows > left and (rows - left) * _FILLED > rows and rows // 2 >= max(sizes[first:]):
            rows //= 2
        last, held = first, 0
        while last < len(sizes) and held + sizes[last] <= rows:
            held += sizes[last]
            last += 1
        found.append((range(first, last), rows))
        first = last
    return found


def _doubling(least: int, most: int) -> list[int]:
    rooms = []
    while least < most:
        rooms.append(least)
        least *= 2
    return [*rooms, most]
