"""Calls on fixed buffers; that they become CUDA graphs is seen in test_on_gpu.py."""

import pytest
import torch

from greenlight.compilation.health import HealthRecorder
from greenlight.compilation.modes import without_cuda_graphs
from greenlight.compilation.replay import CallCompiler


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
