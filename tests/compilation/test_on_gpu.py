"""What only a GPU can show: CUDA graphs that engage, skip and overwrite, and errors of a real device."""

from pathlib import Path

import pytest
import torch

from greenlight.measures.memory import MemoryMeter
from greenlight.trials.device_settings import DeviceSettings
from greenlight.trials.gpu import device_state, wait_for_device
from greenlight.trials.runner import Limits, run_trial
from greenlight.watch.health import HealthRecorder
from greenlight.watch.overwrites import check_overwrites
from greenlight.watch.readiness import ReadinessRecorder
from greenlight_forecasters.engine.replay import CallCompiler
from tests.children import python_path

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CHILDREN = python_path(Path(__file__).parent / "children")


def matrix(value=1.0):
    return torch.full((64, 64), value, device="cuda")


def watch(function, *arguments, calls=5, mode="reduce-overhead"):
    with HealthRecorder() as health, ReadinessRecorder() as readiness, torch.no_grad():
        compiled = torch.compile(function, mode=mode)
        for _ in range(calls):
            compiled(*arguments)
    return health.record()["cuda_graphs"], readiness.record()


def test_cuda_graphs_engage_on_a_whole_graph():
    graphs, readiness = watch(lambda x: (x @ x).relu(), matrix())
    assert graphs["engaged"] is True and graphs["recordings"] >= 1 and graphs["replays"] >= 2
    assert graphs["skips"] == [] and readiness["ready"] is True


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_a_call_on_buffers_is_a_cuda_graph_of_its_own(mode):
    """Also one that torch.compile itself would not record, for it writes to what is no parameter or buffer."""
    torch.compiler.reset()
    total, step = matrix(0.0), matrix()

    def add() -> None:
        total.add_(step @ step)

    with HealthRecorder() as recorder, torch.no_grad():
        call = CallCompiler(mode, torch.device("cuda")).compile(add)
        for _ in range(4):
            call()
        step.fill_(2.0)  # in place: a replay reads what is there now
        call()
    graphs = recorder.record()["cuda_graphs"]
    torch.testing.assert_close(total, matrix(4 * 64.0 + 4 * 64.0))
    assert graphs["engaged"] is True and graphs["recordings"] == 1 and graphs["replays"] == 4
    assert graphs["skips"] == [] and recorder.record()["calls"]["total"] == 2 + 4  # its first run, and its recording


def test_calls_of_one_compiler_share_memory_and_run_in_any_order():
    torch.compiler.reset()
    compiler, out = CallCompiler("reduce-overhead", torch.device("cuda")), [matrix(0.0), matrix(0.0)]
    source = matrix()

    def sums() -> None:
        out[0].copy_((source @ source).exp().log())

    def halves() -> None:
        out[1].copy_((source @ source @ source).sqrt().square() / 2)

    with torch.no_grad():
        first, second = compiler.compile(sums), compiler.compile(halves)
        for call in (first, second, second, first, first, second):
            for one in out:
                one.zero_()
            call()
            expected, found = (64.0, out[0]) if call is first else (64.0 * 64.0 / 2, out[1])
            torch.testing.assert_close(found, matrix(expected), rtol=1e-4, atol=1e-2)


def test_default_asks_for_none():
    graphs, _ = watch(lambda x: (x @ x).relu(), matrix(), mode="default")
    assert graphs["requested"] is False and graphs["engaged"] is None and graphs["recordings"] == 0


def test_mutated_input_skips_as_predicted():
    graphs, readiness = watch(lambda cache, x: cache.add_(x @ x), matrix(), matrix())
    assert graphs["engaged"] is False and "mutated inputs" in graphs["skips"][0]["reason"]
    assert readiness["ready"] is False and len(readiness["mutated_inputs"]) == 1


def test_buffer_that_is_mutated_does_not_skip():
    module = torch.nn.BatchNorm1d(64).cuda().train()
    graphs, readiness = watch(module, matrix())
    assert graphs["engaged"] is True and readiness["mutated_inputs"] == []


def test_graph_on_cpu_tensors_is_a_skip_that_is_told():
    graphs, _ = watch(lambda x: (x @ x).relu(), torch.ones(64, 64))
    assert graphs["engaged"] is False and graphs["skips"]


def test_kept_output_is_found_overwritten_and_a_clone_is_not():
    with torch.no_grad():
        compiled = torch.compile(lambda x: (x @ x).relu(), mode="reduce-overhead")
        inputs = [matrix(value) for value in (1.0, 2.0, 3.0)]
        assert check_overwrites(compiled, inputs)["passed"] is False
        assert check_overwrites(lambda x: compiled(x).clone(), inputs)["passed"] is True


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("out_of_memory", "out-of-device-memory"),
        ("device_assert", "device-assert"),
        ("overwritten", "graph-output-overwritten"),
    ],
)
def test_real_device_errors_in_a_trial(tmp_path, end, kind):
    record = run_trial("device_errors", {"end": end}, folder=tmp_path, limits=Limits(seconds=300), environment=CHILDREN)
    assert record["kind"] == kind, record["message"]


def test_state_and_wait():
    state = device_state()
    assert state["available"] and state["driver"]
    first = state["devices"][0]
    assert 0 < first["memory_free_bytes"] <= first["memory_total_bytes"]
    assert wait_for_device(DeviceSettings(device="cuda")) == "cuda:0"


def test_device_peak():
    with MemoryMeter("cuda:0") as meter:
        held = torch.ones(2**26, device="cuda")  # 256 MiB
        del held
        meter.read()
    record = meter.record()
    assert record["device_peak_bytes"] >= 2**28 and len(meter.readings["device_bytes"]) == 1


def test_multinomial_is_an_exponential_race_of_the_same_stream():
    """Static engines draw so: argmax(p / exponential) is what torch.multinomial takes on a device."""
    for seed in range(100):
        chances = torch.rand(8, 1024, device="cuda").softmax(-1)
        torch.manual_seed(seed)
        drawn = torch.multinomial(chances, 1)[:, 0]
        torch.manual_seed(seed)
        noise = torch.empty_like(chances).exponential_(1)
        assert (drawn == (chances / noise).argmax(-1)).all()
