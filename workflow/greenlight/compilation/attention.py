"""Attention on a CPU with the sums of its exponentials, by which attentions over parts of the keys can be joined.

The operator is torch's own and private; `scaled_dot_product_attention` runs it and keeps the sums to itself.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attention_with_sums(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False) -> tuple[Tensor, Tensor]:
    """The attention [batch, heads, tokens, size], and the logarithms of its sums [batch, heads, tokens].

    On a CPU, over at least one key: torch's kernel dies of none.
    """
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, is_causal)
