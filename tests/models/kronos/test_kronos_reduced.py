"""Kronos in reduced precisions: logits for the same tokens, and comparisons by distribution only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from greenlight.api import LoadOptions
from greenlight.data.windows import practice_windows
from greenlight.judgement.expected import ExpectedVariant, Pairing, pairing
from greenlight.plugins import model_of
from greenlight.process import ProcessSettings
from greenlight.settings import load_settings
from greenlight_forecasters.kronos.sampling import Filter, Sampling
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.upstream import KronosUpstream

KINDS = pytest.mark.parametrize("kind", [KronosUpstream, KronosStatic])


def probe(kind, dtype="float32", **process):
    forecaster = kind.load(LoadOptions("embedded", dtype=dtype))
    with ProcessSettings(**process).calling("cpu"):
        return forecaster.probe(practice_windows(2, 32, 4, seed=3))


@KINDS
def test_logits_are_those_of_the_same_tokens(kind):
    """Where the truth were tokenised in the reduced precision too, logits would be apart by as much as they vary."""
    exact = probe(KronosUpstream)
    found = [probe(kind, "bfloat16"), probe(kind, "float16")]
    if kind is KronosUpstream:  # a static engine leaves autocast for its own calls
        found += [probe(kind, autocast="bfloat16"), probe(kind, autocast="float16")]
    for each in found:
        for name in ("s1_logits", "s2_logits"):
            apart = np.sqrt(np.mean((each[name] - exact[name]) ** 2) / np.mean(exact[name] ** 2))
            assert 1e-6 < apart < 0.03, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sampling", [Sampling(1.1, 0, 0.98), Sampling(0.7, 0, 0.5), Sampling(1.3, 5, 0.9)])
def test_static_draws_from_reduced_logits_with_float32_probabilities(dtype, sampling):
    logits = (3 * torch.randn(50, 128, generator=torch.Generator().manual_seed(1))).to(dtype)
    found = Filter(sampling, torch.device("cpu"), dtype)(logits)
    assert found.dtype == torch.float32
    scaled = logits.float() / sampling.temperature
    above = scaled.unsqueeze(-2) > scaled.unsqueeze(-1)
    weight, limit = above.float(), sampling.top_k - 0.5
    if not sampling.top_k:
        weight, limit = above * scaled.softmax(-1).unsqueeze(-2), sampling.top_p
    kept = weight.sum(-1) <= limit  # of equal logits, which are many in so few digits, all are kept or none
    assert 1 < kept.sum(-1).float().mean() < 128
    torch.testing.assert_close(found, scaled.masked_fill(~kept, -torch.inf).softmax(-1), rtol=1e-5, atol=1e-7)


@KINDS
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_forecasts_in_it_are_prices(dtype, kind):
    forecaster = kind.load(LoadOptions("embedded", dtype=dtype))
    windows = practice_windows(2, 32, 4, seed=3)
    found = forecaster.forecast(windows, 6, 3)
    assert found.shape == (2, 6, 4) and np.isfinite(found).all()
    close = np.array([window.context[-1, 3] for window in windows])[:, None, None]
    assert (np.abs(found / close - 1) < 0.5).all()


def test_a_reduced_variant_has_no_pair_and_is_held_against_the_reference():
    model = model_of("kronos")
    names = ("upstream-eager", "upstream-eager-bf16", "static-default-autocast-fp16", "static-default-fp16")
    config = {"models": {"kronos": {"variants": list(names)}}}
    settings = load_settings(config, []).models.kronos
    assert [model.draws_alone(settings, name) for name in names] == [False, True, True, True]
    assert not model.draws_alike(settings, names[1], names[0]) and model.draws_alike(settings, names[1], names[1])
    assert model.draws_alike(settings, "static-default", "upstream-eager")
    known = {name: ExpectedVariant(jobs={}, alone=model.draws_alone(settings, name)) for name in names}
    assert all(pairing(names[0], known, name) == Pairing(None, True) for name in names[1:])
    # Toto draws no tokens: rounding moves its paths, and they are held to its own in float32 one by one.
    toto = model_of("toto")
    assert not toto.draws_alone(toto.settings(), "upstream-eager-autocast-bf16")
