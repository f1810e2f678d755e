"""How production calls: the shapes of a sweep, and errors that a user can act on."""

from __future__ import annotations

import pytest

from greenlight.errors import UserError
from greenlight.settings import load_settings
from greenlight.trials.call_settings import CallSettings, Shape

OWN = Shape(96, 16, 2, 20)


def settings(**call):
    config = {"models": {"toto": {}}, "evaluation": {"call": call}}
    return load_settings(config, ["gate.yaml"]).evaluation.call


def test_by_default_two_threads_call_and_no_other_shape_is_asked_for():
    call = settings()
    assert (call.shapes.every(OWN), call.concurrency, call.calls, call.asked) == ([], 2, 0, False)
    assert settings(calls=30).asked and not settings(concurrency=4).asked


def test_every_context_with_every_batch_and_the_run_s_own_for_the_rest():
    call = settings(shapes={"contexts": [64, 128], "batches": [1, 8]})
    assert call.asked
    assert [str(shape) for shape in call.shapes.every(OWN)] == [
        "context 64, horizon 16, batch 1, 20 samples",
        "context 128, horizon 16, batch 1, 20 samples",
        "context 64, horizon 16, batch 8, 20 samples",
        "context 128, horizon 16, batch 8, 20 samples",
    ]


def test_samples_up_to_thousands():
    assert CallSettings(shapes={"samples": [192, 4096]}).shapes.every(OWN)[-1] == Shape(96, 16, 2, 4096)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"shapes": {"contexts": [0]}}, "evaluation.call.shapes.contexts: 0 is no size"),
        ({"shapes": {"contexts": [1]}}, "evaluation.call.shapes.contexts: 1 is too few; expected 2 at least"),
        ({"shapes": {"batches": [4, 4]}}, "evaluation.call.shapes.batches: names a size twice"),
        ({"shapes": {"horizon": [4]}}, "evaluation.call.shapes.horizon: unknown key"),
        (
            {"shapes": {"contexts": list(range(2, 42)), "horizons": list(range(1, 41))}},
            "evaluation.call.shapes: make 1600 shapes",
        ),
        ({"concurrency": 0}, "evaluation.call.concurrency: "),
        ({"calls": 10}, "evaluation.call.calls: 10 calls show no growth and no drift; expected 0 (no soak) or"),
        ({"thread": 2}, "evaluation.call.thread: unknown key"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(call, words):
    with pytest.raises(UserError) as error:
        settings(**call)
    assert words in str(error.value)


def test_a_trimmed_mean_leaves_something_out():
    config = {"models": {"toto": {}}, "evaluation": {"samples": 8, "call": {"point": "trimmed-mean"}}}
    with pytest.raises(UserError, match=r"trim 0\.1 of evaluation\.samples 8 leaves out no sample path"):
        load_settings(config, [])
    config["evaluation"]["samples"] = 10
    assert load_settings(config, []).evaluation.call.point_forecast == "trimmed-mean 0.1"
