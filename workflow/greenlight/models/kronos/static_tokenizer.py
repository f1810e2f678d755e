"""The tokenizer's decoding of many samples that share their first tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from greenlight.models.kronos.layers import Block, SelfAttention, rotary_table, rotate
from greenlight.models.kronos.tokenizer import KronosTokenizer


def decode_paths(tokenizer: KronosTokenizer, known: tuple[Tensor, Tensor], drawn: tuple[Tensor, Tensor]) -> Tensor:
    """What `tokenizer.decode` gives for the drawn tokens, with the known ones computed once for all samples.

    Args:
        known: s1 and s2 [windows, length].
        drawn: s1 and s2 [windows, samples, steps].

    Returns:
        Normalised candles [windows, samples, steps, 6].
    """
    quantizer, dtype = tokenizer.tokenizer, tokenizer.head.weight.dtype
    prefix = tokenizer.post_quant_embed(quantizer.codes(*known, dtype))
    paths = tokenizer.post_quant_embed(quantizer.codes(*drawn, dtype)).flatten(0, 1)
    length, steps = prefix.shape[1], paths.shape[1]
    for number, block in enumerate(tokenizer.decoder, start=1):
        cosine, sine = rotary_table(block.self_attn.rotary.inv_freq, length + steps)
        query, key, value = _project(block, prefix, cosine[:length], sine[:length])
        paths = _continue(block, paths, key, value, cosine[length:], sine[length:])
        if number < len(tokenizer.decoder):
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            prefix = _finish(block, prefix, mixed)
    return tokenizer.head(paths).unflatten(0, (len(prefix), -1))


def _continue(block: Block, x: Tensor, key: Tensor, value: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """A block over the drawn tokens [windows * samples, steps, width], after keys and values of the prefix."""
    samples, steps, length = len(x) // len(key), x.shape[1], key.shape[2]
    query, own_key, own_value = _project(block, x, cosine, sine)
    keys, values = (
        torch.cat((shared.repeat_interleave(samples, dim=0), own), dim=2)
        for shared, own in ((key, own_key), (value, own_value))
    )
    seen = torch.ones(steps, length + steps, dtype=torch.bool, device=x.device).tril(length)
    return _finish(block, x, functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen))


def _project(block: Block, x: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated query and key, and value: [batch, heads, length, size] each."""
    attention: SelfAttention = block.self_attn
    x = block.norm1(x)
    query, key, value = (
        attention.split(project(x)) for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    return rotate(query, cosine, sine), rotate(key, cosine, sine), value


def _finish(block: Block, x: Tensor, mixed: Tensor) -> Tensor:
    x = x + block.self_attn.out_proj(mixed.transpose(1, 2).flatten(2))
    return x + block.ffn(block.norm2(x))
