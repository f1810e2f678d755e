"""The published model: hierarchical tokens in, logits of the coarse token, then of the fine one, out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from greenlight_forecasters.kronos.config import ModelConfig
from greenlight_forecasters.kronos.layers import Block, CrossAttention, RMSNorm

# What a stamp counts and how many values each has: minute, hour, weekday, day, month.
STAMPS = {"minute": 60, "hour": 24, "weekday": 7, "day": 32, "month": 13}
CROSS_HEADS = 4


class HierarchicalEmbedding(nn.Module):
    """One vector for a pair of tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.emb_s1 = nn.Embedding(config.classes[0], config.d_model)
        self.emb_s2 = nn.Embedding(config.classes[1], config.d_model)
        self.fusion_proj = nn.Linear(2 * config.d_model, config.d_model)
        self.scale = math.sqrt(config.d_model)

    def forward(self, s1: Tensor, s2: Tensor) -> Tensor:
        """Two index tensors [...] to [..., width]."""
        pair = (self.emb_s1(s1) * self.scale, self.emb_s2(s2) * self.scale)
        return self.fusion_proj(torch.cat(pair, dim=-1))


class FixedEmbedding(nn.Module):
    """An embedding that is not trained: sines and cosines of the index."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        angles = torch.outer(
            torch.arange(classes, dtype=torch.float32),
            torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width)),
        )
        table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
        self.emb = nn.Embedding.from_pretrained(table, freeze=True)

    def forward(self, index: Tensor) -> Tensor:
        """[...] to [..., width]."""
        return self.emb(index)


class TemporalEmbedding(nn.Module):
    """The sum of the embeddings of minute, hour, weekday, day and month."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kind = nn.Embedding if config.learn_te else FixedEmbedding
        for name, classes in STAMPS.items():
            self.add_module(f"{name}_embed", kind(classes, config.d_model))

    def forward(self, stamps: Tensor) -> Tensor:
        """[..., 5] to [..., width]."""
        minute, hour, weekday, day, month = stamps.unbind(-1)
        return (
            self.hour_embed(hour)
            + self.weekday_embed(weekday)
            + self.day_embed(day)
            + self.month_embed(month)
            + self.minute_embed(minute)
        )


class DependencyAwareLayer(nn.Module):
    """Conditions the context on a coarse token; always with four heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(width, CROSS_HEADS)
        self.norm = RMSNorm(width)

    def forward(self, context: Tensor, token: Tensor) -> Tensor:
        """[batch, length, width] and [batch, 1 or length, width] to [batch, length, width]."""
        return self.norm(context + self.cross_attn(token, context))


class DualHead(nn.Module):
    """Logits of both tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.proj_s1 = nn.Linear(config.d_model, config.classes[0])
        self.proj_s2 = nn.Linear(config.d_model, config.classes[1])


class KronosNetwork(nn.Module):
    """The network with the published parameter names, so that published weights load."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = HierarchicalEmbedding(config)
        self.time_emb = TemporalEmbedding(config)
        self.token_dropout = nn.Dropout(config.token_dropout_p)
        self.transformer = nn.ModuleList(
            Block(
                config.d_model,
                config.n_heads,
                config.ff_dim,
                config.ffn_dropout_p,
                config.attn_dropout_p,
                config.resid_dropout_p,
            )
            for _ in range(config.n_layers)
        )
        self.norm = RMSNorm(config.d_model)
        self.dep_layer = DependencyAwareLayer(config.d_model)
        self.head = DualHead(config)

    def decode_s1(self, s1: Tensor, s2: Tensor, stamps: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the next coarse token at each position, and the hidden states that `decode_s2` reads.

        Args:
            s1, s2: [batch, length] int64.
            stamps: [batch, length, 5] int64.

        Returns:
            [batch, length, s1 classes] and [batch, length, width].
        """
        x = self.token_dropout(self.embedding(s1, s2) + self.time_emb(stamps))
        for block in self.transformer:
            x = block(x)
        x = self.norm(x)
        return self.head.proj_s1(x), x

    def decode_s2(self, context: Tensor, s1: Tensor) -> Tensor:
        """Logits [batch, length, s2 classes] given the next coarse token.

        Args:
            context: [batch, length, width] of `decode_s1`.
            s1: [batch, 1] int64; only the last position of the logits has a meaning. Or [batch, length], the
                true coarse tokens of each position, as in training.
        """
        return self.head.proj_s2(self.dep_layer(context, self.embedding.emb_s1(s1)))
