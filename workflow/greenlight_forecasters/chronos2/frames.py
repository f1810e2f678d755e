"""Series in a long data frame, a row a time, and forecasts as one, as the published pipeline takes and gives them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from greenlight.api import UserError


class LongFrame:
    """The series of a data frame, in the order in which their ids appear.

    Args:
        frame: a row a time: a column of ids, one of times, and the targets.
        ids, times, targets: names of its columns.
        frequency: of the times, as pandas writes it; None infers it from the series.

    Attributes:
        series: [targets, length] float32 of each, in order of time.

    Raises:
        UserError: further columns, which would be covariates.
        ValueError: a column that is missing or has no numbers, or times without one frequency.
    """

    def __init__(
        self, frame: pd.DataFrame, ids: str, times: str, targets: Sequence[str], frequency: str | None = None
    ) -> None:
        wanted = [ids, times, *targets]
        if missing := [name for name in wanted if name not in frame.columns]:
            raise ValueError(f"the frame has no columns {missing}; expected {wanted}")
        if others := [str(name) for name in frame.columns if name not in wanted]:
            raise UserError(
                f"the columns {others} would be covariates, which can't be honoured by the static engine; pass "
                f"df[{wanted}], or call the published pipeline"
            )
        for name in targets:
            if not pd.api.types.is_numeric_dtype(frame[name]):
                raise ValueError(f"the target {name!r} is {frame[name].dtype}; expected numbers")
        self._names, self._targets = (ids, times), list(targets)
        moments = pd.DatetimeIndex(pd.to_datetime(frame[times]))
        codes, own = pd.factorize(frame[ids])
        order = np.lexsort([moments.asi8, codes])
        ends = np.cumsum(np.bincount(codes, minlength=len(own)))[:-1]
        values = frame[self._targets].to_numpy(dtype=np.float32)[order].T
        self.series = np.split(values, ends, axis=1)
        self._ids, self._moments = own, [moments[part] for part in np.split(order, ends)]
        self._offset = pd.tseries.frequencies.to_offset(frequency or self._frequency())

    def _frequency(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas 4 gives an offset, which serves as well
            found = {pd.infer_freq(moments) for moments in self._moments if len(moments) >= 3}
        if len(found) != 1 or None in found:
            said = ", ".join(sorted(map(str, found))) or "no series of three rows"
            raise ValueError(f"the series need one regular frequency, found {said}; pass it as freq")
        return found.pop()

    def forecasts(self, quantiles: Sequence[Tensor], points: Sequence[Tensor], levels: Sequence[float]) -> pd.DataFrame:
        """Forecasts [targets, horizon, levels] and [targets, horizon] of each series as rows of a frame.

        Its columns are the ids', the times', `target_name`, `predictions`, and one a level, by its number as text.
        """
        ids, times = self._names
        horizon = points[0].shape[1]
        parts = []
        for own, moments, quantile, point in zip(self._ids, self._moments, quantiles, points, strict=True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", pd.errors.PerformanceWarning)  # of business days
                future = [moments[-1] + step * self._offset for step in range(1, horizon + 1)]
            for target, rows, row in zip(self._targets, quantile.numpy(), point.numpy(), strict=True):
                columns = {ids: own, times: pd.DatetimeIndex(future), "target_name": target, "predictions": row}
                parts.append(pd.DataFrame(columns | {str(level): rows[:, at] for at, level in enumerate(levels)}))
        return pd.concat(parts, ignore_index=True)
