"""The published numbers, computed by the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from greenlight.data.windows import window_seed
from greenlight_forecasters.kronos import layers
from greenlight_forecasters.kronos.candles import prepare
from greenlight_forecasters.kronos.config import FEATURES, Settings
from greenlight_forecasters.kronos.sampling import Sampling, draw, fill_noise, probabilities
from greenlight_forecasters.kronos.upstream import KronosUpstream

LOGITS = 2e-5
# The published code computes RMSNorm in float32 even after .double().
FLOAT64_FLOOR = 2e-6


def test_candles_are_normalised_and_stamped_as_published(golden):
    candles = prepare([golden.window()])
    assert np.array_equal(candles.values[0], golden["case.normalised"].numpy())
    assert np.array_equal(candles.stamps[0], golden["case.stamps"].numpy()[:64])


def test_tokens_are_the_published_ones(golden):
    s1, s2 = golden.tokenizer().encode(golden["case.normalised"][None])
    assert torch.equal(s1, golden["tokens.s1"])
    assert torch.equal(s2, golden["tokens.s2"])
    bits = golden.metadata["tokenizer_config"]["s1_bits"]
    assert torch.equal(s1 | (s2 << bits), golden["tokenizer.joint_index"])


@torch.no_grad()
def test_the_tokenizer_decodes_and_reconstructs_as_published(golden):
    tokenizer = golden.tokenizer()
    coarse, full, _ = tokenizer(golden["case.normalised"][None])
    torch.testing.assert_close(coarse, golden["tokenizer.reconstruction_pre"], rtol=0, atol=LOGITS)
    torch.testing.assert_close(full, golden["tokenizer.reconstruction"], rtol=0, atol=LOGITS)
    decoded = tokenizer.decode(golden["tokens.s1"], golden["tokens.s2"])
    torch.testing.assert_close(decoded, golden["tokenizer.decoded"], rtol=0, atol=LOGITS)


@torch.no_grad()
@pytest.mark.parametrize(
    ("dtype", "prefix", "limit"), [(torch.float32, "logits", LOGITS), (torch.float64, "float64", FLOAT64_FLOOR)]
)
def test_logits_are_the_published_ones(golden, dtype, prefix, limit):
    network = golden.network().to(dtype)
    stamps = golden["case.stamps"][None, :48].long()
    s1, hidden = network.decode_s1(golden["tokens.s1"], golden["tokens.s2"], stamps)
    torch.testing.assert_close(s1, golden[f"{prefix}.s1"], rtol=0, atol=limit)
    if dtype == torch.float32:
        torch.testing.assert_close(hidden, golden["logits.context"], rtol=0, atol=limit)
    s2 = network.decode_s2(hidden, golden["logits.s1_pick"])
    torch.testing.assert_close(s2[:, -1], golden[f"{prefix}.s2_given_pick"][:, -1], rtol=0, atol=limit)


@torch.no_grad()
def test_float64_logits_are_the_published_ones_but_for_its_norms(golden, monkeypatch):
    """The published code computes its norms in float32; with such norms all else in float64 is equal to 1e-12."""
    network = golden.network().double()
    normalised = layers.normalised
    monkeypatch.setattr(layers, "normalised", lambda x: normalised(x.float()).double())
    stamps = golden["case.stamps"][None, :48].long()
    s1, hidden = network.decode_s1(golden["tokens.s1"], golden["tokens.s2"], stamps)
    torch.testing.assert_close(s1, golden["float64.s1"], rtol=0, atol=1e-12)
    s2 = network.decode_s2(hidden, golden["logits.s1_pick"])
    torch.testing.assert_close(s2[:, -1], golden["float64.s2_given_pick"][:, -1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", range(7))
def test_filtered_probabilities_are_the_published_ones(golden, case):
    found = probabilities(golden["filter.logits"], Sampling(**golden.metadata[f"filter.{case}"]))
    expected = golden[f"filter.probs.{case}"]
    assert torch.equal(found > 0, expected > 0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("regime", ["growing", "rolling", "crossing", "truncated"])
def test_greedy_forecasts_are_the_published_ones(golden, regime):
    settings = Settings(max_context=golden.metadata[f"greedy.{regime}.max_context"], top_k=1)
    forecaster = KronosUpstream(golden.network(), golden.tokenizer(), settings)
    found = forecaster.paths(golden.window(), samples=1, seed=0)[0, 0]
    expected = golden[f"greedy.{regime}"].numpy()
    scale = np.abs(expected).max(axis=0)
    for column, feature in enumerate(FEATURES):
        np.testing.assert_allclose(
            found[:, column], expected[:, column], rtol=0, atol=1e-6 * scale[column], err_msg=feature
        )


def test_the_race_draws_what_multinomial_draws():
    weights = torch.rand(64, 1024, generator=torch.Generator().manual_seed(3)).softmax(-1)
    drawn = torch.multinomial(weights, 1, generator=torch.Generator().manual_seed(7)).squeeze(1)
    noise = torch.empty_like(weights).exponential_(generator=torch.Generator().manual_seed(7))
    assert torch.equal(draw(weights, noise), drawn)


def test_a_windows_noise_is_its_generators_exponential_numbers(walk):
    """As `exponential_` gives them step by step, over more numbers than are made at once, but for a last bit."""
    windows = [walk(symbol, 8, 4) for symbol in ("A", "B")]
    noise = torch.full((2, 5, 20_000), -1.0)
    fill_noise(noise[:, :4], windows, 3)
    for row, window in zip(noise, windows, strict=True):
        generator = torch.Generator().manual_seed(window_seed(3, window))
        expected = [torch.empty(20_000).exponential_(generator=generator) for _ in range(4)]
        torch.testing.assert_close(row[:4], torch.stack(expected), rtol=2e-7, atol=0)
        assert (row[4] == -1.0).all()
