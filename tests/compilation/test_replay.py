"""Calls on fixed buffers; that they become CUDA graphs is seen in test_on_gpu.py."""

import pytest
import torch

from greenlight.watch.health import HealthRecorder
from greenlight.watch.modes import without_cuda_graphs
from greenlight_forecasters.engine.replay import CallCompiler, compile_call


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


def test_on_a_cpu_results_are_given_each_time_and_later_runs_check_nothing():
    torch.compiler.reset()
    total, step = torch.zeros(4), torch.ones(4)
    switch = [1.0]

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        total.add_(step)
        return total * switch[0], total.sum()

    compiled = compile_call(call, "default", "cpu")
    kept = [compiled() for _ in range(2)]
    switch[0] = 2.0  # what must not change; torch.compile's guard would see it
    kept.append(compiled())
    for number, (times, summed) in enumerate(kept, start=1):
        torch.testing.assert_close(times, torch.full((4,), float(number)))
        assert summed == 4.0 * number


def test_a_call_that_is_more_than_its_graph_stays_torch_compiles():
    torch.compiler.reset()
    total = torch.zeros(4)
    counted = []

    def call() -> tuple[torch.Tensor, float]:
        total.add_(1.0)
        return total.clone(), 1.0

    compiled = compile_call(call, "default", "cpu")
    for number in range(1, 4):
        counted.append(compiled())
        assert counted[-1][1] == 1.0 and counted[-1][0][0] == number
