"""The published repository's own regression: greedy rows of the real Kronos-small, held against our engine's.

    python -m greenlight_forecasters.kronos.regression /path/to/Kronos/tests/data

The folder is `tests/data` of a clone of github.com/shiyu-coder/Kronos: regression_input.csv, and expected rows for a
context of N rows in regression_output_N.csv. The weights come from the Hugging Face hub or its local cache, at the
commits that the expected rows were made with; or from folders (`--model`, `--tokenizer`). A line a context; the exit
code is 0 only if all rows agree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from greenlight.api import LoadOptions, UserError
from greenlight_forecasters.kronos.config import FEATURES
from greenlight_forecasters.kronos.static import KronosStatic

MODEL = ("NeoQuasar/Kronos-small", "901c26c1332695a2a8f243eb2f37243a37bea320")
TOKENIZER = ("NeoQuasar/Kronos-Tokenizer-base", "0e0117387f39004a9016484a186a908917e22426")
# As the published test has it.
TOLERANCE = 1e-5
_MAX_CONTEXT = 512


def regression(folder: Path, predictor: Any) -> dict[int, float]:
    """By context, the largest difference from the expected rows, relative to them.

    Args:
        predictor: has the published `predict`.

    Raises:
        UserError: files that are missing or are not those of the published test.
    """
    files = sorted(folder.glob("regression_output_*.csv"))
    if not files or not (folder / "regression_input.csv").is_file():
        raise UserError(
            f"{folder}: expected regression_input.csv and regression_output_<context>.csv, as in tests/data of a clone "
            "of github.com/shiyu-coder/Kronos"
        )
    rows = pd.read_csv(folder / "regression_input.csv", parse_dates=["timestamps"])
    found = {}
    for file in files:
        context, expected = int(file.stem.rpartition("_")[2]), pd.read_csv(file)
        horizon = len(expected)
        if len(rows) < context + horizon or not {*FEATURES} <= {*rows.columns} & {*expected.columns}:
            raise UserError(f"{file}: does not fit regression_input.csv beside it; copy the folder again")
        times = rows["timestamps"]
        forecast = predictor.predict(
            rows.loc[: context - 1, [*FEATURES]], times[:context], times[context : context + horizon], horizon,
            T=1.0, top_k=1, top_p=1.0, sample_count=1, verbose=False,
        )  # fmt: skip
        known = expected[[*FEATURES]].to_numpy(dtype=np.float32)
        found[context] = float(np.max(np.abs(forecast.to_numpy() - known) / np.abs(known)))
    return found


def main(arguments: list[str]) -> int:
    """Run the regression; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m greenlight_forecasters.kronos.regression")
    parser.add_argument("folder", type=Path, help="tests/data of a clone of github.com/shiyu-coder/Kronos")
    parser.add_argument("--model", help="a folder with the weights of Kronos-small, in place of the hub's")
    parser.add_argument("--tokenizer", help="a folder with the weights of its tokenizer, in place of the hub's")
    chosen = parser.parse_args(arguments)
    model, tokenizer = (
        (one, None) if one else hub for one, hub in ((chosen.model, MODEL), (chosen.tokenizer, TOKENIZER))
    )
    settings = {"tokenizer": tokenizer[0], "tokenizer_revision": tokenizer[1], "max_context": _MAX_CONTEXT}
    try:
        predictor = KronosStatic.load(LoadOptions(model[0], model[1], settings=settings)).predictor()
        found = regression(chosen.folder, predictor)
    except UserError as error:
        print(f"not run: {error}")
        return 2
    for context, difference in found.items():
        agrees = difference <= TOLERANCE
        print(f"{'agrees' if agrees else 'DIFFERS'}: context {context}, largest relative difference {difference:.1e}")
    return 0 if all(difference <= TOLERANCE for difference in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
