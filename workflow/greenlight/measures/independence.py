"""Are the sample paths of two forecasts, by another seed, or of another symbol or time, drawn independently?"""

from __future__ import annotations

import numpy as np

# Standard errors from which on a correlation is shown: by chance once in a million.
_SHOWN = 5.0
# Paths of all windows from which on those in other places count.
_ENOUGH = 32


def new_paths(first: np.ndarray, other: np.ndarray) -> float:
    """Share of the paths of `other`, [windows, samples, horizon], that are not `first`'s: of the worst window, in their
    places among the samples; or of all windows, in any place, if that is less.

    What draws few tokens gives the same path now and then. So any place counts only where no window repeats a path by
    itself, among so many that paths which are seldom the same by chance can't be most of them.
    """
    share = (first != other).any(axis=-1).mean(axis=-1).min()
    known = [{path.tobytes() for path in paths} for paths in first]
    if first[..., 0].size >= _ENOUGH and sum(map(len, known)) == first[..., 0].size:
        new = [path.tobytes() not in own for own, paths in zip(known, other, strict=True) for path in paths]
        share = min(share, np.mean(new))
    return float(share)


def likeness(one: np.ndarray, *others: np.ndarray) -> float:
    """Rank correlation of sample paths [windows, samples, horizon] with those of others in their places, if it is
    shown; else 0.

    The levels of the paths are correlated, in the mean of the steps and at the last, over the samples of a window, and
    averaged over windows and others. If draws are independent, any order of the one's samples is as likely as any
    other, so that a rank correlation of n samples has mean 0 and variance 1 / (n - 1), whatever is drawn.
    """
    found = 0.0
    for own, *rest in zip(*map(_levels, (one, *others)), strict=True):
        ranks = _unit_ranks(own)
        each = np.concatenate([(ranks * _unit_ranks(other)).sum(axis=1) for other in rest])
        each = each[~np.isnan(each)]
        if len(each) and abs(each.sum()) * np.sqrt((one.shape[1] - 1) / len(each)) >= _SHOWN:
            found = max(found, float(each.mean()), key=abs)
    return found


def _levels(paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[windows, samples] of paths: the mean of the steps, and the last."""
    return paths.mean(axis=2), paths[..., -1]


def _unit_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks within each row of [windows, samples], ties at their mean, as vectors of mean 0 and length 1; NaN where all
    values are the same."""
    ordered = np.sort(values, axis=1)
    ends = [[np.searchsorted(*pair, side) for pair in zip(ordered, values, strict=True)] for side in ("left", "right")]
    centred = np.mean(ends, axis=0) - values.shape[1] / 2
    lengths = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit: np.ndarray = centred / np.where(lengths > 0, lengths, np.nan)
    return unit
