"""Errors of forecasts as returns, row over row, where a model was given returns (`data.returns`)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.returns import returns_between
from greenlight.measures.points import point_of

ERROR, SIZE = "return_error", "return_size"
RETURN_METRICS = {"returns_mae": ERROR, "returns_naive_mae": SIZE}
"""Means over a window's steps: of the error of the point forecast, and of what a price that stays would miss."""


def with_returns(forecasts: pa.Table, last: np.ndarray, kind: str, point: str) -> pa.Table:
    """A table of forecasts of prices with the columns `return_error` and `return_size`.

    Each sample path has a return from step to step, the first over the last price of the context. The point forecast
    of a step's return is that of these (`measures.points`).

    Args:
        forecasts: any order of rows; of a window without some of its steps the columns mean nothing.
        last: [rows] the last price of the context of each row's window.
    """
    window, step = (forecasts.column(name).to_numpy() for name in ("window", "step"))
    code = pc.rank(forecasts.column("symbol"), tiebreaker="dense").to_numpy()
    order = np.lexsort((step, window, code))
    paths = forecasts.column("samples").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    paths = paths.astype(np.float64).reshape(len(forecasts), -1)[order]
    actual, first = forecasts.column("actual").to_numpy()[order], (step == 1)[order]
    began = np.asarray(last, dtype=np.float64)[order]
    returns, outcome = (
        returns_between(rows, np.where(first.reshape(at), began.reshape(at), np.roll(rows, 1, axis=0)), kind)
        for rows, at in ((paths, (-1, 1)), (actual, (-1,)))
    )
    error, size = np.empty(len(order)), np.empty(len(order))
    error[order] = np.abs(outcome - point_of(returns, point))
    size[order] = np.abs(outcome)
    return forecasts.append_column(ERROR, pa.array(error)).append_column(SIZE, pa.array(size))
