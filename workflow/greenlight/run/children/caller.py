"""Calls a variant in a shape, with windows that need no prices, and looks at what torch.compile does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from greenlight.api import Forecaster
from greenlight.data.windows import Window
from greenlight.measures.forecasts import problem_with
from greenlight.measures.paths import PathDifferences, compare_paths
from greenlight.run.children.common import Request, made_windows
from greenlight.trials.call_settings import Shape
from greenlight.trials.kinds import InvalidOutput
from greenlight.watch.health import HealthRecorder


class CallFailed(Exception):
    """A call in some shape raised; the message names the shape, the cause is what was raised."""


class Caller:
    """Calls the variant, and says what torch.compile did meanwhile."""

    def __init__(self, request: Request, variant: Forecaster, recorder: HealthRecorder) -> None:
        self.request, self.variant, self.recorder = request, variant, recorder

    def watched(self, what: str, call: Callable[[], np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
        """What a call gave, and its seconds, frames compiled and compiled graphs run; InvalidOutput names `what`."""
        self.recorder.end_of_warm_up()
        began = time.perf_counter()
        try:
            output = np.array(call())
        except Exception as error:
            raise CallFailed(f"{what}: {type(error).__name__}: {error}") from error
        seconds = time.perf_counter() - began
        seen = self.recorder.record()
        return output, {
            "seconds": seconds,
            "compiled": seen["compilations_after_warm_up"],
            "graphs_run": seen["calls"]["after_warm_up"],
            "guard": seen["recompiles"][-1]["guard"] if seen["recompiles"] else "",
        }

    def in_shape(self, shape: Shape) -> tuple[np.ndarray, dict[str, Any]]:
        """A watched call in a shape."""
        windows = windows_in(shape, self.request)
        output, seen = self.watched(
            str(shape), lambda: self.variant.forecast(windows, shape.samples, self.request["seed"])
        )
        self.check(str(shape), output, windows, shape.samples)
        return output, seen

    def check(self, what: str, output: np.ndarray, windows: list[Window], samples: int) -> None:
        """InvalidOutput where what a call gave can't be a forecast."""
        if problem := problem_with(output, windows, samples, self.request["levels"], self.request["crossing"]):
            raise InvalidOutput(f"{what}: {problem}")


def windows_in(shape: Shape, request: Request, group: int = 0) -> list[Window]:
    """The windows of a call: other ones for each group."""
    return made_windows(request, shape.batch, shape.context, shape.horizon, request["seed"] + group)


def differences(output: np.ndarray, expected: np.ndarray, windows: list[Window]) -> PathDifferences:
    """Of the paths of a call from those that were expected of it."""
    low, high = np.quantile(expected, [0.1, 0.9], axis=1)
    price = np.array([abs(float(window.known[-1])) for window in windows])
    return compare_paths(output, expected, (high - low).mean(axis=1), price)
