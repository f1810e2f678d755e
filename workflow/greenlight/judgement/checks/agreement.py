"""Are the sample paths those of the partner, where both are given the same random numbers?

Rounding moves a path by a millionth of the band. A path that is drawn near a tie takes another course, and with some
samplers so do those after it in its window; that is rare, and such a path is another draw from the same distribution.
So paths may part if few do, if no symbol's do, and if those that do look like other draws: on both sides, no farther
out than draws lie, in any place among the samples, and not the partner's own paths moved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from scipy import special

from greenlight.judgement.checks.base import Check, Subject, percent_of_price
from greenlight.judgement.evidence import VariantEvidence
from greenlight.measures.paths import PathDifferences

NAME, STAGES = "forecasts-agree", ("predict", "forecasts")
# Correlation with the partner's paths from which on they are taken for the same ones; other draws reach 0.4 at times.
MOVED = 0.9
# How many times as large as the partner's the changes from step to step of a window may be, or as small.
ROUGHER = 3.0


def agreement_check(subject: Subject, found: Mapping[str, VariantEvidence]) -> list[Check]:
    """`forecasts-agree`; the figure is the share of all sample paths that part from the partner's."""
    if subject.is_reference:
        return []
    partner = subject.expected.models[subject.found.model].partner(subject.found.variant)
    if partner is None:
        reason = "no variant draws the same random numbers; see draws-as-reference"
        return [subject.check(NAME, "not-measured", reason, *STAGES)]
    paths = subject.found.paths
    if paths is None:
        return subject.missing([NAME], f"forecasts of it or of {partner} are missing or damaged", *STAGES)
    rules, reduced = subject.rules.accuracy, subject.variant.reduced
    tolerance = rules.reduced_window_difference if reduced else rules.window_difference
    limit = rules.reduced_windows_differing if reduced else rules.windows_differing
    parted = paths.apart > tolerance
    share, by_symbol = float(parted.mean()), _by_symbol(subject, parted)
    symbol = max(by_symbol, key=lambda name: (by_symbol[name], _farthest(subject, paths, name)[1]))
    row, _ = _farthest(subject, paths, symbol)
    window, step = f"{symbol}/{subject.expected.rows()[row][1]}", int(paths.step[row])
    size = f"{window} at step {step}, by {percent_of_price(paths.largest[row])}"
    faults = list(_faults(subject, paths, parted, by_symbol, share, limit))
    if not parted.any():
        reason = f"every sample path is that of {partner}; the farthest is {size}"
    else:
        reason = f"{share:.2g} of all sample paths differ from {partner} by more than {tolerance:.0%} of the band; "
        reason += f"most in {symbol}, {by_symbol[symbol]:.0%} of its paths, farthest {size}"
    if faults:
        reason = f"{faults[0]}: {reason}"
    details = {"against": partner, "symbol": symbol, "window": window, "step": step}
    details |= {"share_of_price": float(paths.largest[row]), "symbol_share": by_symbol[symbol]}
    return [subject.holds(NAME, not faults, reason, *STAGES, figure=share, limit=limit, details=details)]


def _symbols(subject: Subject) -> Iterator[tuple[str, slice]]:
    """Each symbol with the rows of its windows."""
    start = 0
    for symbol, entry in subject.expected.symbols.items():
        yield symbol, slice(start, start + entry.windows)
        start += entry.windows


def _by_symbol(subject: Subject, parted: np.ndarray) -> dict[str, float]:
    """Share of each symbol's paths that part."""
    return {symbol: float(parted[rows].mean()) for symbol, rows in _symbols(subject)}


def _farthest(subject: Subject, paths: PathDifferences, symbol: str) -> tuple[int, float]:
    """Row of the symbol's window with the largest difference as a share of the price, and that share."""
    rows = dict(_symbols(subject))[symbol]
    row = rows.start + int(np.argmax(paths.largest[rows]))
    return row, float(paths.largest[row])


def _faults(
    subject: Subject,
    paths: PathDifferences,
    parted: np.ndarray,
    by_symbol: Mapping[str, float],
    share: float,
    limit: float,
) -> Iterator[str]:
    """What is more than rounding and a tie now and then explain, in words, the plainest first."""
    rules, rows = subject.rules.accuracy, subject.expected.rows()
    wrong = [symbol for symbol, value in by_symbol.items() if value > rules.symbol_differing]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        yield f"{len(wrong)} of {len(by_symbol)} symbols differ ({', '.join(wrong[:3])}{more})"
    if share > limit:
        yield f"more than {limit:.0%} of the paths differ"
    beyond = np.where(parted.any(axis=1), paths.reach, 0.0)
    if beyond.max() > rules.path_reach:
        row = int(np.argmax(beyond))
        yield (
            f"{rows[row][0]}/{rows[row][1]} has a path that is off by {percent_of_price(paths.largest[row])} at step "
            f"{paths.step[row]}, {beyond[row]:.2g} times the range of all its partner's paths"
        )
    if subject.variant.reduced:
        row = int(np.argmax(np.abs(paths.shift)))
        if abs(paths.shift[row]) > rules.path_shift:
            yield f"the paths of {rows[row][0]}/{rows[row][1]} move by {paths.shift[row]:+.2f} band widths"
        return
    whole = parted.mean(axis=1) > 0.5
    yield from _moved(paths, whole, rows, rules.alarm / len(rows), parted.shape[1])
    n, samples = int(parted.sum()), parted.shape[1]
    above = int((paths.above & parted).sum())
    if 2 * special.bdtr(min(above, n - above), n, 0.5) <= rules.alarm:
        yield f"{max(above, n - above)} of {n} paths that differ do so in the same direction"
    outside = int((paths.outside & parted).sum())
    if outside and special.bdtrc(outside - 1, n, 2 / (samples + 1)) <= rules.alarm:
        yield f"{outside} of {n} paths that differ end beyond all of their window"
    counts = parted[~whole].sum(axis=0)
    sample, n = int(np.argmax(counts)), int(counts.sum())
    if n and samples * special.bdtrc(counts[sample] - 1, n, 1 / samples) <= rules.alarm:
        yield f"sample {sample + 1} of {samples} is another in {counts[sample]} of {int((~whole).sum())} windows"


def _moved(
    paths: PathDifferences, whole: np.ndarray, rows: list[tuple[str, int]], alarm: float, samples: int
) -> Iterator[str]:
    """Windows that part as a whole, [windows] bool, in a way that other draws do not."""
    same = whole & (paths.moved >= MOVED) & (_chance(paths.moved, samples) <= alarm)
    other = whole & (np.abs(paths.rougher) > math.log(ROUGHER))
    for chosen in (same, other):
        if chosen.any():
            row = int(np.argmax(np.where(chosen, paths.largest, -1.0)))
            what = "are its partner's own, moved by up to {size} at step {step}"
            if chosen is other:
                what = f"change from step to step by {math.exp(paths.rougher[row]):.2g} times as much as its partner's"
            what = what.format(size=percent_of_price(paths.largest[row]), step=paths.step[row])
            more = f", and so in {int(chosen.sum()) - 1} windows more" if chosen.sum() > 1 else ""
            yield f"the paths of {rows[row][0]}/{rows[row][1]} {what}{more}"


def _chance(correlation: np.ndarray, samples: int) -> np.ndarray:
    """How likely draws that are others correlate as much, one-sided (Student's t)."""
    if samples < 3:
        return np.ones_like(correlation)
    square = np.clip(1 - correlation**2, 1e-12, None)
    chance: np.ndarray = special.stdtr(samples - 2, -correlation * np.sqrt((samples - 2) / square))
    return chance
