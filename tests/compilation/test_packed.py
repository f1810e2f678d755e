"""Packed weights: the same products, told apart at run time, and no packing where it can't be had."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from greenlight_forecasters.engine.packed import pack, packed_linear


def layer(outputs=96, inputs=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(outputs, inputs, generator=generator), torch.randn(outputs, generator=generator)


@pytest.fixture
def packed():
    weight, _ = layer()
    stand_in = pack(weight)
    if stand_in is None:
        pytest.skip("no C++ compiler")
    return stand_in


@pytest.mark.parametrize("shape", [(8, 40), (3, 5, 40), (1, 40), (2, 2, 300, 40)])
def test_products_are_those_of_the_plain_weights(packed, shape):
    weight, bias = layer()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(packed_linear(x, packed, bias), functional.linear(x, weight, bias))
    torch.testing.assert_close(packed_linear(x, packed, None), functional.linear(x, weight))
    turned = x.transpose(0, -2)
    torch.testing.assert_close(packed_linear(turned, packed, bias), functional.linear(turned, weight, bias))


def test_a_stand_in_has_the_shape_and_no_memory(packed):
    assert packed.shape == (96, 40)
    assert packed.untyped_storage().nbytes() == 4


@pytest.mark.parametrize(
    "weight",
    [layer()[0].double(), layer()[0].bfloat16(), torch.full((16, 16), torch.nan), layer(40)[0]],
    ids=["f64", "bf16", "nan", "no whole panels"],
)
def test_what_can_not_be_packed_is_left(weight):
    assert pack(weight) is None


@pytest.mark.slow
def test_one_compiled_graph_serves_any_weights(packed):
    torch.compiler.reset()
    weight, bias = layer(seed=5)
    other = pack(weight)
    x = torch.randn(8, 40, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(lambda x, w, b: torch.relu(packed_linear(x, w, b)) + 1, fullgraph=True)
    first = compiled(x, packed, bias)
    with torch.compiler.set_stance("fail_on_recompile"):
        second = compiled(x, other, bias)
    torch.testing.assert_close(first, functional.linear(x, layer()[0], bias).relu() + 1)
    torch.testing.assert_close(second, functional.linear(x, weight, bias).relu() + 1)


def test_a_row_is_the_same_in_any_company_and_by_any_number_of_threads(packed):
    _, bias = layer()
    x = torch.randn(300, 40, generator=torch.Generator().manual_seed(1))
    whole = packed_linear(x, packed, bias)
    for rows in (1, 5, 8, 13):
        assert torch.equal(packed_linear(x[:rows], packed, bias), whole[:rows])
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(packed_linear(x, packed, bias), whole)
    finally:
        torch.set_num_threads(threads)


def test_an_input_that_does_not_fit_is_refused(packed):
    for x in (torch.ones(2, 41), torch.ones(2, 40, dtype=torch.float64)):
        with pytest.raises(ValueError, match=r"expected float32 \[..., 40\], found"):
            packed_linear(x, packed, None)
