"""The weights of a network as the static decoder reads them: products joined, tables looked up, packed on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenlight_forecasters.engine.packed import pack, packed_linear
from greenlight_forecasters.engine.sums import few_rows, summed_linear
from greenlight_forecasters.kronos.network import CROSS_HEADS, KronosNetwork


class Linear(nn.Module):
    """One product in place of several that share their input.

    The parts give up their weights and biases: they become views of the joined ones, or, where weights are packed,
    stand-ins without numbers, so that there is one copy of them.

    Args:
        parts: layers of the same input.

    Attributes:
        summing: whether compiled code runs few rows as sums.
    """

    summing = False

    def __init__(self, *parts: nn.Linear) -> None:
        super().__init__()
        weight = torch.cat([part.weight.detach() for part in parts])
        biases = [part.bias.detach() for part in parts if part.bias is not None]
        packed = pack(weight)
        self.is_packed = packed is not None
        self.register_buffer("weight", weight if packed is None else packed, persistent=False)
        self.register_buffer("bias", torch.cat(biases) if biases else None, persistent=False)
        sizes = [part.out_features for part in parts]
        for part, own in zip(parts, self.weight.split(sizes), strict=True):
            part.weight = nn.Parameter(own, requires_grad=False)
        if biases:
            for part, own in zip(parts, self.bias.split(sizes), strict=True):
                part.bias = nn.Parameter(own, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        if self.is_packed:
            return packed_linear(x, self.weight, self.bias)
        product = summed_linear if self.summing and few_rows(x) else functional.linear
        return product(x, self.weight, self.bias)


class JoinedBlock(nn.Module):
    """A transformer block without its attention, of which it has the weights."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        attention = block.self_attn
        self.heads, self.size = attention.heads, attention.size
        self.frequencies = attention.rotary.inv_freq
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.qkv = Linear(attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = Linear(attention.out_proj)
        self.gates = Linear(block.ffn.w1, block.ffn.w3)
        self.down = Linear(block.ffn.w2)

    def split(self, x: Tensor) -> Tensor:
        """Query, key and value of normalised x [..., width]: [..., 3, heads, size]."""
        return self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The rest of the block: x and what its attention mixed, both [..., width]."""
        x = x + self.out(mixed)
        gate, value = self.gates(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * value)


class JoinedNetwork(nn.Module):
    """The weights of a network, which is not to be used on its own afterwards but for its time embedding.

    What the tables are made of becomes stand-ins without numbers.

    Attributes:
        table_s1, table_s2: [classes, width], what a token adds to the embedded pair.
        table_query: [s1 classes, heads, size], the query of the cross-attention.
    """

    def __init__(self, network: KronosNetwork) -> None:
        super().__init__()
        embedding, cross = network.embedding, network.dep_layer.cross_attn
        self.classes, self.width = network.config.classes, network.config.d_model
        first, second = embedding.fusion_proj.weight.chunk(2, dim=-1)
        s1, s2 = embedding.emb_s1.weight, embedding.emb_s2.weight
        tables = {
            "table_s1": s1 * embedding.scale @ first.T + embedding.fusion_proj.bias,
            "table_s2": s2 * embedding.scale @ second.T,
            "table_query": cross.q_proj(s1).unflatten(-1, (CROSS_HEADS, -1)),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        for module in (embedding.emb_s1, embedding.emb_s2, embedding.fusion_proj, cross.q_proj):
            for name, weight in list(module.named_parameters()):
                stand_in = weight.new_zeros(1).expand(weight.shape)
                setattr(module, name, nn.Parameter(stand_in, requires_grad=False))
        self.blocks = nn.ModuleList(JoinedBlock(block) for block in network.transformer)
        self.norm, self.cross_norm = network.norm, network.dep_layer.norm
        self.cross_heads, self.cross_size = cross.heads, cross.size
        self.cross_kv = Linear(cross.k_proj, cross.v_proj)
        self.cross_out = Linear(cross.out_proj)
        self.head_s1 = Linear(network.head.proj_s1)
        self.head_s2 = Linear(network.head.proj_s2)

    def sum_few_rows(self, summing: bool) -> None:
        """Whether compiled products of few rows run as sums."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.summing = summing
