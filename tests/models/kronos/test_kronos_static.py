"""`static` gives what `upstream` gives: the same tokens, the same logits, the same prices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from greenlight.api import CLOSE, LoadOptions
from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.data.series import series_arrays
from greenlight.data.symbols import symbols_in
from greenlight.data.windows import cut_windows
from greenlight.weights import trained_until
from greenlight_forecasters import CHECKPOINTS
from greenlight_forecasters.kronos import static as kronos_static
from greenlight_forecasters.kronos.config import Settings
from greenlight_forecasters.kronos.sampling import Filter, Sampling, probabilities
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.upstream import KronosUpstream

LIMITS = {torch.float32: 2e-5, torch.float64: 1e-12}

# max_context, context, horizon, samples, windows
GROWING = [(64, 40, 8, 4, 3), (64, 1, 5, 1, 1), (64, 10, 1, 2, 1), (160, 20, 120, 1, 2), (64, 33, 4, 9, 5)]
MANY = [(64, 16, 3, 128, 1), (64, 20, 2, 1, 64), (24, 24, 3, 1, 20)]
SLIDING = [(48, 48, 12, 3, 1), (48, 45, 12, 3, 2), (32, 80, 9, 2, 3), (16, 16, 16, 2, 1), (16, 3, 16, 2, 1)]


def assert_same(upstream, static, windows, samples, seed=1):
    """Tokens to the bit, logits within the limit of the dtype, prices as they follow from both."""
    context = windows[0].context_length
    for window in windows:
        expected = upstream.sample(window, samples, seed)
        _, found = static.sample([window], samples, seed)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one[0], other[:, context:])
    limit = LIMITS[upstream.dtype]
    expected, found = upstream.probe(windows), static.probe(windows)
    assert expected.keys() == found.keys() == {"s1_logits", "s2_logits", "s1_token", "s2_token", "candles"}
    assert expected["candles"].shape == (len(windows), windows[0].horizon, 6)
    np.testing.assert_allclose(found["candles"], expected["candles"], rtol=0, atol=limit)
    for name in ("s1_logits", "s2_logits"):
        logits = expected[name]
        assert logits.shape == (len(windows), windows[0].horizon, 32)
        assert np.isfinite(logits).all()
        np.testing.assert_allclose(found[name], logits, rtol=0, atol=limit, err_msg=name)
        assert np.array_equal(expected[name.replace("logits", "token")], logits.argmax(-1))
    paths = static.forecast(windows, samples, seed)
    assert paths.shape == (len(windows), samples, windows[0].horizon)
    assert paths.dtype == np.float64
    np.testing.assert_allclose(paths, upstream.forecast(windows, samples, seed), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("limit", "context", "horizon", "samples", "count"), GROWING + SLIDING + MANY)
def test_static_gives_what_upstream_gives(build, walk, dtype, limit, context, horizon, samples, count):
    settings = {"max_context": limit, "top_p": 0.9}
    windows = [walk(chr(ord("A") + number), context, horizon) for number in range(count)]
    upstream, static = (build(kind, settings, dtype) for kind in (KronosUpstream, KronosStatic))
    assert_same(upstream, static, windows, samples)


@pytest.mark.parametrize("sharpness", [0.01, 8.0])
@pytest.mark.parametrize(
    "sampling",
    [{"top_p": 1.0}, {"top_p": 0.3, "temperature": 0.6}, {"top_k": 3}, {"top_k": 7, "temperature": 1.7}],
    ids=str,
)
@pytest.mark.parametrize("max_context", [64, 32])
def test_flat_and_sharp_distributions_are_drawn_alike(build, walk, sharpness, sampling, max_context):
    settings = {"max_context": max_context, **sampling}
    upstream, static = (build(kind, settings, sharpness=sharpness) for kind in (KronosUpstream, KronosStatic))
    assert_same(upstream, static, [walk("A", 32, 10), walk("B", 32, 10)], samples=4)


@pytest.mark.parametrize(("series", "batch"), [(1, 1), (3, 2), (5, 8), (64, 8)])
def test_how_series_are_batched_changes_nothing(build, walk, series, batch):
    windows = [walk(symbol, 24, 11) for symbol in "ABC"]
    settings = {"max_context": 28, "series_per_batch": series, "windows_per_batch": batch}
    upstream, static = (build(kind, settings) for kind in (KronosUpstream, KronosStatic))
    assert_same(upstream, static, windows, samples=2)


def test_one_decoder_serves_shorter_contexts_and_horizons(build, walk):
    upstream, static = (build(kind, {"max_context": 512, "capacity": 100}) for kind in (KronosUpstream, KronosStatic))
    assert_same(upstream, static, [walk("A", 90, 30)], samples=3)
    decoder = static.decoder
    assert_same(upstream, static, [walk("B", 17, 3)], samples=3)
    assert static.decoder is decoder


def test_the_latest_shapes_are_kept_as_far_as_there_is_room(build, walk, monkeypatch):
    static = build(KronosStatic, {"max_context": 64})
    windows = [walk(symbol) for symbol in "ABCDE"]
    first = static.forecast(windows[:1], samples=2, seed=1)
    decoder = static.decoder
    static.forecast(windows, samples=2, seed=1)
    assert static.decoder is not decoder
    np.testing.assert_array_equal(static.forecast(windows[:1], samples=2, seed=1), first)
    assert static.decoder is decoder, "both are kept"
    estimated, real = static._bytes(decoder.shape), sum(buffer.nbytes for buffer in decoder.buffers())
    weights = sum(buffer.nbytes for buffer in static.weights.buffers())
    assert estimated <= real <= 1.3 * estimated + weights
    monkeypatch.setitem(kronos_static._KEPT_BYTES, "cpu", estimated + 1)
    static.forecast(windows, samples=2, seed=1)
    static.forecast(windows[:2], samples=2, seed=1)
    assert len(static._kept) == 1
    np.testing.assert_array_equal(static.forecast(windows[:1], samples=2, seed=1), first)


def test_a_tail_of_few_windows_reuses_the_batch(build, walk):
    static = build(KronosStatic, {"windows_per_batch": 2})
    windows = [walk(symbol) for symbol in "ABC"]
    together = static.forecast(windows, samples=3, seed=5)
    alone = [build(KronosStatic).forecast([window], samples=3, seed=5) for window in windows]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sampling",
    [Sampling(0.7, 0, 0.9), Sampling(1.0, 0, 0.05), Sampling(1.3, 0, 1.0), Sampling(0.5, 1, 0.9), Sampling(1, 40, 1)],
    ids=str,
)
@pytest.mark.parametrize("digit_bits", [1, 2])
def test_the_filter_without_a_sort_keeps_the_same_classes(dtype, sampling, digit_bits):
    generator = torch.Generator().manual_seed(11)
    logits = torch.randn(200, 256, generator=generator, dtype=dtype) * torch.linspace(0.01, 10, 200)[:, None]
    logits = logits.to(dtype)
    expected = probabilities(logits, sampling)
    chosen = Filter(sampling, torch.device("cpu"), dtype)
    # A GPU has one.
    chosen.digit_bits = digit_bits
    found = chosen(logits)
    assert torch.equal(found > 0, expected > 0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_top_k_keeps_ties_with_the_last(build):
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0, -1.0]])
    found = Filter(Sampling(1.0, 2, 1.0), torch.device("cpu"), torch.float32)(logits)
    assert (found > 0).tolist() == [[True, False, True, True, False]]


def test_greedy_forecasts_are_the_published_ones(golden):
    for regime in ("growing", "rolling", "crossing", "truncated"):
        settings = Settings(max_context=golden.metadata[f"greedy.{regime}.max_context"], top_k=1)
        static = KronosStatic(golden.network(), golden.tokenizer(), settings)
        found = static.forecast([golden.window()], samples=1, seed=0)[0, 0]
        np.testing.assert_allclose(found, golden[f"greedy.{regime}"][:, CLOSE].numpy(), rtol=1e-6, err_msg=regime)


@pytest.mark.slow
def test_compiled_steps_draw_the_same_tokens_and_compile_once(build, walk):
    torch.compiler.reset()
    settings = {"max_context": 64, "capacity": 64}
    upstream, static = (
        build(kind, settings, n_layers=2, tokenizer_layers=2) for kind in (KronosUpstream, KronosStatic)
    )
    static.compile("default")
    static.forecast([walk("A", 40, 6)], samples=2, seed=1)
    with torch.compiler.set_stance("fail_on_recompile"):
        for context, horizon in ((40, 6), (20, 4), (7, 5), (60, 4)):
            assert_same(upstream, static, [walk("B", context, horizon)], samples=2)
    # A context that slides replays drawn tokens, too: one more program, the same results.
    assert_same(upstream, static, [walk("C", 64, 3)], samples=2)


@pytest.fixture(scope="module")
def embedded():
    """The checkpoint that ships."""
    settings = {"temperature": 1.0, "top_p": 1.0}
    return KronosStatic.load(LoadOptions("embedded", settings=settings))


def test_the_embedded_checkpoint_is_small_and_says_what_it_was_trained_on(embedded):
    for name in ("kronos", "kronos-tokenizer"):
        assert (CHECKPOINTS / name / "model.safetensors").stat().st_size <= 2_000_000
        assert set(trained_until(CHECKPOINTS / name)) >= {"GOOG", "SIM_TINY"}
    assert embedded.sizes()["parameters"] < 500_000


@pytest.mark.slow
@pytest.mark.parametrize("max_context", [512, 64])
def test_static_gives_what_upstream_gives_at_the_size_of_mini(make_network, make_tokenizer, walk, max_context):
    def make(kind):
        network = make_network(s1_bits=10, s2_bits=10, n_layers=4, d_model=256, n_heads=4, ff_dim=512)
        return kind(network, make_tokenizer(10), Settings(max_context=max_context, temperature=0.7))

    upstream, static = make(KronosUpstream), make(KronosStatic)
    windows = [walk("A", 60, 8), walk("B", 60, 8)]
    for window in windows:
        expected = upstream.sample(window, 4, 1)
        _, found = static.sample([window], 4, 1)
        assert all(torch.equal(one[0], other[:, 60:]) for one, other in zip(found, expected, strict=True))
    expected, found = upstream.probe(windows), static.probe(windows)
    for name in ("s1_logits", "s2_logits"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_the_embedded_checkpoint_is_a_sane_forecaster():
    data = Path(__file__).parents[3] / "trainingdata"
    options = LoadOptions("embedded", settings={"temperature": 1.1, "top_p": 0.98, "windows_per_batch": 5})
    forecaster = KronosStatic.load(options)
    until = trained_until(CHECKPOINTS / "kronos")
    inside = []
    for symbol, path in symbols_in(data, "all").items():
        timestamps, values, *_ = series_arrays(read_series(path, RepairRules()).frame)
        windows = cut_windows(
            symbol, timestamps, values, context_length=128, horizon=16, count=5, not_before=until[symbol]
        )
        paths = forecaster.forecast(windows, samples=20, seed=1)
        target = np.stack([window.target for window in windows])
        last = np.stack([window.context[-1:, 3] for window in windows])
        naive = np.abs(last - target).mean()
        assert np.abs(paths.mean(axis=1) - target).mean() <= 1.5 * naive, symbol
        low, high = np.quantile(paths, [0.1, 0.9], axis=1)
        inside.append((low <= target) & (target <= high))
    assert 0.60 <= np.mean(inside) <= 0.95
