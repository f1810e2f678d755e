"""Does production's predictor give what the gate judges? With the random numbers of `forecast`, in all columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from greenlight.api import FEATURES, Window, same_shape
from greenlight_forecasters.kronos.sampling import fill_noise, noise_size

_COLUMNS = (*FEATURES, "amount")
_VOLUME = FEATURES.index("volume")


def served(
    forecaster: Any, windows: Sequence[Window], samples: int, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By column (found, expected): paths [windows, samples, horizon] of the predictor, called for all windows at once,
    and of `forecast`; then the means that `predict_batch` gives, [windows, 1, horizon].

    Raises:
        ValueError: frames that are not as published: their columns, index or number format, or those given changed.
    """
    context, horizon = same_shape(windows)
    windows = [replace(window, settings=()) for window in windows]
    predictor, sampling = forecaster.predictor(), forecaster.sampling
    noise = torch.empty(len(windows), horizon, noise_size(samples, forecaster.classes), device=forecaster.device)
    fill_noise(noise, windows, seed)
    predictor.numbers = lambda *counts: noise.clone()
    frames = [_frame(window) for window in windows]
    given = [frame.copy() for frame in frames]
    times = [pd.Series(window.calendar) for window in windows]
    before, after = ([each[part] for each in times] for part in (slice(context), slice(context, None)))
    asked = (frames, before, after, horizon, sampling.temperature, sampling.top_k, sampling.top_p, samples)
    paths, means = np.stack(predictor.paths_batch(*asked)), predictor.predict_batch(*asked)
    for frame, mean, wanted, own in zip(frames, means, after, given, strict=True):
        if not frame.equals(own):
            raise ValueError("the predictor changes the frame that it is given")
        if tuple(mean.columns) != _COLUMNS or not (mean.dtypes == np.float32).all():
            raise ValueError(f"the predictor returns {dict(mean.dtypes)}; expected {_COLUMNS} in float32")
        if not mean.index.equals(pd.Index(wanted)):
            raise ValueError("the index of what the predictor returns is not y_timestamp")
    found, columns = {}, forecaster.columns(windows, samples, seed)
    for number, name in enumerate(_COLUMNS):
        expected = columns[..., number]
        found[name] = (paths[..., number], expected)
        mean = np.stack([frame[name].to_numpy() for frame in means])[:, None]
        found[f"the mean of {name}"] = (mean, expected.mean(axis=1, keepdims=True))
    return found


def _frame(window: Window) -> pd.DataFrame:
    """The context as production has it; without the volume where some of it is unknown, which is how it is forecast."""
    frame = pd.DataFrame(window.context, columns=list(FEATURES))
    if np.isnan(window.context[:, _VOLUME]).any():
        return frame.drop(columns="volume")
    if window.amount is not None:
        made = frame["volume"] * frame[list(FEATURES[:_VOLUME])].mean(axis=1)
        amount = window.amount[: window.context_length]
        frame["amount"] = np.where(np.isnan(amount), made, amount)
    return frame
