"""From which size on is a defect found? Simulated through the judge itself, by families of the defects of `simulated`.

Of a family the size is sought, to a fifth, at which at least 18 of 20 seeds (1 to 20) have their variant stopped by
the check; one seed is enough where nothing is drawn.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from greenlight.judgement.drawn_paths import QUANTITIES, judge_paths, path_quantities, spread_between
from greenlight.judgement.drawn_pooled import pool, shown_pooled
from greenlight.judgement.drawn_windows import compare_windows, shown_window, units_of
from greenlight.judgement.rules import AccuracyRules
from tests.defects.simulated import (
    REFERENCE,
    SIMULATED,
    Effects,
    Simulated,
    differing,
    effect,
    every,
    judged,
    repeats,
    sample,
)

SEEDS, NEEDED = 20, 18
RULES = AccuracyRules()
SYMBOLS = tuple(f"SYM{number}" for number in range(6))


@dataclass(frozen=True)
class Family:
    """Defects that differ by their size.

    Attributes:
        rows: names on the page.
        words: the size, with `{}` or a format for it.
        found: whether the check stops a defect of a size, for a seed.
        low, high: a size that is not found, and one that is.
        drawn: whether it depends on the seed.
        whole: whether sizes are whole numbers.
    """

    rows: tuple[str, ...]
    words: str
    found: Callable[[float, int, Path], bool]
    low: float
    high: float
    drawn: bool = False
    whole: bool = False

    def power(self, size: float, folder: Path) -> bool:
        """Whether a defect of this size is found for enough seeds."""
        seeds, missed = range(1, SEEDS + 1) if self.drawn else [1], 0
        for seed in seeds:
            missed += not self.found(size, seed, folder / f"{size:.6g}-{seed}")
            if missed > SEEDS - NEEDED or (missed and not self.drawn):
                return False
        return True

    def size(self) -> float:
        """The smallest size that is found, to a fifth; the next whole number where sizes are whole."""
        low, high = self.low, self.high
        with tempfile.TemporaryDirectory() as folder:
            if not self.power(high, Path(folder)):
                raise ValueError(f"{self.rows[0]}: not found at {high}")
            while high - low > 1 if self.whole else high / low > 1.2:
                middle = round((low + high) / 2) if self.whole else math.sqrt(low * high)
                low, high = (low, middle) if self.power(middle, Path(folder)) else (middle, high)
        return high

    def describe(self, size: float) -> str:
        """The size in words; a smaller one than was looked for may be found, too."""
        words = self.words.format(round(size) if self.whole else float(f"{size:.2g}"))
        return f"{words} or less" if not self.whole and size < 1.25 * self.low else words


def _by_judge(check: str, make: Callable[[float], Simulated]) -> Callable[[float, int, Path], bool]:
    """Found by the whole judge, as `test_simulated.py` asks it."""

    def found(size: float, seed: int, folder: Path) -> bool:
        defect = make(size)
        stopping = judged(replace(defect, check=check), folder, seed)
        return check in stopping and stopping[check].status == "fail"

    return found


def family(
    check: str, rows: tuple[str, ...], words: str, low: float, high: float, make: Callable[..., Simulated], **how: bool
) -> Family:
    """A family whose defects the whole judge is asked about."""
    assert all(SIMULATED[row].check == check for row in rows), rows
    return Family(rows, words, _by_judge(check, make), low, high, **how)


def _walks(rng: np.random.Generator, windows: int, samples: int) -> np.ndarray:
    """Random walks of heavy tails at 100, [windows, samples, 8 steps]."""
    return 100.0 + np.cumsum(rng.standard_t(4, (windows, samples, 8)), axis=2)


def _wider(paths: np.ndarray, factor: float) -> np.ndarray:
    middle = np.median(paths, axis=1, keepdims=True)
    return middle + factor * (paths - middle)


def _drawn_paths(change: Callable[[np.ndarray, float], np.ndarray]) -> Callable[..., bool]:
    """Found by `judge_paths` in 16 replicates of 6 windows of 32 paths, beside others of the same distribution."""

    def found(size: float, seed: int, folder: Path) -> bool:
        rng, values, means = np.random.default_rng(seed), {name: [] for name in QUANTITIES}, ([], [])
        for _ in range(16):
            own, other = change(_walks(rng, 6, 32), size), _walks(rng, 6, 32)
            for name, windows in path_quantities(own, other).items():
                values[name].append(float(windows.mean()))
            for kept, paths in zip(means, (own, other), strict=True):
                kept.append(paths.mean(axis=1))
        between = spread_between(*(np.array(kept) for kept in means))
        judgement = judge_paths(values, between, RULES.path_limits(), alpha=RULES.alpha, alarm=RULES.alarm)
        return judgement.outcome == "fail"

    return found


def _one_window(change: Callable[[np.ndarray, float], np.ndarray], windows: int) -> Callable[..., bool]:
    """Found by `shown_window` among 6 symbols of 5 windows of 32 paths; the defect is of so many of one symbol."""
    units = units_of([f"{symbol}/{window}" for symbol in SYMBOLS for window in range(5)])

    def found(size: float, seed: int, folder: Path) -> bool:
        rng = np.random.default_rng(seed)
        own, other = _walks(rng, 30, 32), _walks(rng, 30, 32)
        own[10 : 10 + windows] = change(own[10 : 10 + windows], size)
        differences = compare_windows(own, other)
        return shown_window(differences, units, RULES.alarm / 2, RULES.draws_difference / 2) is not None

    return found


def _all_draws(change: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]) -> Callable[..., bool]:
    """Found by `shown_pooled` among 30 windows of 128 paths, all of which are drawn otherwise."""

    def found(size: float, seed: int, folder: Path) -> bool:
        rng = np.random.default_rng(seed)
        own, other = change(_walks(rng, 30, 128), size, rng), _walks(rng, 30, 128)
        return shown_pooled(pool(own, other), RULES.alarm / 2) is not None

    return found


def _like(paths: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """The first step takes one of 1 / size values, all as likely."""
    count = round(1 / size)
    values = np.quantile(rng.standard_t(4, 4000), (np.arange(count) + 0.5) / count)
    return paths + (100.0 + rng.choice(values, paths.shape[:2]) - paths[..., 0])[..., None]


def _cut(paths: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """The outermost share of the changes on each side is drawn anew, within."""
    changes = np.diff(paths, axis=2, prepend=100.0)
    low, high = np.quantile(changes, (size, 1 - size))
    within = changes[(changes > low) & (changes < high)]
    return 100.0 + np.cumsum(
        np.where((changes > low) & (changes < high), changes, rng.choice(within, changes.shape)), axis=2
    )


def _in_common(paths: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the variance is one for all windows."""
    shared = _walks(rng, 1, paths.shape[1]) - 100.0
    return 100.0 + np.sqrt(1 - size) * (paths - 100.0) + np.sqrt(size) * shared


def _band(paths: np.ndarray) -> np.ndarray:
    low, high = np.quantile(paths, (0.1, 0.9), axis=1, keepdims=True)
    return high - low


def _moved(paths: np.ndarray, size: float) -> np.ndarray:
    return paths + size * _band(paths)


FAMILIES = (
    family(
        "numerics",
        (
            "errors of the logits a thousandth",
            "errors of the logits of TF32",
            "errors of the logits ten times rounding",
        ),
        "an error of {:g} of the RMS value",
        3e-7, 1e-5, lambda s: effect("", "", probe_error=s),
    ),
    family(
        "batch-equals-rows", ("a window sees its neighbour's cache", "a window sees a little of its neighbour"),
        "a difference of {:g} of the spread",
        1e-3, 0.1, lambda s: repeats("", "", batch_equals_rows=differing(s)),
    ),
    family(
        "symbol-order", ("the cache of the last order stays",), "a difference of {:g} of the spread",
        1e-3, 0.1, lambda s: repeats("", "", order_irrelevant=differing(s)),
    ),
    family(
        "same-seed", ("a seed that draws other bytes", "one value that is not reproducible"), "{} value",
        0, 12, lambda s: repeats("", "", same_seed_differing=int(s)), whole=True,
    ),
    family(
        "other-seed", ("a seed that is ignored", "a seed that changes a third of the paths"),
        "{:g} of the paths unchanged", 0.01, 1.0, lambda s: repeats("", "", other_seed_changed=1 - s),
    ),
    family(
        "samples-differ", ("a twentieth of the paths drawn twice", "half of the paths drawn twice"),
        "{:g} of the paths", 1e-3, 0.5, lambda s: effect("", "", distinct_paths=1 - s),
    ),
    family(
        "affine", ("a location that is not added",), "a difference of {:g} of the spread", 1e-4, 0.3,
        lambda s: repeats("", "", affine={"applies": True, "max_relative_difference": s, "tolerance": 0.01}),
    ),
    Family(
        ("drawn beside the reference: mean off",), "all paths moved by {:g} band widths",
        _drawn_paths(_moved), 0.03, 0.5, drawn=True,
    ),
    Family(
        ("drawn beside the reference: lower tail off", "drawn beside the reference: upper tail off"),
        "the two outermost paths off by {:g} of their distance",
        _drawn_paths(lambda p, s: _outermost(p, 1 + s)), 0.1, 1.0, drawn=True,
    ),
    Family(
        ("drawn beside the reference: changes off", "drawn beside the reference: whole change off"),
        "{:g} wider throughout", _drawn_paths(lambda p, s: _wider(p, 1 + s)), 0.03, 0.5, drawn=True,
    ),
    family(
        "forecasts-agree", ("a sample of nothing", "a sample of ten times the price"),
        "one sample in 32, in all windows, off by {:g} of the price",
        1e-5, 0.1, lambda s: effect("", "", paths=sample((), 5, 1 + s)),
    ),
    family(
        "rmse-not-worse", ("a sample of twice the price, in the mean",),
        "one sample in 32 off by {:g} of the price", 0.05, 2.0,
        lambda s: effect("", "", paths=sample((), 5, 1 + s)), drawn=True,
    ),
    family(
        "quantile-loss-not-worse", ("half the band",), "a band narrower by {:g}",
        0.05, 0.6, lambda s: effect("", "", band=1 - s), drawn=True,
    ),
    family(
        "coverage", ("no band",), "a band narrower by {:g}",
        0.3, 0.99, lambda s: effect("", "", band=1 - s), drawn=True,
    ),
    family(
        "series-difference", ("one symbol's errors a third larger", "one symbol's errors a tenth larger"),
        "larger by {:g}", 0.03, 0.1, lambda s: effect("", "", error={"SYM3": 1 + s}), drawn=True,
    ),
    family(
        "series-difference", ("one symbol's errors a tenth smaller",), "smaller by {:g}",
        0.03, 0.1, lambda s: effect("", "", error={"SYM3": 1 - s}), drawn=True,
    ),
    family(
        "forecasts-agree", tuple(f"{symbol} off by 1% of the price" for symbol in SYMBOLS[:3]),
        "{:g} of the price", 1e-5, 0.01, lambda s: effect("", "", paths=every(("SYM1",), 1 + s)),
    ),
    family(
        "forecasts-agree", ("a sample of one symbol of nothing",), "{:g} of the price", 0.01, 1.0,
        lambda s: effect("", "", paths=sample(("SYM4",), 5, 1 - s)),
    ),
    family(
        "golden-forecasts",
        ("the stored forecasts are not found again", "a fifth of the stored forecasts is not found again"),
        "{:g} of the paths", 0.01, 0.8, lambda s: Simulated("", "", Effects(golden=1 - s), REFERENCE, REFERENCE),
    ),
    family(
        "golden-forecasts",
        (
            "teacher-forced values of stored windows a thousandth off",
            "another clock in some of the stored windows",
        ),
        "{:g} of the RMS value, in two windows", 1e-6, 0.1,
        lambda s: Simulated("", "", Effects(golden_off=(2, s)), REFERENCE, REFERENCE),
    ),
    family(
        "mae-not-worse", ("errors 5% larger throughout",), "larger by {:g}", 0.008, 0.05,
        lambda s: effect("", "", error={n: 1 + s * (1 + 0.04 * k) for k, n in enumerate(SYMBOLS)}), drawn=True,
    ),
    family(
        "mae-improvement", ("errors 5% smaller throughout",), "smaller by {:g}", 0.008, 0.05,
        lambda s: effect("", "", error={n: 1 - s * (1 + 0.04 * k) for k, n in enumerate(SYMBOLS)}), drawn=True,
    ),
    family(
        "not-slower", ("15% slower",), "slower by {:g}, at 3% jitter", 0.02, 0.15,
        lambda s: effect("", "", latency=1 + s), drawn=True,
    ),
    family(
        "mean-not-slower", ("15% slower, in the mean",), "slower by {:g}, at 3% jitter", 0.02, 0.15,
        lambda s: effect("", "", latency=1 + s), drawn=True,
    ),
    family(
        "slow-calls",
        ("every fourth call three times as long", "every fourth call three times as long, of a variant twice as fast"),
        "{:g} of the calls", 0.05, 0.4, lambda s: effect("", "", slow_share=s), drawn=True,
    ),
    family(
        "memory-growth", ("1 MiB a call is never given back", "512 KiB a call is never given back"),
        "{} KiB a call", 16, 1024, lambda s: effect("", "", leak=round(s * 1024)),
    ),
    family(
        "recompiles-after-warm-up", ("three recompiles after warm-up",), "{} recompile", 0, 3,
        lambda s: effect("", "", health={"recompiles_after_warm_up": int(s)}), whole=True,
    ),
    Family(
        ("one symbol drawn otherwise",), "moved by {:g} band widths", _one_window(_moved, 5), 0.1, 1.0, drawn=True,
    ),
    Family(
        ("one window drawn otherwise",), "moved by {:g} band widths", _one_window(_moved, 1), 0.3, 3.0, drawn=True,
    ),
    Family(
        ("one symbol's band of another width",), "wider by {:g}",
        _one_window(lambda p, s: _wider(p, 1 + s), 5), 0.1, 8.0, drawn=True,
    ),
    Family(
        ("uniform numbers of few values",), "draws that are equal in {:g} of pairs", _all_draws(_like),
        1e-4, 0.5, drawn=True,
    ),
    Family(
        ("steps without their outermost draws",), "{:g} of the draws on each side", _all_draws(_cut),
        3e-3, 0.2, drawn=True,
    ),
    Family(
        ("a draw that all symbols share",), "{:g} of the variance", _all_draws(_in_common), 0.05, 1.0, drawn=True,
    ),
)  # fmt: skip
"""In band widths, shares and counts, for 6 symbols of 5 windows, 32 samples, 40 pairs at 3% jitter."""


def _outermost(paths: np.ndarray, factor: float) -> np.ndarray:
    """The lowest and the highest path at each step so many times as far from the median."""
    middle = np.median(paths, axis=1, keepdims=True)
    ends = (paths == paths.min(axis=1, keepdims=True)) | (paths == paths.max(axis=1, keepdims=True))
    return np.where(ends, middle + factor * (paths - middle), paths)


def sizes_by_row(sizes: dict[str, float]) -> dict[str, str]:
    """The size in words by the name of a row, from sizes by the first row of a family."""
    return {row: one.describe(sizes[one.rows[0]]) for one in FAMILIES for row in one.rows}
