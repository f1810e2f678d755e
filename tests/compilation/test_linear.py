"""Linear layers as the static engine arranges them compute what linear layers do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from greenlight_forecasters.engine.linear import PackedLinear, SummedLinear, arrange
from greenlight_forecasters.engine.sums import MOST_SUMMED_ROWS


def _layer(inputs: int, outputs: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs).requires_grad_(False)


@pytest.mark.parametrize("shape", [(1, 1, 8), (MOST_SUMMED_ROWS,), (2, MOST_SUMMED_ROWS), (3,)])
def test_sums_are_the_product(shape):
    """Of a normalised input, as in the network, in compiled code, with few rows and with more."""
    linear = _layer(96, 40)
    summed = SummedLinear.of(linear)
    summed.summing = True
    assert summed.weight is linear.weight
    rows = 5 + 3 * torch.randn(*shape, 96)

    def normalised(layer: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        return layer(rows / rows.square().mean(-1, keepdim=True).sqrt())

    found = torch.compile(normalised, fullgraph=True)(summed, rows)
    expected = normalised(linear.double(), rows.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


def test_only_few_rows_are_summed_only_in_compiled_code_and_where_asked_for():
    operations = []

    def recording(graph: torch.fx.GraphModule, _):
        operations.append({str(node.target) for node in graph.graph.nodes})
        return graph

    summed = SummedLinear.of(_layer(8, 4))
    for count, summed.summing in ((4, False), (MOST_SUMMED_ROWS, True), (MOST_SUMMED_ROWS + 1, True)):
        torch.compiler.reset()
        torch.compile(summed, backend=recording, dynamic=False)(torch.ones(count, 8))
    unasked, few, many = operations
    assert any("store" in name for name in few) and not any("linear" in name for name in few)
    for plain in (unasked, many):
        assert any("linear" in name for name in plain) and not any("store" in name for name in plain)
    rows = torch.randn(4, 8)
    assert torch.equal(summed(rows), nn.functional.linear(rows, summed.weight, summed.bias))


def test_large_layers_are_packed_on_a_cpu_and_give_up_their_weights():
    large, small = _layer(512, 512), _layer(16, 16)
    rows = torch.randn(8, 512)
    expected = large.double()(rows.double())
    network = arrange(nn.ModuleDict({"inner": nn.ModuleList([large.float(), small])}))
    packed, plain = network["inner"]
    assert isinstance(packed, PackedLinear) and plain is small
    assert packed.stand_in.untyped_storage().nbytes() == 4
    torch.testing.assert_close(packed(rows).double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.compile(packed, fullgraph=True)(rows), packed(rows), rtol=0, atol=0)


@pytest.mark.parametrize("training", [False, True])
def test_layers_stay_in_the_mode_that_they_were_in(training):
    """Guards refuse a network in training mode, as which new modules begin."""
    network = arrange(nn.Sequential(_layer(512, 512), nn.Sequential(_layer(16, 16))).train(training))
    assert {module.training for module in network.modules()} == {training}
    assert isinstance(network[0], PackedLinear)
