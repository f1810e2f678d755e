"""The static engines in a process as production has it: threads, states of torch, forks, and weights that change.

With a CUDA device all of it also runs there, compiled with CUDA graphs: `pytest tests/models/test_in_a_process.py`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from greenlight.api import LoadOptions
from greenlight.errors import UserError
from greenlight.watch.precision import in_tf32
from greenlight_forecasters.chronos2.static import Chronos2Static
from tests.models.engines import CALLS, WINDOWS, Engine, forked, intra_op_threads, write_checkpoints
from tests.models.kronos.conftest import random_window

MODELS = ("toto", "kronos", "chronos-2")
CUDA = torch.cuda.is_available()
ON_A_GPU = pytest.mark.skipif(not CUDA, reason="needs a CUDA device")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints of all models."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoints(folder)
    return folder


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=ON_A_GPU)])
def make(request, name, folder):
    """Makes new eager engines on their device."""
    return lambda: Engine(name, request.param, folder)


@pytest.fixture(scope="module")
def compiled_once(folder):
    """Compiled engines by name and device, and what they and eager ones give for each number."""
    torch.compiler.reset()
    known = {}

    def find(name, device):
        if (name, device) not in known:
            engine = Engine(name, device, folder).compiled()
            known[name, device] = engine, [engine.call(number) for number in range(CALLS)]
        return known[name, device]

    return find


@pytest.fixture(params=["eager", pytest.param("compiled", marks=pytest.mark.slow)])
def warm(request, make, compiled_once):
    """A warm engine, eager or compiled, and what it gave for each number when nothing else went on."""
    engine = make()
    if request.param == "compiled":
        return compiled_once(engine.name, engine.device)
    return engine, [engine.call(number) for number in range(CALLS)]


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def another_stream():
    with torch.cuda.stream(torch.cuda.Stream()):
        yield


STATES = {
    "autocast-float16": lambda: torch.autocast("cpu", torch.float16),
    "autocast-bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "default-float64": lambda: default_dtype(torch.float64),
    "inference": lambda: torch.inference_mode(),
    "no-grad": torch.no_grad,
    "grad": torch.enable_grad,
    "default-device": lambda: torch.device("meta"),
    "three-threads": lambda: intra_op_threads(3),
}
# torch.compile looks at them.
COMPILED_ANEW = ("default-float64", "three-threads")
GPU_STATES = {
    "autocast-cuda-float16": lambda: torch.autocast("cuda", torch.float16),
    "autocast-cuda-bfloat16": lambda: torch.autocast("cuda", torch.bfloat16),
    "another-stream": another_stream,
    "another-device": lambda: torch.cuda.device(torch.cuda.device_count() - 1),
}
WITH_STATES = pytest.mark.parametrize("state", [*STATES, *(pytest.param(name, marks=ON_A_GPU) for name in GPU_STATES)])


def in_state(name):
    return (STATES | GPU_STATES)[name]()


@pytest.mark.parametrize("threads", [2, 8])
def test_calls_from_many_threads_give_what_they_give_one_by_one(warm, threads):
    engine, expected = warm
    together = threading.Barrier(threads)

    def run(_):
        together.wait()
        return [engine.call(number) for number in range(CALLS)]

    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(run, range(threads)):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


@WITH_STATES
def test_a_state_of_torch_changes_nothing(warm, state):
    engine, expected = warm
    if engine.name != "chronos-2" and engine.is_compiled and state in COMPILED_ANEW:
        pytest.skip("compiles anew, which takes long: shown with Chronos-2, which compiles the soonest")
    with in_state(state):
        found = engine.call(1)
    np.testing.assert_array_equal(found, expected[1])
    np.testing.assert_array_equal(engine.call(2), expected[2])


@WITH_STATES
def test_a_state_in_which_an_engine_is_made_and_first_called_changes_nothing(make, state):
    expected = make().call(1)
    with in_state(state):
        engine = make()
        found = engine.call(1)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(engine.call(1), expected)


def test_results_are_the_callers_to_keep_and_to_change(warm):
    engine, expected = warm
    kept = engine.raw(0)
    changed = engine.raw(1)
    changed[...] = float("nan")
    for number in (2, 1, 3):
        np.testing.assert_array_equal(engine.call(number), expected[number])
    np.testing.assert_array_equal(kept.cpu().numpy() if isinstance(kept, torch.Tensor) else kept, expected[0])
    if isinstance(kept, torch.Tensor):
        (kept * torch.ones((), device=kept.device, requires_grad=True)).sum().backward()


def test_another_resident_model_changes_nothing(warm, folder):
    engine, expected = warm
    other = Engine("kronos" if engine.name == "toto" else "toto", engine.device, folder)
    of_other = other.call(0)
    for number in range(3):
        np.testing.assert_array_equal(other.call(0), of_other)
        np.testing.assert_array_equal(engine.call(number), expected[number])


def same_as(expected, engine):
    return lambda: "same" if np.array_equal(engine.call(1), expected) else "others"


def test_a_forked_child_gives_the_same_or_says_why_not(warm):
    engine, expected = warm
    with intra_op_threads(1):
        said = forked(same_as(expected[1], engine))
    assert said == "same" if engine.device == "cpu" else "CUDA can't be used in a forked child" in said
    if engine.device == "cpu":
        with intra_op_threads(2):
            assert "Call torch.set_num_threads(1) in the child" in forked(same_as(expected[1], engine))
    np.testing.assert_array_equal(engine.call(1), expected[1])


def test_a_child_that_was_forked_during_a_call_does_not_wait_for_ever(make):
    engine = make()
    if engine.device == "cuda":
        pytest.skip("a forked child can't use CUDA")
    expected = engine.call(1)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with engine.engine.guard.call():
            inside.set()
            leave.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(60)
    try:
        assert forked(same_as(expected, engine)) == "same"
    finally:
        leave.set()
        holder.join()


@pytest.fixture(scope="module")
def spawned(folder, tmp_path_factory):
    """What each model's engine gives in one spawned process, by device and name."""
    code = (
        "import sys, numpy, pathlib, torch\n"
        "torch.set_num_threads(1)\n"
        "from tests.models.engines import Engine\n"
        "for name in sys.argv[4:]:\n"
        "    found = Engine(name, sys.argv[1], pathlib.Path(sys.argv[2])).call(1)\n"
        "    numpy.save(pathlib.Path(sys.argv[3]) / f'{name}.npy', found)\n"
    )
    known = {}

    def find(device, name):
        if device not in known:
            known[device] = tmp_path_factory.mktemp(device)
            command = [sys.executable, "-c", code, device, str(folder), str(known[device]), *MODELS]
            done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True)
            assert done.returncode == 0, done.stderr.decode()
        return np.load(known[device] / f"{name}.npy")

    return find


def test_a_spawned_process_gives_the_same(make, spawned):
    engine = make()
    with intra_op_threads(1):
        np.testing.assert_array_equal(spawned(engine.device, engine.name), engine.call(1))


def a_weight(module):
    """The path of a module and the name of a weight of it with two dimensions that are no stand-in."""
    for part in module.modules():
        for key, weight in part.named_parameters(recurse=False):
            if weight.dim() == 2 and 0 not in weight.stride():
                return part, key, weight
    raise AssertionError("no such weight")


def assign(weights):
    weights.load_state_dict({key: value.clone() for key, value in weights.state_dict().items()}, assign=True)


def write(weights):
    with torch.no_grad():
        a_weight(weights)[2].mul_(2.0)


def swap_data(weights):
    weight = a_weight(weights)[2]
    weight.data = weight.data * 2.0


def swap_module(weights):
    part = next(part for part in weights.modules() if len(part._modules) > 1)
    part._modules[next(iter(part._modules))] = torch.nn.Identity()


CHANGES = {
    "trained": (lambda weights: weights.train(), r"is in training mode; call eval\(\)"),
    "assigned": (assign, "was exchanged"),
    "written": (write, "was written to"),
    "data": (swap_data, "was moved"),
    "module": (swap_module, "was exchanged"),
    "cast": (lambda weights: weights.to(torch.float64), "was (moved|exchanged)"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_change_are_noticed(make, change):
    engine = make()
    engine.call(1)
    alter, words = CHANGES[change]
    alter(engine.weights)
    with pytest.raises(UserError, match=words):
        engine.call(1)


def test_the_tokenizer_is_watched_too(folder):
    engine = Engine("kronos", "cuda" if CUDA else "cpu", folder).engine
    engine.tokenizer.train()
    with pytest.raises(UserError, match="training mode"):
        engine.forecast([random_window()], 1, 1)


def test_weights_that_the_engine_has_in_another_form_can_not_be_written_to_unseen(folder):
    """By `.data` nothing counts the writes: what is not read from there any more takes none."""
    engine = Engine("kronos", "cuda" if CUDA else "cpu", folder)
    expected = engine.call(1)
    embedding = engine.weights.embedding
    for weight in (embedding.emb_s1.weight, embedding.emb_s2.weight, embedding.fusion_proj.weight):
        with pytest.raises(RuntimeError, match="single memory location"):
            weight.data.copy_(torch.ones(weight.shape))
    np.testing.assert_array_equal(engine.call(1), expected)


def test_products_in_another_precision_are_noticed(make):
    engine = make()
    before = torch.get_float32_matmul_precision()
    expected = engine.call(1)
    try:
        torch.set_float32_matmul_precision("medium")
        with pytest.raises(UserError, match="at the first call of this engine"):
            engine.call(1)
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(engine.call(1), expected)


@pytest.mark.slow
def test_an_engine_whose_every_call_is_in_tf32_is_not_stopped(folder):
    """As the gate runs it: TF32 is allowed for each call, and not where the engine is told to compile."""
    forecaster = in_tf32(Chronos2Static.load(LoadOptions(str(folder / "chronos-2"), settings={})))
    forecaster.compile("default")
    for _ in range(2):
        assert np.isfinite(forecaster.forecast(WINDOWS[1], 1, 1)).all()


@ON_A_GPU
@pytest.mark.parametrize("name", ["toto", "kronos"])
def test_calls_from_threads_with_streams_of_their_own(name, folder, compiled_once):
    engine, expected = compiled_once(name, "cuda")

    def run(_):
        found = []
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(5):
                found += [engine.call(number) for number in range(CALLS)]
        return found

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(run, range(4)):
            for number, one in enumerate(found):
                np.testing.assert_array_equal(one, expected[number % CALLS])
