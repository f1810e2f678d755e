"""The tokenizer's decoding of many samples that share their first tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from greenlight_forecasters.engine.attention import attention_with_sums, causal_attention
from greenlight_forecasters.kronos.decoder import attend
from greenlight_forecasters.kronos.joined import JoinedBlock
from greenlight_forecasters.kronos.layers import rotary_table, rotate
from greenlight_forecasters.kronos.tokenizer import KronosTokenizer


class PathDecoder(nn.Module):
    """What a tokenizer's `decode` gives for drawn tokens, with the known ones computed once for all samples.

    It takes over the weights of the tokenizer's decoder, which is not to be used on its own afterwards.
    """

    def __init__(self, tokenizer: KronosTokenizer) -> None:
        super().__init__()
        self.quantizer, self.embed, self.head = tokenizer.tokenizer, tokenizer.post_quant_embed, tokenizer.head
        self.blocks = nn.ModuleList(JoinedBlock(block) for block in tokenizer.decoder)

    def forward(self, known: tuple[Tensor, Tensor], drawn: tuple[Tensor, Tensor]) -> Tensor:
        """Normalised candles [windows, samples, steps, 6].

        Args:
            known: s1 and s2 [windows, length].
            drawn: s1 and s2 [windows, samples, steps].
        """
        dtype = self.head.weight.dtype
        prefix = self.embed(self.quantizer.codes(*known, dtype))
        paths = self.embed(self.quantizer.codes(*drawn, dtype))
        length, steps = prefix.shape[1], paths.shape[2]
        so_far = torch.ones(steps, steps, dtype=torch.bool, device=paths.device).tril()
        for number, block in enumerate(self.blocks, start=1):
            cosine, sine = (table[:, None] for table in rotary_table(block.frequencies, length + steps))
            query, key, value = _rotated(block.split(prefix), cosine[:length], sine[:length])
            own_query, own_key, own_value = _rotated(block.split(paths), cosine[length:], sine[length:])
            shared, own = ([part.transpose(-3, -2) for part in each] for each in ((key, value), (own_key, own_value)))
            if length and paths.device.type == "cpu":
                mixed = attend_in_pieces(own_query, (*shared, *own))
            else:
                mixed = attend(own_query, (*shared, *own), None, so_far)
            paths = block.finish(paths, mixed)
            if number < len(self.blocks):
                prefix = block.finish(prefix, causal_attention(query.transpose(1, 2), *shared).flatten(2))
        return self.head(paths)


def attend_in_pieces(query: Tensor, cached: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """What `attend` gives for all tokens of paths at once, on a CPU: scores never lie in memory as a whole.

    Two attentions, over the prefix and over the own tokens so far, are weighed by the sums of their exponentials.

    Args:
        query: [windows, samples, tokens, heads, size].
        cached: prefix key and value [windows, heads, prefix, size], own ones [windows, samples, heads, tokens, size].

    Returns:
        [windows, samples, tokens, heads * size].
    """
    prefix_key, prefix_value, own_key, own_value = cached
    windows, samples, tokens, heads, size = query.shape
    by_head = query.permute(0, 3, 1, 2, 4).reshape(windows, heads, samples * tokens, size)
    known, known_sum = attention_with_sums(by_head, prefix_key, prefix_value)
    known = known.unflatten(2, (samples, tokens)).permute(0, 2, 3, 1, 4)
    known_sum = known_sum.unflatten(2, (samples, tokens)).permute(0, 2, 3, 1)
    by_path = (part.flatten(0, 1) for part in (query.transpose(2, 3), own_key, own_value))
    own, own_sum = attention_with_sums(*by_path, is_causal=True)
    own = own.transpose(1, 2).unflatten(0, (windows, samples))
    own_sum = own_sum.transpose(1, 2).unflatten(0, (windows, samples))
    share = torch.sigmoid(known_sum - own_sum).to(own.dtype)  # the sums are float32 in reduced precisions, too
    return own.lerp(known, share.unsqueeze(-1)).flatten(3)


def _rotated(parts: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated query and key, and value, [..., length, heads, size] each, of [..., length, 3, heads, size]."""
    query, key, value = parts.unbind(-3)
    return rotate(query, cosine, sine), rotate(key, cosine, sine), value
