"""Columns of text as bytes: which characters they have, and what their forms are, without a loop over cells."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

_FORM = np.arange(256, dtype=np.uint8)
_FORM[48:58] = 57
_NOT_ASCII = bytes(range(128, 256))
_USUAL = b"0123456789.-:, /"


def _parts(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(offsets [cells + 1] int32, all bytes of the column and of those beside it)."""
    _, starts, data = cells.buffers()
    offsets = np.frombuffer(starts, dtype=np.int32, count=len(cells) + 1, offset=4 * cells.offset)
    return offsets, np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)


def characters_in(cells: pa.Array) -> frozenset[str]:
    """The ASCII characters that occur in a column of text, and "é" for any other."""
    if not len(cells):
        return frozenset()
    offsets, data = _parts(cells)
    left = data[offsets[0] : offsets[-1]].tobytes()
    found = set()
    if not left.isascii():
        found.add("é")
        left = left.translate(None, _NOT_ASCII)
    for code in _USUAL:
        if code in left:
            found.add(chr(code))
    left = left.translate(None, _USUAL)
    while left:
        found.add(chr(left[0]))
        left = left.replace(left[:1], b"")
    return frozenset(found)


def forms_of(cells: pa.Array) -> pa.Array:
    """The cells with 9 in place of each digit."""
    if not len(cells):
        return cells
    offsets, data = _parts(cells)
    first, last = int(offsets[0]), int(offsets[-1])
    masked = _FORM[data[first:last]]
    return pa.StringArray.from_buffers(len(cells), pa.py_buffer(offsets - first), pa.py_buffer(masked))


def grid_of(cells: pa.Array) -> np.ndarray | None:
    """[cells, length] the bytes of cells that are all of one length; None where they are not, or not ASCII."""
    offsets, data = _parts(cells)
    if not len(cells):
        return None
    width = int(offsets[1] - offsets[0])
    if not width or (np.diff(offsets) != width).any():
        return None
    grid = data[offsets[0] : offsets[-1]].reshape(len(cells), width)
    return grid if grid.max() < 128 else None
