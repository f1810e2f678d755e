"""How often `history` shows a step where nothing changed, and how often it finds one of a given size.

    python -m tools.history_steps

Simulated pages of series, as `report/history.py` splits its rate; results stand in workflow/docs/history.md.
"""

from __future__ import annotations

import argparse

import numpy as np

from greenlight.report.history import FALSE_ALARMS
from greenlight.statistics.steps import find_levels

SERIES, NOISE, SMALLEST = 40, 0.03, 0.03


def noise(rng: np.random.Generator, runs: int, kind: str) -> np.ndarray:
    """[runs] logs of measured values: normal, heavy tails (t with 2 degrees), or each run like the one before."""
    if kind == "heavy tails":
        return NOISE * rng.standard_t(2, runs)
    values = NOISE * rng.standard_normal(runs + 50)
    if kind == "correlated 0.3":
        for place in range(1, len(values)):
            values[place] += 0.3 * values[place - 1]
    return values[50:]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=200)
    pages, rng, rate = parser.parse_args().pages, np.random.default_rng(20260101), FALSE_ALARMS / SERIES
    print(f"pages of {SERIES} series without a change that show any step, of {pages}")
    for kind in ("normal", "heavy tails", "correlated 0.3"):
        for runs in (20, 60):
            alarms = sum(
                any(len(find_levels(np.exp(noise(rng, runs, kind)), rate, SMALLEST)) > 1 for _ in range(SERIES))
                for _ in range(pages)
            )
            print(f"  {kind}, {runs} runs: {alarms} ({100 * alarms / pages:.1f}%)", flush=True)
    print(
        f"a slowdown of 8% in noise of {100 * NOISE:g}%, at the rate of one of {SERIES} series: found, at the right run"
    )
    for before, after in ((10, 5), (10, 10), (20, 10), (50, 10)):
        found = exact = 0
        for _ in range(pages):
            values = noise(rng, before + after, "normal")
            values[before:] += np.log(1.08)
            steps = [level.start for level in find_levels(np.exp(values), rate, SMALLEST)[1:]]
            found += bool(steps)
            exact += before in steps
        print(
            f"  {before} runs before, {after} after: {100 * found / pages:.0f}%, {100 * exact / pages:.0f}%", flush=True
        )


if __name__ == "__main__":
    main()
