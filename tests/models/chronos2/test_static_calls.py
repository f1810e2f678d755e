"""What is the caller's and what is not: results, inputs, and calls that are refused.

Threads, states of torch and forks: `tests/models/test_in_a_process.py`.
"""

from __future__ import annotations

import pytest
import torch

from greenlight.errors import UserError
from greenlight_forecasters.chronos2.engine import Chronos2Engine


@pytest.fixture(scope="module")
def engine(folder):
    return Chronos2Engine.from_checkpoint(folder)


def walk(seed):
    generator = torch.Generator().manual_seed(seed)
    return 100 + torch.randn(3, 2, 100, generator=generator).cumsum(-1)


def test_results_are_the_callers(engine):
    first = engine.quantiles(walk(1), 48)
    kept = first.clone()
    engine.quantiles(walk(2), 48)
    assert torch.equal(first, kept)
    first.zero_()
    assert torch.equal(engine.quantiles(walk(1), 48), kept)


def test_inputs_are_not_written_to(engine):
    contexts = walk(1)
    contexts[0, 0, :30] = torch.nan
    before = contexts.clone()
    engine.quantiles(contexts, 5)
    assert torch.equal(contexts.nan_to_num(-1), before.nan_to_num(-1))


@pytest.mark.parametrize("horizon", [0, -3, 1025])
def test_a_horizon_beyond_one_pass(engine, horizon):
    with pytest.raises(UserError, match="1 to 1024 rows"):
        engine.quantiles(walk(1), horizon)


@pytest.mark.parametrize("size", [(3, 4), (0, 1, 4), (1, 0, 4), (1, 1, 0)])
def test_shapes_that_do_not_fit(engine, size):
    with pytest.raises(ValueError, match="expected contexts"):
        engine.quantiles(torch.zeros(size), 4)


def test_more_variates_than_can_see_each_other(engine):
    with pytest.raises(ValueError, match="65 variates"):
        engine.quantiles(torch.rand(1, 65, 20), 4)
