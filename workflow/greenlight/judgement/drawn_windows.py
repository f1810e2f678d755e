"""Is each window, and each symbol, drawn as the reference draws it? Beyond what is averaged over windows (`draws`).

Paths of one window are independent draws from one distribution in both arms, so that ranks tell whether the two are the
same, whatever it is. What is off in a symbol is off in its windows alike, and shows in them together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from greenlight.statistics.ranks import rank_scores, shown_shift_of

BAND_WIDTH = 2.563
"""Standard deviations between the 10 and the 90% quantile of a normal distribution."""
# Differences below this share of the price are rounding, also of a band without width.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class WindowDifferences:
    """Rank tests of each window, [windows, quantities]: the level at each step, the mean level of the steps, the change
    from the first step to the last, and those from step to step; then how widely each of them spreads, and how widely
    all levels of a path do, and all its changes from step to step.

    Attributes:
        score: normal scores; 0 where nothing differs.
        size: of a level, how much its median moves, in widths of its band; of a spread, the log ratio.
    """

    score: np.ndarray
    size: np.ndarray


SHARE_OF_ALARMS = 0.5
"""Of the rate of false alarms: the rest is for what is off on average."""


def quantities(horizon: int) -> int:
    """How many quantities are compared."""
    return 2 * (2 * horizon + 1) + 2


def compare_windows(own: np.ndarray, other: np.ndarray) -> WindowDifferences:
    """Compare paths [windows, samples, horizon], drawn by one and by the other."""
    arms = [_values(paths.astype(np.float64)) for paths in (own, other)]
    both = np.concatenate(arms, axis=1)
    # A draw in the middle, not a mean of two, which would be as far from both.
    middle = np.partition(both, both.shape[1] // 2, axis=1)[:, both.shape[1] // 2, None]
    floor = _ROUNDING * np.abs(np.median(other, axis=(1, 2)))[:, None] + np.finfo(float).tiny
    spread = _with_whole_paths([np.abs(values - middle) + floor[:, None] for values in arms], own.shape[2])
    low, high = np.quantile(both, (0.1, 0.9), axis=1)
    medians = [np.median(values, axis=1) for values in arms]
    moved = (medians[0] - medians[1]) / (high - low + floor)
    wide = [np.median(values, axis=1) for values in spread]
    return WindowDifferences(
        np.concatenate([rank_scores(*arms), rank_scores(*spread)], axis=1),
        np.concatenate([moved, np.log(wide[0] / wide[1])], axis=1),
    )


def _with_whole_paths(spread: list[np.ndarray], horizon: int) -> list[np.ndarray]:
    """Distances from the middle [windows, samples, quantities] of both arms, and those of a path's levels together, and
    of its changes together, each step in units of its own typical distance."""
    typical = np.median(np.concatenate(spread, axis=1), axis=1, keepdims=True)
    units = [values / typical for values in spread]
    groups = slice(0, horizon), slice(horizon + 2, None) if horizon > 1 else slice(0, 1)
    whole = [np.stack([values[..., group].mean(axis=2) for group in groups], axis=2) for values in units]
    return [np.concatenate(pair, axis=2) for pair in zip(spread, whole, strict=True)]


def _values(paths: np.ndarray) -> np.ndarray:
    """[windows, samples, 2 * horizon + 1]: levels, their mean, the change from first to last, and that at each step."""
    mean, whole = paths.mean(axis=2, keepdims=True), paths[..., -1:] - paths[..., :1]
    return np.concatenate([paths, mean, whole, np.diff(paths, axis=2)], axis=2)


def units_of(windows: Sequence[str]) -> dict[str, list[int]]:
    """Rows by what is judged: each window by its key, such as AAPL/3, and each symbol that has several."""
    symbols: dict[str, list[int]] = {}
    for row, key in enumerate(windows):
        symbols.setdefault(key.rpartition("/")[0], []).append(row)
    units = {key: [row] for row, key in enumerate(windows)}
    return units | {symbol: rows for symbol, rows in symbols.items() if len(rows) > 1}


def shown_window(
    differences: WindowDifferences, units: Mapping[str, Sequence[int]], alarm: float, floor: float
) -> str | None:
    """The difference that is shown most surely, in words; None where none is.

    Args:
        units: see `units_of`.
        alarm: rate at which something is shown where nothing differs, over all units and quantities (Bonferroni).
        floor: differences up to this are none, however surely they are shown.
    """
    score = np.stack([differences.score[rows].sum(axis=0) / math.sqrt(len(rows)) for rows in units.values()])
    size = np.stack([differences.size[rows].mean(axis=0) for rows in units.values()])
    shown = (2 * special.ndtr(-np.abs(score)) * score.size <= alarm) & (np.abs(size) > floor)
    if not shown.any():
        return None
    unit, quantity = np.unravel_index(int(np.argmax(np.abs(score) * shown)), size.shape)
    levels = size.shape[1] // 2 - 1
    horizon, place = levels // 2, quantity % levels
    if quantity >= 2 * levels:
        what = ("of its paths' levels", "of its paths' changes from step to step")[quantity - 2 * levels]
    elif place < horizon:
        what = f"at step {place + 1}"
    elif place > horizon + 1:
        what = f"in the change from step {place - horizon - 1} to the next"
    else:
        what = ("in the mean of the steps", "in the change from the first step to the last")[place - horizon]
    value = float(size[unit, quantity])
    moved = (
        f"median moves by {value:+.2f} band widths" if quantity < levels else f"spread is {math.exp(value):.2f} times"
    )
    return f"{list(units)[unit]} is drawn otherwise: the {moved} {what}"


def shown_size(samples: int, windows: int, units: int, horizon: int, alarm: float, power: float) -> float:
    """The smallest shift of a level at one step, in widths of its band, that so many windows together show.

    Args:
        samples: drawn a window on each side; units: how many are judged.
    """
    return shown_shift_of(samples, samples, windows, units * quantities(horizon), alarm, power) / BAND_WIDTH


def shown_width(
    samples: int, windows: int, units: int, horizon: int, alarm: float, power: float, floor: float
) -> float:
    """By which share all changes of a path must be larger for so many windows together to show it; arguments as above.

    For changes that are normal and independent of each other: their mean size scatters by 0.76 of itself, over the root
    of their number.
    """
    shift = shown_shift_of(samples, samples, windows, units * quantities(horizon), alarm, power)
    return math.expm1(max(1.25 * floor, shift * math.sqrt((math.pi / 2 - 1) / max(1, horizon - 1))))
