"""The engine, called as the published pipeline is, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from greenlight.data.windows import practice_windows
from greenlight.errors import UserError
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.chronos2.engine import Chronos2Engine
from greenlight_forecasters.chronos2.predictor import StaticChronos2Pipeline
from greenlight_forecasters.chronos2.published import load_published
from greenlight_forecasters.deploy import accelerate


def series(*sizes):
    generator = torch.Generator().manual_seed(5)
    found = [100 + torch.randn(size, generator=generator).cumsum(-1) for size in sizes]
    found[0][..., :20] = torch.nan
    return found


MIXED = series((40,), (3, 100), (64,), (1, 17))


@pytest.fixture
def pipeline(folder):
    return load_published(folder)


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == torch.float32 and one.shape == other.shape
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_of_prices_it_is_within_a_millionth():
    """2e-7 was found, with the checkpoint that ships."""
    published = load_published(CHECKPOINTS / "chronos-2")
    closes = [torch.tensor(window.context[:, 3]).float() for window in practice_windows(16, 256, 30, 3)]
    predictors = (accelerate(published, mode="eager"), published)
    ours, theirs = (torch.stack(one.predict_quantiles(closes, prediction_length=30)[0]) for one in predictors)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "inputs",
    [MIXED, torch.stack(series((2, 50), (2, 50))), [one.numpy() for one in MIXED], np.stack(series((1, 30), (1, 30)))],
    ids=["list", "tensor", "arrays", "array"],
)
def test_called_as_the_pipeline_is(pipeline, inputs):
    predictor = accelerate(pipeline, mode="eager")
    assert isinstance(predictor, StaticChronos2Pipeline) and predictor.quantiles == pipeline.quantiles
    for ours, theirs in zip(
        predictor.predict_quantiles(inputs, 20, [0.5, 0.1]),
        pipeline.predict_quantiles(inputs, 20, quantile_levels=[0.5, 0.1]),
        strict=True,
    ):
        same(ours, theirs)
    for settings in ({}, {"prediction_length": 7, "context_length": 33, "batch_size": 2}):
        same(predictor.predict(inputs, **settings), pipeline.predict(inputs, **settings))


def long_frame(frequency="h", targets=("target",), lengths=(40, 64), zone=None, start="2024-03-01"):
    """Series of two ids in no order, newest rows among them."""
    generator = np.random.default_rng(3)
    parts = [
        pd.DataFrame(
            {"item_id": name, "timestamp": pd.date_range(start, periods=length, freq=frequency, tz=zone)}
            | {target: 100 + generator.normal(size=length).cumsum() for target in targets}
        )
        for name, length in zip(("b", "a"), lengths, strict=True)
    ]
    return pd.concat(parts).sample(frac=1, random_state=1).reset_index(drop=True)


@pytest.mark.parametrize("frequency, targets, settings", [
    ("h", ("target",), {}),
    ("B", ("target",), {"quantile_levels": [0.9, 0.1], "context_length": 33}),
    ("MS", ("open", "close"), {"target": ["open", "close"]}),
    ("D", ("target",), {"freq": "D", "batch_size": 1}),
])  # fmt: skip
def test_a_data_frame_is_forecast_as_the_pipeline_does(pipeline, frequency, targets, settings):
    frame = long_frame(frequency, targets)
    ours = accelerate(pipeline, mode="eager").predict_df(frame, prediction_length=7, **settings)
    theirs = pipeline.predict_df(frame, prediction_length=7, **settings)
    assert ours.columns.tolist() == theirs.columns.tolist() and len(ours) == len(theirs)
    for name in ("item_id", "timestamp", "target_name"):
        assert ours[name].tolist() == theirs[name].tolist(), name
    numbers = ours.columns[3:]
    assert np.allclose(ours[numbers], theirs[numbers], rtol=1e-5, atol=0)


@pytest.mark.parametrize("change, words", [
    (lambda frame: {"df": frame.assign(volume=1.0)}, r"\['volume'\] would be covariates"),
    (lambda frame: {"df": frame, "future_df": frame}, "future_df can't be honoured"),
    (lambda frame: {"df": frame, "cross_learning": True}, "cross_learning can't be honoured"),
    (lambda frame: {"df": frame, "target": "close"}, r"has no columns \['close'\]"),
    (lambda frame: {"df": frame[frame["timestamp"] != "2024-03-01 05:00"]}, "one regular frequency"),
    (lambda frame: {"df": frame.assign(target="x")}, "expected numbers"),
])  # fmt: skip
def test_data_frames_that_can_not_be_honoured_are_refused(pipeline, change, words):
    with pytest.raises((UserError, ValueError), match=words):
        accelerate(pipeline, mode="eager").predict_df(**change(long_frame()), prediction_length=3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: p.predict_quantiles(MIXED, 20, [0.33]), r"\[0\.33\] are not among"),
        (lambda p: p.predict(MIXED, 20, cross_learning=True), "cross_learning can't be honoured"),
        (lambda p: p.predict([{"target": MIXED[0]}], 20), "covariates can't be honoured"),
        (lambda p: p.predict(MIXED, 1025), "1 to 1024 rows"),
    ],
)
def test_what_the_engine_does_not_do_is_refused(pipeline, call, words):
    with pytest.raises(UserError, match=words):
        call(accelerate(pipeline, mode="eager"))


def test_weights_in_bfloat16_are_refused(pipeline):
    pipeline.model.bfloat16()
    with pytest.raises(UserError, match=r"weights are torch\.bfloat16"):
        accelerate(pipeline)


def test_a_model_that_changes_afterwards_is_told(pipeline):
    predictor = accelerate(pipeline, mode="eager")
    predictor.predict(MIXED, 5)
    with torch.no_grad():
        pipeline.model.shared.weight.mul_(2)
    with pytest.raises(UserError, match=r"pipeline\.model\.shared\.weight was written to"):
        predictor.predict(MIXED, 5)


def test_a_shape_that_was_not_warmed(folder):
    engine = Chronos2Engine.from_checkpoint(folder)
    engine.compile("default")
    predictor = StaticChronos2Pipeline(engine, policy="refuse")
    with pytest.raises(UserError, match="1 series, contexts to 128 rows, horizons to 48"):
        predictor.predict(series((40,)), 20)
    eager = StaticChronos2Pipeline(engine, policy="eager")
    with pytest.warns(UserWarning, match="not compiled"):
        eager.predict(series((40,)), 20)
    assert engine.buckets
    engine.forget_uncompiled()
    assert not engine.buckets
