"""What a GPU does as sums where rows are few is what it does as products; here both on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from greenlight_forecasters.engine.sums import MOST_SUMMED_ROWS
from greenlight_forecasters.kronos.decoder import attend
from greenlight_forecasters.kronos.joined import Linear


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_over_the_prefix_as_sums(tokens, masked):
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    prefix, suffix = (2, 4, 20, 16), (2, 8, 4, 6, 16)
    cached = (numbers(*prefix), numbers(*prefix), numbers(*suffix), numbers(*suffix))
    known = torch.arange(20) < torch.tensor([[20], [7]]) if masked else None
    drawn = torch.arange(6) <= torch.arange(tokens)[:, None]
    query = numbers(2, 8, tokens, 4, 16)

    as_products, as_sums = (attend(query, cached, known, drawn, way) for way in (False, True))
    torch.testing.assert_close(as_sums, as_products, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [3, MOST_SUMMED_ROWS, MOST_SUMMED_ROWS + 1])
def test_compiled_products_of_few_rows_run_as_sums_where_asked_for(rows):
    torch.manual_seed(0)
    # An odd number of outputs is not packed.
    joined = Linear(nn.Linear(24, 5), nn.Linear(24, 6)).requires_grad_(False)
    x, seen = torch.randn(rows, 24), []

    def recording(graph, _):
        seen.append(any("store" in str(node.target) for node in graph.graph.nodes))
        return graph

    for joined.summing in (False, True):
        torch.compiler.reset()
        found = torch.compile(joined, backend=recording, dynamic=False)(x)
        torch.testing.assert_close(found, nn.functional.linear(x, joined.weight, joined.bias))
    assert seen == [False, rows <= MOST_SUMMED_ROWS]
