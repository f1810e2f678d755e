"""The repair of the published KV cache, for a model that is already loaded; toto-ts is not edited.

Three things keep cached decoding from compiling whole and from being right:

1. `KVCache` keeps its indices in tensors and asks for them with `.item()`: on a GPU each is a wait for the
   device, under torch.compile each is a graph break. Here they are plain integers.
2. `scaled_dot_product_attention` gets `is_causal` from a comparison with such an index, which torch.compile
   turns into a symbolic boolean, and breaks. Here it is a plain bool.
3. The xPos exponent is centred on the middle of the positions of *this* call. Uncached, one centre serves all
   positions and cancels in the product of query and key. Cached, keys keep the centre of the step that wrote
   them, so that the logits after the first patch are off. Here the centre is constant.

    from greenlight_forecasters.toto.repair import repair_kv_cache
    repair_kv_cache(toto)
"""

from __future__ import annotations

from math import ceil

import torch
from einops import rearrange
from torch.nn.functional import scaled_dot_product_attention
from toto.model.attention import AttentionAxis, SpaceWiseMultiheadAttention, TimeWiseMultiheadAttention
from toto.model.backbone import TotoBackbone
from toto.model.rope import TimeAwareRotaryEmbedding
from toto.model.toto import Toto
from toto.model.util import KV, KVCache


class HostIndexKVCache(KVCache):
    """The published cache with its indices on the host."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._layer_cache_map = self._layer_cache_map.tolist()
        self._current_idx = self._current_idx.tolist()

    def __getitem__(self, layer_idx: int) -> KV:
        index = self._layer_cache_map[layer_idx]
        return self._kept(self._keys, index), self._kept(self._values, index)

    def current_len(self, cache_idx: int) -> int:
        """Number of tokens kept for a time-wise layer."""
        return self._current_idx[cache_idx]

    def seq_len(self, layer_idx: int) -> int:
        """Number of tokens kept for a layer of the transformer."""
        return self._current_idx[self._layer_cache_map[layer_idx]]

    def append(self, layer_idx: int, kv: KV) -> None:
        """Keep the keys and values of new tokens; ValueError when they do not fit."""
        index = self._layer_cache_map[layer_idx]
        keys, values = kv
        start = self._current_idx[index]
        end = start + keys.shape[self._time_dim]
        if end > self.max_seq_len:
            raise ValueError(f"the KV cache holds {self.max_seq_len} tokens; {end} were to be kept")
        self._keys[index].narrow(self._time_dim, start, end - start).copy_(keys)
        self._values[index].narrow(self._time_dim, start, end - start).copy_(values)
        self._current_idx[index] = end

    def reset(self) -> None:
        """Forget all tokens."""
        self._keys.zero_()
        self._values.zero_()
        self._current_idx = [0] * len(self._current_idx)

    @property
    def _time_dim(self) -> int:
        return 1 if self.use_memory_efficient_attention else 2

    def _kept(self, cache: torch.Tensor, index: int) -> torch.Tensor:
        return cache[index].narrow(self._time_dim, 0, self._current_idx[index])


class _PlainCausalAttention(TimeWiseMultiheadAttention):
    """Time-wise attention that tells the kernel with a plain bool whether it is causal."""

    def run_attention(self, attention_mask, q, k, v, seq_pos_offset, dropout, seq_len, variate):
        if self.use_memory_efficient_attention or torch.is_tensor(attention_mask):
            return super().run_attention(attention_mask, q, k, v, seq_pos_offset, dropout, seq_len, variate)
        # A branch, not a comparison as an argument: it leaves a plain bool under torch.compile too.
        is_causal = True if seq_pos_offset == 0 else False  # noqa: SIM210
        return scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=is_causal)


class _ConstantCentreRotaryEmbedding(TimeAwareRotaryEmbedding):
    """Rotary embedding whose xPos exponent does not depend on which positions are asked for together."""

    def get_scale(self, t: torch.Tensor) -> torch.Tensor:
        scale = self.scale ** rearrange(t / self.scale_base, "... n -> ... n 1")
        return torch.cat((scale, scale), dim=-1)


class _HostIndexBackbone(TotoBackbone):
    """The published backbone, which hands out the repaired cache."""

    def allocate_kv_cache(
        self,
        batch_size: int,
        num_variates: int,
        max_time_steps: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> HostIndexKVCache:
        return HostIndexKVCache(
            batch_size=batch_size,
            num_variates=num_variates,
            transformer_layers=list(self.transformer.layers),
            num_layers=self.num_layers,
            embed_dim=self.embed_dim,
            num_heads=self.transformer.layers[0].num_heads,
            max_seq_len=ceil(max_time_steps / self.patch_embed.stride),
            device=device,
            dtype=dtype,
            use_memory_efficient_attention=self.use_memory_efficient_attention,
        )


def repair_kv_cache(model: Toto | TotoBackbone, *, constant_centre: bool = True) -> Toto | TotoBackbone:
    """Repair cached decoding of a loaded Toto in place, and return it. Call it before torch.compile.

    Args:
        model: a `Toto` or its `TotoBackbone`, of toto-ts 0.2.0.
        constant_centre: also mend the xPos centre, which changes cached forecasts beyond the first patch to
        what
            uncached decoding gives. False leaves every forecast bit for bit as it was.

    Raises:
        TypeError: not a loaded Toto (a compiled one hides its modules).
    """
    backbone = model.model if isinstance(model, Toto) else model
    if not isinstance(backbone, TotoBackbone):
        raise TypeError(f"expected a loaded Toto or TotoBackbone, not yet compiled, found {type(model).__name__}")
    # The classes of loaded modules are exchanged: parameters, buffers, hooks and names stay.
    backbone.__class__ = _HostIndexBackbone
    if constant_centre:
        backbone.transformer.rotary_emb.__class__ = _ConstantCentreRotaryEmbedding
    for layer in backbone.transformer.layers:
        if layer.attention_axis == AttentionAxis.TIME:
            layer.attention.__class__ = _PlainCausalAttention
        elif not isinstance(layer.attention, SpaceWiseMultiheadAttention):
            raise TypeError(f"unknown kind of attention: {type(layer.attention).__name__}")
    return model
