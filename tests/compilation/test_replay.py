"""Calls on fixed buffers; that they become CUDA graphs is seen in test_on_gpu.py."""

import pytest
import torch

from greenlight.api import own_cuda_graph_ran
from greenlight.watch.health import HealthRecorder
from greenlight_forecasters.engine.options import changes, few_graphs, without_cuda_graphs
from greenlight_forecasters.engine.replay import CallCompiler


@pytest.mark.parametrize("mode", ["default", "reduce-overhead", "max-autotune"])
def test_without_cuda_graphs_the_options_are_the_same(mode):
    """As this torch has them: what is recorded must be what the mode would have compiled."""
    options = torch._inductor.list_mode_options()
    graphs = options[mode].pop("triton.cudagraphs", False)
    other = without_cuda_graphs(mode)
    assert graphs is (other is not None)
    if other is not None:
        assert options[other] == options[mode]


def test_on_a_cpu_a_call_is_compiled_once_and_runs_each_time():
    torch.compiler.reset()
    total, step = torch.zeros(4), torch.ones(4)

    def call() -> None:
        total.add_(step.exp().log())

    with HealthRecorder() as recorder:
        compiled = CallCompiler("reduce-overhead", torch.device("cpu")).compile(call)
        for _ in range(3):
            compiled()
    health = recorder.record()
    torch.testing.assert_close(total, torch.full((4,), 3.0))
    assert health["graphs"] == 1 and health["calls"]["total"] == 3 and health["recompiles"] == []
    assert health["cuda_graphs"]["requested"] is True and health["cuda_graphs"]["engaged"] is False


def test_what_changes_after_warm_up_is_compiled_anew_and_the_gate_sees_it():
    """What runs is what torch.compile checks: another number of threads, an attribute, a weight at another address."""
    torch.compiler.reset()

    class Engine(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(4))
            self.step = 1.0

        def run(self) -> None:
            self.total.add_(torch.exp(self.total * 0.0) * self.step)

    engine = Engine()
    before = torch.get_num_threads()
    with HealthRecorder() as recorder:
        compiled = CallCompiler("default", torch.device("cpu")).compile(engine.run)
        compiled()
        recorder.end_of_warm_up()
        for _ in range(3):
            compiled()
        assert recorder.record()["recompiles_after_warm_up"] == 0
        engine.step = 2.0
        compiled()
        assert recorder.record()["recompiles_after_warm_up"] == 1
        try:
            torch.set_num_threads(before + 1)
            compiled()
        finally:
            torch.set_num_threads(before)
    torch.testing.assert_close(engine.total, torch.full((4,), 8.0))
    assert recorder.record()["recompiles_after_warm_up"] == 2


def test_what_engines_change_is_named():
    """A name and a sentence each; what the options say is what is passed to torch.compile."""
    compiled = changes("default", "cpu")
    assert set(changes("eager", "cpu")) <= {"native-products"} and set(changes(None, "cpu")) <= {"native-products"}
    assert set(changes("eager", "cpu")) < set(compiled)
    options = few_graphs("default", "cpu")["options"]
    said = " ".join(compiled.values())
    for option in options.keys() - torch._inductor.list_mode_options("default", False).keys():
        assert f"{option}={options[option]}" in said, f"{option} is passed and not named"
    assert changes("default", "cuda:0") == {}
    assert set(changes("reduce-overhead", "cuda:0")) == {"own-cuda-graphs"}


def test_an_observer_is_told_of_cuda_graphs_that_an_engine_records_itself():
    with HealthRecorder() as recorder:
        own_cuda_graph_ran(recorded=True)
        own_cuda_graph_ran(recorded=False)
        own_cuda_graph_ran(recorded=False)
    own_cuda_graph_ran(recorded=False)
    observer = recorder._observer
    assert (observer.own_cuda_graphs, observer.recordings, observer.calls) == (1, 1, 2)
