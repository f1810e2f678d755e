"""The predictor gives what the published `KronosPredictor` gives, on the same weights and after the same seed.

What is compared with is a stand-in of the same interface over our own network. Set GREENLIGHT_PUBLISHED_KRONOS to a
clone of github.com/shiyu-coder/Kronos to compare with the published predictor itself, too.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from greenlight.errors import UserError
from greenlight.watch.health import HealthRecorder
from greenlight_forecasters.deploy import accelerate
from greenlight_forecasters.engine.service import NotWarmed
from greenlight_forecasters.kronos.predictor import candles_of
from greenlight_forecasters.kronos.sampling import Sampling, probabilities
from tests.models.kronos.conftest import random_network, random_tokenizer

REAL = os.environ.get("GREENLIGHT_PUBLISHED_KRONOS")
COLUMNS = ["open", "high", "low", "close", "volume", "amount"]


def parts_of(times):
    """What the published code reads of times, as they are written."""
    return np.array([[one.minute, one.hour, one.weekday(), one.day, one.month] for one in times])


class StandIn:
    """The published predictor's interface, and its loop, over our network and tokenizer."""

    def __init__(self, model, tokenizer, max_context=64, clip=5):
        self.model, self.tokenizer, self.max_context, self.clip = model, tokenizer, max_context, clip

    def predict(self, df, x_timestamp, y_timestamp, pred_len, **options):
        return self.predict_batch([df], [x_timestamp], [y_timestamp], pred_len, **options)[0]

    @torch.no_grad()
    def predict_batch(self, frames, before, after, pred_len, T=1.0, top_k=0, top_p=0.9, sample_count=1, verbose=True):
        rows = [frame[COLUMNS].to_numpy(np.float32) for frame in frames]
        scales = [(one.mean(0), one.std(0) + np.float32(1e-5)) for one in rows]
        normal = [np.clip((one - mean) / std, -self.clip, self.clip) for one, (mean, std) in zip(rows, scales)]  # noqa: B905
        x = torch.from_numpy(np.stack(normal)).repeat_interleave(sample_count, 0)
        times = np.stack([parts_of([*b, *a]) for b, a in zip(before, after)])  # noqa: B905
        times = torch.from_numpy(times).repeat_interleave(sample_count, 0)
        s1, s2 = self.tokenizer.encode(x)
        how = Sampling(T, top_k, top_p)
        for step in range(s1.shape[1], s1.shape[1] + pred_len):
            seen = slice(max(0, step - self.max_context), step)
            logits, hidden = self.model.decode_s1(s1[:, seen], s2[:, seen], times[:, seen])
            first = torch.multinomial(probabilities(logits[:, -1], how), 1)
            second = torch.multinomial(probabilities(self.model.decode_s2(hidden, first)[:, -1], how), 1)
            s1, s2 = torch.cat((s1, first), 1), torch.cat((s2, second), 1)
        z = self.tokenizer.decode(s1[:, -self.max_context :], s2[:, -self.max_context :])[:, -pred_len:]
        z = z.unflatten(0, (-1, sample_count)).mean(1).numpy()
        parts = zip(z, scales, after)  # noqa: B905
        return [pd.DataFrame(one * std + mean, columns=COLUMNS, index=times) for one, (mean, std), times in parts]


def with_heads(module, heads=4):
    """As the published classes have it."""
    module.n_heads = heads
    return module


def stand_in(layers=2):
    return StandIn(with_heads(random_network(n_layers=layers)), with_heads(random_tokenizer(layers=layers + 1)))


def published():
    """The published predictor with random weights."""
    sys.path.insert(0, REAL)
    try:
        from model import Kronos, KronosPredictor, KronosTokenizer
    finally:
        sys.path.remove(REAL)
    torch.manual_seed(0)
    tokenizer = KronosTokenizer(6, 32, 4, 48, 3, 3, 0.0, 0.0, 0.0, 5, 5, 0.05, 1.0, 1.1, 0.05, 5)
    model = Kronos(5, 5, 2, 32, 4, 48, 0.0, 0.0, 0.0, 0.0, True)
    for weight in model.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    return KronosPredictor(model.eval(), tokenizer.eval(), device="cpu", max_context=64)


ON_REAL = pytest.mark.skipif(REAL is None, reason="GREENLIGHT_PUBLISHED_KRONOS names no clone of shiyu-coder/Kronos")


@pytest.fixture(params=[stand_in, pytest.param(published, marks=ON_REAL)])
def original(request):
    yield request.param()
    for name in [name for name in sys.modules if name.split(".")[0] == "model"]:
        del sys.modules[name]


def case(seed, context, horizon, freq="h"):
    """A frame with an amount of its own, its times, and those to forecast, in a zone of New York."""
    generator = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.01, context)))
    prices = {name: close * (1 + generator.normal(0, 0.002, context)) for name in COLUMNS[:4]}
    volume = generator.lognormal(10, 0.5, context)
    frame = pd.DataFrame({**prices, "volume": volume, "amount": volume * close * 0.5})
    times = pd.Series(pd.date_range("2024-02-27 05:00", periods=context + horizon, freq=freq, tz="America/New_York"))
    return frame, times[:context], times[context:]


def both(original, batch, pred_len, **options):
    """What the original and the accelerated predictor give after the same seed."""
    arguments = [list(part) for part in zip(*batch)]  # noqa: B905
    found = []
    for predictor in (original, accelerate(original, mode="eager")):
        torch.manual_seed(7)
        found.append(predictor.predict_batch(*arguments, pred_len, verbose=False, **options))
    return found


def assert_same(expected, found):
    for one, other in zip(expected, found, strict=True):
        assert list(other.columns) == COLUMNS and other.index.equals(pd.Index(one.index))
        scale = np.abs(one.to_numpy()).max(axis=0)
        assert (np.abs(other.to_numpy() - one.to_numpy()) / scale).max() <= 1e-6


@pytest.mark.parametrize(
    ("context", "horizon"), [(40, 8), (60, 9), (64, 5), (90, 4)], ids=["growing", "crossing", "rolling", "truncated"]
)
@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"sample_count": 3},
        {"T": 0.6, "top_p": 0.83, "top_k": 20, "sample_count": 2},
        {"T": 1.4, "top_p": 0.5, "sample_count": 2},
        {"top_p": 1.0},
    ],
    ids=str,
)
def test_it_gives_what_the_published_predictor_gives(original, context, horizon, options):
    batch = [case(seed, context, horizon) for seed in range(3)]
    assert_same(*both(original, batch, horizon, **options))


def test_predict_is_a_batch_of_one(original):
    frame, before, after = case(1, 30, 5)
    accelerated = accelerate(original, mode="eager")
    found = []
    for predictor in (original, accelerated):
        torch.manual_seed(3)
        found.append(predictor.predict(frame, before, after, 5, T=0.7, top_p=0.9, sample_count=2, verbose=False))
    assert_same(found[:1], found[1:])
    assert isinstance(found[1], pd.DataFrame) and found[1].dtypes.eq(np.float32).all()


def test_amount_and_hours_are_used_as_they_are(original):
    """Another amount, and another zone's hours, give other forecasts."""
    accelerated = accelerate(original, mode="eager")
    frame, before, after = case(1, 30, 5)
    options = {"pred_len": 5, "top_k": 1}
    found = accelerated.predict(frame, before, after, **options)
    rising = frame.assign(amount=np.linspace(1, 1e9, 30))
    assert not found.equals(accelerated.predict(rising, before, after, **options))
    in_utc = [times.dt.tz_convert("UTC") for times in (before, after)]
    assert not np.array_equal(found, accelerated.predict(frame, *in_utc, **options))
    as_index = accelerated.predict(frame, pd.DatetimeIndex(before), pd.DatetimeIndex(after), **options)
    pd.testing.assert_frame_equal(found, as_index, check_freq=False, check_names=False)
    without = frame.drop(columns=["amount", "volume"])
    assert_same([original.predict(without.assign(volume=0.0, amount=0.0), before, after, 5, top_k=1)],
                [accelerated.predict(without, before, after, **options)])  # fmt: skip


def test_all_paths_are_there_and_predict_is_their_mean(original):
    accelerated = accelerate(original, mode="eager")
    frame, before, after = case(2, 30, 5)
    torch.manual_seed(1)
    paths = accelerated.paths(frame, before, after, 5, sample_count=4)
    torch.manual_seed(1)
    mean = accelerated.predict(frame, before, after, 5, sample_count=4)
    assert paths.shape == (4, 5, 6) and len(np.unique(paths[:, 0, 3])) > 1
    np.testing.assert_allclose(paths.mean(axis=0), mean.to_numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"T": 0.0}, "T is 0.0; expected a number above 0"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"sample_count": 0}, "sample_count is 0"),
        ({"pred_len": 65}, "pred_len is 65; expected 1 to max_context, which is 64"),
        ({"pred_len": 4}, "5 times to forecast"),
        ({"df": pd.DataFrame({"open": [1.0]})}, "has no column high, low, close"),
        ({"df": 3}, "expected a pandas DataFrame"),
    ],
    ids=str,
)
def test_what_can_not_be_honoured_is_refused(changes, words):
    frame, before, after = case(1, 30, 5)
    arguments = {"df": frame, "x_timestamp": before, "y_timestamp": after, "pred_len": 5} | changes
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        accelerate(stand_in(), mode="eager").predict(**arguments)
    frame.loc[3, "low"] = np.nan
    with pytest.raises(ValueError, match="missing values"):
        accelerate(stand_in(), mode="eager").predict(frame, before, after, 5)


def test_other_objects_weights_and_settings_are_refused():
    with pytest.raises(UserError, match="nothing that can be accelerated"):
        accelerate(SimpleNamespace(model=nn.Linear(2, 2)))
    half = stand_in()
    half.model.to(torch.bfloat16)
    with pytest.raises(UserError, match="accelerated in float32 only"):
        accelerate(half)
    with pytest.raises(UserError, match="policy is 'maybe'"):
        accelerate(stand_in(), mode="eager", policy="maybe")


def test_weights_of_the_users_own_model_that_change_are_noticed():
    original = stand_in()
    accelerated = accelerate(original, mode="eager")
    frame, before, after = case(1, 30, 5)
    accelerated.predict(frame, before, after, 5)
    original.model.load_state_dict(random_network(seed=5).state_dict())
    with pytest.raises(UserError, match=r"predictor\.model\.\S+ was written to"):
        accelerated.predict(frame, before, after, 5)


def test_many_threads(original):
    accelerated = accelerate(original, mode="eager")
    cases = [case(seed, 30, 5) for seed in range(4)]
    expected = [accelerated.predict(*one, 5, top_k=1) for one in cases]
    together = threading.Barrier(4)

    def run(number):
        together.wait()
        return [accelerated.predict(*one, 5, top_k=1) for one in cases]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(run, range(4)):
            for one, other in zip(found, expected, strict=True):
                pd.testing.assert_frame_equal(one, other)


@pytest.mark.slow
def test_two_hundred_calls_with_a_growing_context_compile_four_graphs_and_are_exact():
    original = stand_in(layers=1)
    original.max_context = 512
    accelerated, eager = (accelerate(original, mode=mode) for mode in ("default", "eager"))
    frame, before, after = case(1, 300, 7)
    with HealthRecorder() as recorder, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotWarmed)
        for length in range(100, 300):
            part = (frame[:length], before[:length], pd.concat([before, after])[length : length + 1], 1)
            found = accelerated.predict(*part, top_k=1)
            if length % 20 == 0:
                assert_same([eager.predict(*part, top_k=1)], [found])
    assert recorder.record()["graphs"] <= 4


@pytest.mark.slow
def test_policies_for_shapes_that_were_not_warmed():
    original = stand_in(layers=1)
    part = case(1, 30, 5)
    expected = accelerate(original, mode="eager").predict(*part, 5, top_k=1)
    refusing = accelerate(original, mode="default", policy="refuse")
    with pytest.raises(UserError, match=r"not warmed \(.*samples=1.*\) is refused"):
        refusing.predict(*part, 5, top_k=1)
    eager = accelerate(original, mode="default", policy="eager")
    with HealthRecorder() as recorder:
        with pytest.warns(NotWarmed, match="not compiled, as policy='eager' asks"):
            assert_same([expected], [eager.predict(*part, 5, top_k=1)])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            eager.predict(*part, 5, top_k=1)
        assert recorder.record()["graphs"] == 0
        eager.warm_up(30, 5)
        state = torch.get_rng_state()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_same([expected], [eager.predict(*part, 5, T=0.3, top_k=1)])
        assert recorder.record()["graphs"] == 2
        assert not torch.equal(state, torch.get_rng_state())


FORMS = {
    "more columns, in another order": lambda frame: frame[frame.columns[::-1]].assign(day=pd.Timestamp("2024-01-01")),
    "float32": lambda frame: frame.astype("float32").astype(float),
    "objects": lambda frame: frame.astype(object),
    "nullable": lambda frame: frame.convert_dtypes(),
    "rows in memory": lambda frame: pd.DataFrame(np.ascontiguousarray(frame.to_numpy()), columns=frame.columns),
}


@pytest.mark.parametrize("form", FORMS)
def test_series_are_read_alike_in_any_form(form):
    """To the bit as the published code normalises each by itself, whose float32 sums depend on the order in memory."""
    frames, before, after = (list(part) for part in zip(*(case(seed, 37, 4) for seed in range(3)), strict=True))
    frames = [frame.astype("float32").astype(float) for frame in frames]
    found = candles_of([FORMS[form](frame) for frame in frames], before, after, 4, 2.0)
    alike = candles_of(frames, before[:1] * 3, after[:1] * 3, 4, 2.0)  # the same times as one object for all
    for number, frame in enumerate(frames):
        rows = frame[COLUMNS].values.astype(np.float32)
        mean, std = rows.mean(axis=0), rows.std(axis=0)
        np.testing.assert_array_equal(found.mean[number], mean)
        np.testing.assert_array_equal(found.values[number], np.clip((rows - mean) / (std + np.float32(1e-5)), -2, 2))
        np.testing.assert_array_equal(found.stamps[number], parts_of([*before[number], *after[number]]))
    np.testing.assert_array_equal(found.values, alike.values)
    np.testing.assert_array_equal(found.stamps, alike.stamps)


@pytest.mark.parametrize("missing", [np.nan, None])
def test_a_missing_value_is_refused_in_any_form(missing):
    frame, before, after = case(1, 20, 4)
    for form in FORMS.values():
        faulty = form(frame).astype({"high": object})
        faulty.loc[3, "high"] = missing
        with pytest.raises(ValueError, match="series 0 holds missing values"):
            candles_of([faulty], [before], [after], 4, 5.0)
