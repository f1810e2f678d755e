"""Make the golden forecasts that ship beside the checkpoints: python -m tools.golden [model ...]

Only after a change that is meant to move forecasts: the file says what the code gave then, and the check
`golden-forecasts` holds every later run to it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.data.series import series_arrays
from greenlight.data.windows import FEATURES, Window, cut_windows
from greenlight.measures.golden import Golden, thinned, write_golden
from greenlight.plugins import load_forecaster, model_of
from greenlight.run.children.golden import shipped_options
from greenlight.weights import GOLDEN

# Of different prices and steps of time; the volume of the last is made unknown.
SYMBOLS = ("GOOG", "SIM_TINY", "SIM_HOURLY", "SIM_JUMPS")
# The same once more, on the clock of an exchange in another time zone and with amounts that are not volume times price.
ON_AN_EXCHANGE = ("GOOG", "SIM_HOURLY")
BEHIND = np.timedelta64(5, "h")
WINDOWS, CONTEXT, HORIZON, SAMPLES, SEED = 2, 96, 16, 8, 20260101
SETTINGS: dict[str, dict[str, Any]] = {
    "toto": {"samples_per_batch": 8},
    "kronos": {"temperature": 1.1, "top_k": 0, "top_p": 0.98, "max_context": 512},
    "chronos-2": {"beside": [], "attention": "sdpa"},
}


def golden_windows(folder: Path) -> list[Window]:
    """The last windows of a few shipped symbols."""
    windows = []
    for symbol in SYMBOLS:
        times, values, *_ = series_arrays(read_series(folder / f"{symbol}.csv", RepairRules()).frame)
        if symbol == SYMBOLS[-1]:
            values[:, FEATURES.index("volume")] = np.nan
        windows += cut_windows(symbol, times, values, context_length=CONTEXT, horizon=HORIZON, count=WINDOWS)
    return windows + [_on_an_exchange(window) for window in windows if window.symbol in ON_AN_EXCHANGE]


def _on_an_exchange(window: Window) -> Window:
    rows = np.concatenate((window.context, window.future))
    amount = rows[:, FEATURES.index("volume")] * rows[:, 0] * np.linspace(0.5, 2.0, len(rows))
    name = f"{window.symbol}@EXCHANGE"
    return replace(window, symbol=name, wall=window.timestamps - BEHIND, amount=amount)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(SETTINGS))
    parser.add_argument("--prices", type=Path, default=Path("trainingdata"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    windows = golden_windows(arguments.prices)
    for model in arguments.models:
        found = model_of(model)
        options = shipped_options(model, None, SETTINGS[model])
        forecasters = {name: load_forecaster(model, name, options) for name in found.implementations}
        paths = {name: one.forecast(windows, SAMPLES, SEED) for name, one in forecasters.items()}
        numerics = {name: thinned(one.probe(windows)) for name, one in forecasters.items()}
        path = found.checkpoints["model"] / GOLDEN
        write_golden(path, Golden(windows, SAMPLES, SEED, SETTINGS[model], paths, numerics))
        path.chmod(0o644)
        print(f"{path}: {', '.join(paths)}")


if __name__ == "__main__":
    main()
