"""Sample paths against those of a forecaster with the same random numbers, path by path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Paths are stored in float32: what is below this share of the price is its rounding.
STORED = 1e-6
# Of the width of the band, what rounding does to a path at most before it takes another course.
ROUNDED = 1e-4


@dataclass(frozen=True)
class PathDifferences:
    """How far the paths of each window are from the other forecaster's.

    Attributes:
        apart: [windows, samples] largest difference at any step, as a share of the width of the other's band.
        largest, step: [windows] the largest difference of any path as a share of the price, and its step from 1.
        reach: [windows] the same difference as a share of the range of all of the other's paths.
        shift: [windows] median over samples of the difference, averaged over steps, as a share of the width.
        above: [windows, samples] whether a path lies above the other's on average.
        outside: [windows, samples] whether a path ends beyond all of the other's.
        moved: [windows] correlation with the other's paths over samples, of the changes to the step where most begin to
            differ. Draws that are others give about 0; the same ones, scaled or shifted, 1.
        rougher: [windows] log ratio of the median size of changes from step to step.
    """

    apart: np.ndarray
    largest: np.ndarray
    step: np.ndarray
    reach: np.ndarray
    shift: np.ndarray
    above: np.ndarray
    outside: np.ndarray
    moved: np.ndarray
    rougher: np.ndarray


def compare_paths(own: np.ndarray, other: np.ndarray, width: np.ndarray, price: np.ndarray) -> PathDifferences:
    """Differences of paths [windows, samples, horizon].

    Args:
        width: [windows] mean width of the other's 10 to 90% band; price: [windows]. Both in the unit of the paths.
    """
    difference = own.astype(np.float64) - other
    size = np.abs(difference)
    width = width + STORED * price
    largest = size.max(axis=(1, 2))
    spread = other.max(axis=(1, 2)) - other.min(axis=(1, 2)) + STORED * price
    last, others = own[:, :, -1], other[:, :, -1]
    return PathDifferences(
        apart=np.maximum(0.0, size.max(axis=2) - STORED * price[:, None]) / width[:, None],
        largest=largest / price,
        step=size.max(axis=1).argmax(axis=1) + 1,
        reach=largest / spread,
        shift=np.median(difference, axis=1).mean(axis=1) / width,
        above=difference.mean(axis=2) > 0,
        outside=(last < others.min(axis=1, keepdims=True)) | (last > others.max(axis=1, keepdims=True)),
        moved=_moved(own.astype(np.float64), other, STORED * price + ROUNDED * width),
        rougher=np.log(_roughness(own, STORED * price) / _roughness(other, STORED * price)),
    )


def _roughness(paths: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """[windows] median size of changes from step to step."""
    if paths.shape[2] < 2:
        return np.ones(len(paths))
    sizes: np.ndarray = np.median(np.abs(np.diff(paths.astype(np.float64), axis=2)), axis=(1, 2)) + floor
    return sizes


def _moved(own: np.ndarray, other: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """See `PathDifferences.moved`; rounding: [windows], the largest difference that is none."""
    found = np.zeros(len(own))
    begun = np.median(np.abs(own - other), axis=1) > rounding[:, None]
    for row in np.flatnonzero(begun.any(axis=1)):
        step = int(np.argmax(begun[row]))
        before = other[row, :, step - 1] if step else 0.0
        pair = own[row, :, step] - before, other[row, :, step] - before
        if min(values.std() for values in pair) > rounding[row]:
            found[row] = np.corrcoef(*pair)[0, 1]
    return found
