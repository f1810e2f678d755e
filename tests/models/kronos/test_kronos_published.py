"""The published code named by a folder runs in place of ours, with the same results.

What is tested with is a stand-in of the same interface. Set GREENLIGHT_PUBLISHED_KRONOS to a clone of
github.com/shiyu-coder/Kronos to test with the published code itself.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from greenlight.api import LoadOptions
from greenlight.code import contents_of_folder
from greenlight.errors import UserError
from greenlight_forecasters.copies import import_copy
from greenlight_forecasters.kronos.plugin import MODEL, KronosSettings
from greenlight_forecasters.kronos.published import KronosPublished
from greenlight_forecasters.kronos.upstream import KronosUpstream

REAL = os.environ.get("GREENLIGHT_PUBLISHED_KRONOS")
MODULE = """
import torch
from greenlight_forecasters.kronos.config import ModelConfig, TokenizerConfig
from greenlight_forecasters.kronos.network import KronosNetwork
from greenlight_forecasters.kronos.tokenizer import KronosTokenizer as Tokenizer
"""
KRONOS = """
import sys
sys.path.append("../")
from model.module import *

CALLS = []


class KronosTokenizer(Tokenizer):
    def __init__(self, **dimensions):
        super().__init__(TokenizerConfig(**dimensions))

    def encode(self, x, half=False):
        assert half
        return list(super().encode(x))

    def decode(self, x, half=False):
        return super().decode(*x)


class Kronos(KronosNetwork):
    def __init__(self, **dimensions):
        super().__init__(ModelConfig(**dimensions))

    def decode_s1(self, s1, s2, stamp=None):
        return *super().decode_s1(s1, s2, stamp.long()), None


def drawn(logits, T, top_k, top_p):
    logits = logits / T
    if top_k > 0:
        logits = logits.masked_fill(logits < torch.topk(logits, top_k)[0][..., -1, None], -float("inf"))
    elif top_p < 1.0:
        ordered, order = torch.sort(logits, descending=True)
        past = torch.softmax(ordered, -1).cumsum(-1) > top_p
        past = torch.cat((torch.zeros_like(past[..., :1]), past[..., :-1]), -1)
        logits = logits.masked_fill(past.scatter(1, order, past), -float("inf"))
    return torch.multinomial(torch.softmax(logits, -1), num_samples=1)


def auto_regressive_inference(tokenizer, model, x, x_stamp, y_stamp, max_context, pred_len, clip=5, T=1.0,
                              top_k=0, top_p=0.99, sample_count=5, verbose=False):
    CALLS.append(tuple(x.shape))
    x = torch.clip(x, -clip, clip).repeat_interleave(sample_count, 0)
    stamp = torch.cat((x_stamp, y_stamp), 1).repeat_interleave(sample_count, 0)
    s1, s2 = tokenizer.encode(x, half=True)
    for step in range(x.shape[1], x.shape[1] + pred_len):
        seen = slice(max(0, step - max_context), step)
        logits, context, *_ = model.decode_s1(s1[:, seen], s2[:, seen], stamp[:, seen])
        first = drawn(logits[:, -1], T, top_k, top_p)
        second = drawn(model.decode_s2(context, first)[:, -1], T, top_k, top_p)
        s1, s2 = torch.cat((s1, first), 1), torch.cat((s2, second), 1)
    z = tokenizer.decode([s1[:, -max_context:], s2[:, -max_context:]], half=True)
    return z.unflatten(0, (-1, sample_count)).mean(1).cpu().numpy()
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a stand-in for the published code."""
    return write_code(tmp_path / "code")


def write_code(folder, kronos=KRONOS):
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "module.py").write_text(MODULE)
    (folder / "model" / "kronos.py").write_text(kronos)
    return folder


@pytest.fixture
def options(golden, tmp_path):
    """Makes LoadOptions for the golden weights."""
    sources = {}
    for name, module in (("model", golden.network()), ("tokenizer", golden.tokenizer())):
        sources[name] = tmp_path / name
        sources[name].mkdir()
        (sources[name] / "config.json").write_text(json.dumps(module.config.model_dump()))
        save_file(module.state_dict(), sources[name] / "model.safetensors")

    def make(dtype="float32", code="", **settings):
        settings = {"tokenizer": str(sources["tokenizer"]), "max_context": 64} | settings
        return LoadOptions(
            str(sources["model"]), dtype=dtype, settings=settings, code=code and str(Path(code) / "model")
        )

    return make


def assert_same(options, walk, folder, context, horizon, **settings):
    ours = KronosUpstream.load(options(**settings))
    published = KronosPublished.load(options(**settings, code=folder))
    assert type(published) is not type(ours)
    windows = [walk("A", context, horizon), walk("B", context, horizon)]
    for window in windows:
        found, expected = published.sample(window, 3, 5), ours.sample(window, 3, 5)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    np.testing.assert_allclose(published.forecast(windows, 3, 5), ours.forecast(windows, 3, 5), rtol=1e-6)
    found, expected = published.probe(windows), ours.probe(windows)
    for name, logits in expected.items():
        np.testing.assert_allclose(found[name], logits, rtol=0, atol=2e-5)
    assert published.sizes() == ours.sizes()


CASES = pytest.mark.parametrize(
    ("context", "horizon", "settings"),
    [
        (30, 6, {"top_p": 0.9, "temperature": 0.7}),
        (60, 9, {"top_p": 1.0, "clip": 0.75}),
        (64, 5, {"top_k": 4}),
        (90, 4, {"top_p": 0.5, "temperature": 1.4}),
    ],
    ids=["growing", "crossing", "rolling", "truncated"],
)


@CASES
def test_the_code_of_a_folder_gives_what_ours_gives(options, walk, folder, context, horizon, settings):
    path = list(sys.path)
    assert_same(options, walk, folder, context, horizon, **settings)
    assert len(import_copy(folder / "model", "model", "kronos").CALLS) == 4, "its own loop ran"
    assert sys.path == path
    assert not list(folder.rglob("__pycache__"))


@pytest.mark.skipif(REAL is None, reason="GREENLIGHT_PUBLISHED_KRONOS names no clone of shiyu-coder/Kronos")
@CASES
def test_the_published_code_gives_what_ours_gives(options, walk, context, horizon, settings):
    assert_same(options, walk, REAL, context, horizon, **settings)


def test_broken_logits_give_no_forecast(options, walk, folder):
    published = KronosPublished.load(options(code=folder))
    published.network.head.proj_s2.weight.data[3, 0] = np.nan
    assert np.isnan(published.forecast([walk("A")], 2, 1)).all()


@pytest.mark.slow
def test_it_compiles_as_ours_does(options, walk, folder):
    torch.compiler.reset()
    published = KronosPublished.load(options(code=folder))
    expected = published.forecast([walk("A", 30, 1)], 2, 1)
    published.compile("default")
    np.testing.assert_allclose(published.forecast([walk("A", 30, 1)], 2, 1), expected, rtol=1e-6)


EXTRA = """

class Kronos(Kronos):
    def __init__(self, **dimensions):
        super().__init__(**dimensions)
        self.extra = torch.nn.Linear(1, 1)
"""


def test_it_runs_in_float32_only(options, folder):
    with pytest.raises(UserError, match="float32 only"):
        KronosPublished.load(options("bfloat16", code=folder))


def test_folders_that_can_not_be_it_are_refused(options, tmp_path):
    with pytest.raises(
        UserError, match=r"models\.kronos\.code\.fork: .*nowhere/model/kronos\.py.* not found; expected"
    ):
        MODEL.implementations_of(KronosSettings(code={"fork": str(tmp_path / "nowhere")}))
    for number, (code, words) in enumerate(
        [
            ("import no_such_package", r"can't be imported \(ModuleNotFoundError: No module named 'no_such_package'"),
            ("Kronos = KronosTokenizer = None", r"kronos\.py has no auto_regressive_inference"),
            ("Kronos = KronosTokenizer = auto_regressive_inference = lambda a: a", "does not take the dimensions"),
            (
                KRONOS + EXTRA,
                r"the class Kronos of .*/model/kronos\.py does not fit the weights .*missing: extra\.bias",
            ),
        ]
    ):
        with pytest.raises(UserError, match=words):
            KronosPublished.load(options(code=write_code(tmp_path / str(number), code)))


@pytest.mark.parametrize("place", [".", "model", "deeper"])
def test_the_package_may_lie_where_it_does_in_the_field(tmp_path, place):
    """At the top of a clone, as the folder itself, or in a package of the user's."""
    write_code(tmp_path / "clone" / "kronos")
    named = {".": "clone/kronos", "model": "clone/kronos/model", "deeper": "clone"}[place]
    entry = MODEL.implementations_of(KronosSettings(code={"fork": str(tmp_path / named)}))["fork"]
    assert entry.folders == {"code.fork": str(tmp_path / "clone" / "kronos" / "model")}


def test_it_is_known_by_what_its_files_say(folder):
    def known():
        (entry,) = MODEL.implementations_of(KronosSettings(code={"fork": str(folder)}))["fork"].folders.values()
        return contents_of_folder(Path(entry), "code")

    before = known()
    (folder / "README.md").write_text("no code")
    assert known() == before
    (folder / "model" / "module.py").write_text(MODULE + "\n# changed")
    after = known()
    assert {name for name in before if before[name] != after[name]} == {"code/module.py"}
