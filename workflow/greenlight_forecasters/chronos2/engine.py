"""Chronos-2 on few static shapes: the same weights and mathematics, made to compile.

A call scales its series, runs the network on the buffers of a bucket (see `buckets`), and scales back. Only the network
is compiled; scaling is the published code's own operations on the published shapes, so that it rounds as they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenlight.api import CONFIG, WEIGHTS, UserError, check_keys
from greenlight_forecasters.chronos2.buckets import Bucket, batches, context_buckets, future_buckets, smallest
from greenlight_forecasters.chronos2.checkpoint import Dimensions, published_names, read_dimensions, read_tensors
from greenlight_forecasters.chronos2.inputs import check_horizon
from greenlight_forecasters.chronos2.network import Network
from greenlight_forecasters.engine.calls import CallGuard, guarded, plain_state
from greenlight_forecasters.engine.linear import SummedLinear, arrange
from greenlight_forecasters.engine.options import changes
from greenlight_forecasters.engine.replay import CallCompiler

# What the published scaling puts in place of no spread at all.
_NO_SPREAD = 1e-5


class Pass(nn.Module):
    """One pass of the network on buffers: nothing is passed or returned, so that all stays at its address.

    Reads the buffers `values` [R, N, p], scaled prices from the oldest patch on, NaN where unknown; `context_patches`
    and `future_patches`, how many of each are used; and `groups` [R], whose series see each other. Writes `quantiles`
    [R, M, levels * p], still scaled.

    Attributes:
        uncompiled: whether it runs eagerly although its engine compiles.
    """

    uncompiled = False

    def __init__(self, network: Network, bucket: Bucket) -> None:
        super().__init__()
        self.network, self.bucket = network, bucket
        patch, levels = network.dimensions.patch, len(network.dimensions.quantiles)
        for name, size, dtype in (
            ("values", (bucket.rows, bucket.context_patches, patch), network.dtype),
            ("context_patches", (), torch.int64),
            ("future_patches", (), torch.int64),
            ("groups", (bucket.rows,), torch.int64),
            ("quantiles", (bucket.rows, bucket.future_patches, levels * patch), network.dtype),
        ):
            self.register_buffer(name, torch.zeros(size, dtype=dtype, device=network.device), persistent=False)
        self.eval()

    def run(self) -> None:
        """Fill `quantiles`."""
        network, room = self.network, self.bucket
        device, rows, future = self.values.device, room.rows, room.future_patches
        slots = torch.arange(room.context_patches, device=device)
        known = ~self.values.isnan() & (slots < self.context_patches)[:, None]
        back = (self.context_patches - 1 - slots).clamp(min=0)
        times = network.context_times[back].expand(rows, -1, -1)
        features = torch.cat([times, torch.where(known, self.values, 0.0), known.to(network.dtype)], dim=-1)
        hidden = torch.cat(
            [
                network.embedding(features),
                network.register.expand(rows, 1, -1),
                network.future[:future].expand(rows, -1, -1),
            ],
            dim=1,
        )
        after = torch.arange(1 + future, device=device)
        seen = torch.cat([known.any(-1), (after <= self.future_patches).expand(rows, -1)], dim=1)
        # The register and the patches to forecast come right after the context that is used.
        positions = torch.cat([slots, self.context_patches + after])
        cos, sin = network.cos[positions], network.sin[positions]
        among_tokens = _bias(seen, network.dtype)[:, None, None]
        among_rows = self._among_rows(seen) if room.grouped else None
        for block in network.blocks:
            # Of the last layer only the patches to forecast are looked at.
            hidden = block.over_time(hidden, future, among_tokens, cos, sin)
            bias = None if among_rows is None else among_rows[-hidden.shape[1] :]
            hidden = block.feed_forward(block.among_rows(hidden, bias))
        self.quantiles.copy_(network.head(network.norm(hidden)))

    def _among_rows(self, seen: Tensor) -> Tensor:
        """What a series sees at each token: those of its group that are there, and itself. [T, 1, R, R]."""
        same = self.groups[:, None] == self.groups
        itself = torch.eye(len(self.groups), dtype=torch.bool, device=same.device)
        return _bias((same & seen.T[:, None]) | itself, self.network.dtype)[:, None]


def _bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of attention: 0 at what is seen, else minus infinity."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, float("-inf"))


class Chronos2Engine:
    """Chronos-2's weights on a device, and buffers and compiled code for the buckets that were needed.

    It may be called from many threads, whose calls then wait for each other, and in any state of torch (`CallGuard`).
    Results are the caller's: no later call writes to them. They do not depend on the other windows of a call, but for
    the rounding of matrix products of another size.

    Attributes:
        admit: asked, with the bucket in words, whether code for a new one is compiled; eager code runs otherwise.
    """

    def __init__(self, network: Network, parameters: int) -> None:
        """Take over a network that is already on its device; its linear layers are arranged for it in place."""
        self.parameters = parameters
        self.dimensions: Dimensions = network.dimensions
        with plain_state(network.device):
            self.network = arrange(network)
        self.guard = CallGuard(network.device, {"network": network})
        self._device, self._dtype = network.device, network.dtype
        self.admit: Callable[[str], bool] = lambda shape: True
        self._mode: str | None = None
        self._compiler: CallCompiler | None = None
        self._passes: dict[Bucket, Pass] = {}

    @classmethod
    def from_checkpoint(
        cls, folder: Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> Chronos2Engine:
        """Load a published or fine-tuned checkpoint (config.json, model.safetensors).

        Raises:
            UserError: files that are not Chronos-2's, or do not fit each other.
        """
        dimensions, tensors = read_dimensions(folder), read_tensors(folder)
        check_keys(tensors, published_names(dimensions), str(folder / WEIGHTS))
        try:
            with plain_state(torch.device(device)):
                network = Network.from_published(dimensions, tensors, dtype, torch.device(device))
        except RuntimeError as error:
            raise UserError(f"{folder / WEIGHTS}: shapes do not fit {CONFIG}: {error}") from error
        return cls(network, sum(tensor.numel() for tensor in tensors.values()))

    @property
    def buckets(self) -> list[Bucket]:
        """The shapes that calls so far were run in."""
        return list(self._passes)

    def compile(self, mode: str) -> None:
        """Compile the network as one graph for each bucket, at the first call that needs it.

        Args:
            mode: one of torch.compile's. Where it has CUDA graphs, they are recorded here (`CallCompiler`).
        """
        with self.guard.rebuilding():
            self._mode, self._compiler = mode, CallCompiler(mode, self._device)
            for module in self.network.modules():
                if isinstance(module, SummedLinear):
                    module.summing = mode != "default"
            self._passes.clear()

    def changes(self) -> dict[str, str]:
        """What of torch this engine changes or goes round, by a short name, and the shapes that it runs calls in.

        See `engine.options.changes`.
        """
        shapes = "; ".join(bucket.describe(self.dimensions.patch) for bucket in self._passes) or "none yet"
        return changes(self._mode, str(self._device)) | {
            "masked-buckets": f"calls are filled up to few shapes, what is filled up is masked; used so far: {shapes}"
        }

    @guarded
    def quantiles(self, contexts: Tensor, horizon: int) -> Tensor:
        """Quantiles of the rows that follow, [windows, variates, levels, horizon] on the engine's device.

        Args:
            contexts: [windows, variates, length] of prices, NaN where unknown; variates of a window see each other.
                As published, of a longer context than the model's only the last rows are seen.

        Raises:
            UserError: a horizon beyond one pass.
            ValueError: shapes that do not fit.
        """
        if contexts.ndim != 3 or 0 in contexts.shape:
            raise ValueError(f"expected contexts [windows, variates, length], found {tuple(contexts.shape)}")
        windows, variates, _ = contexts.shape
        return self._rows(contexts.flatten(0, 1), [variates] * windows, horizon).unflatten(0, (windows, variates))

    @guarded
    def quantiles_of_each(self, contexts: Sequence[Tensor], horizon: int) -> list[Tensor]:
        """As `quantiles` of windows [variates, length] each, whose numbers of variates and rows may differ.

        Returns:
            [variates, levels, horizon] of each window. As published, what is shorter is filled up by unknown rows.
        """
        if not contexts or any(one.ndim != 2 or 0 in one.shape for one in contexts):
            raise ValueError(
                f"expected contexts [variates, length] each, found {[tuple(one.shape) for one in contexts]}"
            )
        longest = max(one.shape[-1] for one in contexts)
        filled = [
            one if one.shape[-1] == longest else functional.pad(one, (longest - one.shape[-1], 0), value=torch.nan)
            for one in contexts
        ]
        sizes = [len(one) for one in contexts]
        return list(self._rows(torch.cat(filled), sizes, horizon).split(sizes))

    def _rows(self, series: Tensor, sizes: list[int], horizon: int) -> Tensor:
        """Quantiles [rows, levels, horizon] of series [rows, length], of which each `sizes` in turn are a window."""
        check_horizon(horizon, self.dimensions)
        patch = self.dimensions.patch
        series = series[:, -self.dimensions.context_length :].to(self._device, self._dtype)
        scaled, level, spread = self._scaled(series)
        values = functional.pad(scaled, (-scaled.shape[-1] % patch, 0), value=torch.nan).unflatten(-1, (-1, patch))
        used, asked = values.shape[1], -(-horizon // patch)
        context = smallest(context_buckets(self.dimensions), used)
        future = smallest(future_buckets(self.dimensions), asked)
        found, first = [], 0
        for windows, rows in batches(sizes):
            own = [sizes[window] for window in windows]
            last = first + sum(own)
            one = self._pass(Bucket(rows, context, future, max(own) > 1))
            one.values[: last - first, :used] = values[first:last]
            one.context_patches.fill_(used)
            one.future_patches.fill_(asked)
            if one.bucket.grouped:
                one.groups.fill_(-1)
                one.groups[: last - first] = _numbered(own, self._device)
            one.run()
            found.append(one.quantiles[: last - first, :asked].clone())
            first = last
        quantiles = (found[0] if len(found) == 1 else torch.cat(found)).unflatten(-1, (-1, patch))
        quantiles = quantiles.transpose(1, 2).flatten(2)[..., :horizon]
        if self.dimensions.use_arcsinh:
            quantiles = torch.sinh(quantiles)
        return quantiles * spread[..., None] + level[..., None]

    def _scaled(self, series: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Series [rows, length] as the network sees them, and the level and spread [rows, 1] of each."""
        level = torch.nan_to_num(torch.nanmean(series, dim=-1, keepdim=True), nan=0.0)
        spread = torch.nan_to_num((series - level).square().nanmean(dim=-1, keepdim=True).sqrt(), nan=1.0)
        spread = torch.where(spread == 0, _NO_SPREAD, spread)
        scaled = (series - level) / spread
        return torch.arcsinh(scaled) if self.dimensions.use_arcsinh else scaled, level, spread

    def _pass(self, bucket: Bucket) -> Pass:
        """What runs a bucket; allocated, and compiled where that is asked for, when it is first needed."""
        if bucket not in self._passes:
            admitted = self._compiler is not None and self.admit(bucket.describe(self.dimensions.patch))
            found = Pass(self.network, bucket)
            found.uncompiled = self._compiler is not None and not admitted
            if admitted:
                found.run = self._compiler.compile(found.run)
            self._passes[bucket] = found
        return self._passes[bucket]

    def forget_uncompiled(self) -> None:
        """Give up the buckets that were not admitted, so that their next call asks again."""
        with self.guard.rebuilding():
            self._passes = {bucket: one for bucket, one in self._passes.items() if not one.uncompiled}


def _numbered(sizes: Sequence[int], device: torch.device) -> Tensor:
    """The number of its group for each series: [0, 0, 1, 2, 2] for sizes of 2, 1 and 2."""
    numbers = [number for number, size in enumerate(sizes) for _ in range(size)]
    return torch.tensor(numbers, dtype=torch.int64, device=device)
