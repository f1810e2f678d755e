"""The published tokenizer: a candle to two tokens by binary spherical quantisation, and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenlight_forecasters.kronos.config import TokenizerConfig
from greenlight_forecasters.kronos.layers import Block


class Quantizer(nn.Module):
    """Signs of the components of a unit vector; the first s1_bits of them are the coarse token.

    Binary spherical quantisation, arXiv 2406.07548. A token has its least significant bit first; the
    published buffers `basis` and `group_basis`, most significant first, belong to the training loss only.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.s1_bits = config.s1_bits
        self.bits = config.s1_bits + config.s2_bits
        self.scale = self.bits**-0.5
        self.bsq = nn.Module()
        for name, size in (("basis", self.bits), ("group_basis", config.group_size)):
            self.bsq.register_buffer(name, 2 ** torch.arange(size - 1, -1, -1))

    def forward(self, z: Tensor) -> Tensor:
        """[..., bits] to the codes [..., bits] of +-1/sqrt(bits); the gradient passes straight through."""
        unit = functional.normalize(z, dim=-1)
        signs = torch.where(unit > 0, 1.0, -1.0).to(unit.dtype)
        return (unit + (signs - unit).detach()) * self.scale

    def tokens(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [..., bits] to s1 and s2 [...] int64."""
        halves = (codes > 0).to(torch.int64).split((self.s1_bits, self.bits - self.s1_bits), dim=-1)
        s1, s2 = ((half << torch.arange(half.shape[-1], device=half.device)).sum(-1) for half in halves)
        return s1, s2

    def codes(self, s1: Tensor, s2: Tensor, dtype: torch.dtype) -> Tensor:
        """s1 and s2 [...] to codes [..., bits]."""
        joint = s1 | (s2 << self.s1_bits)
        bits = (joint.unsqueeze(-1) >> torch.arange(self.bits, device=joint.device)) & 1
        return (bits.to(dtype) * 2 - 1) * self.scale


class KronosTokenizer(nn.Module):
    """The tokenizer with the published parameter names, so that published weights load."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        width, bits = config.d_model, config.s1_bits + config.s2_bits
        self.embed = nn.Linear(config.d_in, width)
        self.head = nn.Linear(width, config.d_in)
        # The published code builds one block fewer than the configuration says.
        self.encoder = nn.ModuleList(self._block() for _ in range(config.n_enc_layers - 1))
        self.decoder = nn.ModuleList(self._block() for _ in range(config.n_dec_layers - 1))
        self.quant_embed = nn.Linear(width, bits)
        self.post_quant_embed_pre = nn.Linear(config.s1_bits, width)
        self.post_quant_embed = nn.Linear(bits, width)
        self.tokenizer = Quantizer(config)

    def _block(self) -> Block:
        config = self.config
        dropouts = (config.ffn_dropout_p, config.attn_dropout_p, config.resid_dropout_p)
        return Block(config.d_model, config.n_heads, config.ff_dim, *dropouts)

    def quantize(self, candles: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised candles [batch, length, 6] to vectors before quantisation and codes [..., bits]."""
        x = self.embed(candles)
        for block in self.encoder:
            x = block(x)
        x = self.quant_embed(x)
        return x, self.tokenizer(x)

    def encode(self, candles: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised candles [batch, length, 6] to s1 and s2 [batch, length] int64."""
        return self.tokenizer.tokens(self.quantize(candles)[1])

    def decode(self, s1: Tensor, s2: Tensor) -> Tensor:
        """s1 and s2 [batch, length] to normalised candles [batch, length, 6]."""
        return self.reconstruct(self.post_quant_embed(self.tokenizer.codes(s1, s2, self.head.weight.dtype)))

    def forward(self, candles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstructions from the coarse and from both tokens, and the vectors before quantisation."""
        z, codes = self.quantize(candles)
        coarse = self.reconstruct(self.post_quant_embed_pre(codes[..., : self.config.s1_bits]))
        return coarse, self.reconstruct(self.post_quant_embed(codes)), z

    def reconstruct(self, x: Tensor) -> Tensor:
        """Embedded codes [batch, length, width] to normalised candles [batch, length, 6]."""
        for block in self.decoder:
            x = block(x)
        return self.head(x)
