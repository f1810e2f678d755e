"""Kronos in reduced precisions: logits for the same tokens, and comparisons by distribution only."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.api import LoadOptions
from greenlight.data.windows import practice_windows
from greenlight.judgement.expected import ExpectedVariant, Pairing, pairing
from greenlight.plugins import model_of
from greenlight.process import ProcessSettings
from greenlight.settings import load_settings
from greenlight_forecasters.kronos.upstream import KronosUpstream


def probe(dtype="float32", **process):
    forecaster = KronosUpstream.load(LoadOptions("embedded", dtype=dtype))
    with ProcessSettings(**process).calling("cpu"):
        return forecaster.probe(practice_windows(2, 32, 4, seed=3))


def test_logits_are_those_of_the_same_tokens():
    """Where the truth were tokenised in the reduced precision too, logits would be apart by as much as they vary."""
    exact = probe()
    for found in (probe("bfloat16"), probe("float16"), probe(autocast="bfloat16"), probe(autocast="float16")):
        for name in ("s1_logits", "s2_logits"):
            apart = np.sqrt(np.mean((found[name] - exact[name]) ** 2) / np.mean(exact[name] ** 2))
            assert 1e-6 < apart < 0.03, name


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_forecasts_in_it_are_prices(dtype):
    forecaster = KronosUpstream.load(LoadOptions("embedded", dtype=dtype))
    windows = practice_windows(2, 32, 4, seed=3)
    found = forecaster.forecast(windows, 6, 3)
    assert found.shape == (2, 6, 4) and np.isfinite(found).all()
    close = np.array([window.context[-1, 3] for window in windows])[:, None, None]
    assert (np.abs(found / close - 1) < 0.5).all()


def test_a_reduced_variant_has_no_pair_and_is_held_against_the_reference():
    model, names = model_of("kronos"), ("upstream-eager", "upstream-eager-bf16", "static-default-autocast-fp16")
    config = {"models": {"kronos": {"variants": list(names)}}}
    settings = load_settings(config, []).models.kronos
    assert [model.draws_alone(settings, name) for name in names] == [False, True, True]
    assert not model.draws_alike(settings, names[1], names[0]) and model.draws_alike(settings, names[1], names[1])
    assert model.draws_alike(settings, "static-default", "upstream-eager")
    known = {name: ExpectedVariant(jobs={}, alone=model.draws_alone(settings, name)) for name in names}
    assert pairing(names[0], known, names[1]) == pairing(names[0], known, names[2]) == Pairing(None, True)
    # Toto draws no tokens: rounding moves its paths, and they are held to its own in float32 one by one.
    toto = model_of("toto")
    assert not toto.draws_alone(toto.settings(), "upstream-eager-autocast-bf16")
