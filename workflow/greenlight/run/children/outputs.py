"""Whether what a forecaster returned can be a forecast, for the children that keep or time it."""

from __future__ import annotations

import numpy as np

from greenlight.data.windows import Window
from greenlight.measures.forecasts import problem_with
from greenlight.run.children.common import Request


def problem_of(request: Request, output: np.ndarray, windows: list[Window]) -> str:
    """Why what a forecaster of the request's model returned can't be a forecast, in words; empty where it can."""
    return problem_with(output, windows, request["samples"], request["levels"], request["crossing"])
