"""Attention of our own is torch's, in any layout, and where it can't be had torch's is taken."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from greenlight_forecasters.engine.attention import causal_attention


def parts(batch, heads, tokens, size, dtype=torch.float32):
    """Query, key and value as views of one tensor [batch, tokens, 3, heads, size], as a joined product gives them."""
    joined = torch.randn(batch, tokens, 3, heads, size, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return (3 * joined).permute(2, 0, 3, 1, 4).unbind(0)


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (2, 3, 19, 20), (1, 2, 64, 64), (3, 1, 130, 52)])
def test_it_is_causal_attention_and_rounds_no_more_than_torchs(shape):
    three = parts(*shape)
    exact = scaled_dot_product_attention(*(part.double() for part in three), is_causal=True).transpose(1, 2)
    own = causal_attention(*three) - exact
    torchs = scaled_dot_product_attention(*three, is_causal=True).transpose(1, 2) - exact
    assert own.square().mean().sqrt() <= 1.3 * torchs.square().mean().sqrt() + 1e-9
    assert own.abs().max() <= 2 * torchs.abs().max() + 1e-9


def test_float64_is_torchs():
    three = parts(2, 3, 19, 20, torch.float64)
    expected = scaled_dot_product_attention(*three, is_causal=True).transpose(1, 2)
    assert torch.equal(causal_attention(*three), expected)


def test_other_layouts_and_far_scores():
    """Dimensions in any order; scores so far apart that all but one weight vanish."""
    query, key, value = (part.transpose(2, 3).contiguous().transpose(2, 3) for part in parts(1, 2, 40, 16))
    found = causal_attention(100 * query, key, value)
    expected = scaled_dot_product_attention(100 * query.double(), key.double(), value.double(), is_causal=True)
    torch.testing.assert_close(found, expected.transpose(1, 2).float(), rtol=1e-4, atol=1e-4)


def test_a_batch_and_later_tokens_change_nothing():
    query, key, value = parts(3, 2, 40, 16)
    whole = causal_attention(query, key, value)
    assert torch.equal(causal_attention(query[1:2], key[1:2], value[1:2]), whole[1:2])
    assert torch.equal(causal_attention(query[..., :23, :], key[..., :23, :], value[..., :23, :]), whole[:, :23])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_no_number_stays_in_its_window_and_is_seen(which):
    three = [part.clone() for part in parts(2, 2, 40, 16)]
    three[which][0, 1, 20, 3] = torch.nan
    found = causal_attention(*three)
    assert found[1].isfinite().all() and found[0, :, 0].isfinite().all() and found[0, :16, 1].isfinite().all()
    seen = found[0, 20, 1] if which < 2 else found[0, 20:, 1, 3]
    assert seen.isnan().all()


@pytest.mark.slow
def test_it_can_be_compiled():
    torch.compiler.reset()
    query, key, value = parts(2, 2, 40, 16)
    compiled = torch.compile(lambda *three: causal_attention(*three).flatten(2) + 1, fullgraph=True)
    torch.testing.assert_close(compiled(query, key, value), causal_attention(query, key, value).flatten(2) + 1)
