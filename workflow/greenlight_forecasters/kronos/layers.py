"""The building blocks that model and tokenizer share, under the published parameter names.

Source of the mathematics: the published code (github.com/shiyu-coder/Kronos, MIT) and paper arXiv 2508.02739.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

ROPE_BASE = 10000
NORM_EPSILON = 1e-5


class RMSNorm(nn.Module):
    """Root mean square norm; computed in float32 at least, in float64 for float64 inputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to [..., width]."""
        return normalised(x) * self.weight


def normalised(x: Tensor) -> Tensor:
    """[..., width] divided by its root mean square, before the norm's weight."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + NORM_EPSILON)).to(x.dtype)


class FeedForward(nn.Module):
    """Gated MLP: w2(silu(w1 x) * w3 x)."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to [..., width]."""
        return self.dropout(self.w2(functional.silu(self.w1(x)) * self.w3(x)))


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the two halves of the last dimension by the angles of a position (RoPE)."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


class Rotary(nn.Module):
    """Cosines and sines of the positions 0, 1, ..., kept for the last length that was asked for.

    The published code keeps them so; under torch.compile that attribute is a guard that fails at every new
    length. The reference keeps it, because that is what a user of the published code would deploy.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        frequencies = 1.0 / ROPE_BASE ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
        self.register_buffer("inv_freq", frequencies)
        self.cached_length: int | None = None
        self.cached: tuple[Tensor, Tensor] | None = None

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """Two tensors [length, size]."""
        if self.cached_length != length or self.cached is None:
            self.cached_length = length
            self.cached = rotary_table(self.inv_freq, length)
        return self.cached


def rotary_table(frequencies: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [length, 2 * frequencies] of the positions 0 to length - 1."""
    positions = torch.arange(length, device=frequencies.device).to(frequencies.dtype)
    angles = torch.outer(positions, frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


class Attention(nn.Module):
    """The projections of multi-head attention; the subclasses differ in mask and rotation."""

    def __init__(self, width: int, heads: int, attention_dropout: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.size = width // heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.rotary = Rotary(self.size)
        self.attention_dropout = attention_dropout
        self.dropout = nn.Dropout(dropout)

    def split(self, x: Tensor) -> Tensor:
        """[batch, length, width] to [batch, heads, length, size]."""
        return x.unflatten(-1, (self.heads, self.size)).transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
        """Attention over split tensors, joined and projected: [batch, query length, width]."""
        mixed = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.attention_dropout if self.training else 0.0, is_causal=causal
        )
        return self.dropout(self.out_proj(mixed.transpose(1, 2).flatten(2)))


class SelfAttention(Attention):
    """Causal attention with RoPE."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length, width] to [batch, length, width]."""
        cosine, sine = self.rotary(x.shape[1])
        query = rotate(self.split(self.q_proj(x)), cosine, sine)
        key = rotate(self.split(self.k_proj(x)), cosine, sine)
        return self.attend(query, key, self.split(self.v_proj(x)), causal=True)


class CrossAttention(Attention):
    """Attention of one coarse token over the hidden states of the context.

    When decoding, the published code rotates query and keys by position 0, which is no rotation, and masks
    nothing; so does this one. While training every position has its own query, which must not see later rows.
    """

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """[batch, queries, width] over [batch, length, width] to [batch, queries, width].

        One query sees the whole context; `length` queries see the context causally.
        """
        return self.attend(
            self.split(self.q_proj(query)),
            self.split(self.k_proj(context)),
            self.split(self.v_proj(context)),
            causal=query.shape[1] > 1,
        )


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        ffn_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = RMSNorm(width)
        self.self_attn = SelfAttention(width, heads, attention_dropout, dropout)
        self.norm2 = RMSNorm(width)
        self.ffn = FeedForward(width, hidden, ffn_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length, width] to [batch, length, width]."""
        x = x + self.self_attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))
