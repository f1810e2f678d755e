"""Forecasting with Toto in production: batches of windows of several variates, any horizon.

engine = TotoEngine.from_checkpoint(folder, device="cuda", dtype=torch.float32)
engine.compile("reduce-overhead")
paths = engine.sample(series, horizon=96, samples=256, seeds=range(len(series)))
paths.mean(2), paths.quantile(0.9, dim=2)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from greenlight.api import CONFIG, WEIGHTS, UserError, check_keys, read_config
from greenlight_forecasters.engine.calls import CallGuard, guarded, plain_state
from greenlight_forecasters.engine.linear import SummedLinear, arrange
from greenlight_forecasters.engine.options import changes
from greenlight_forecasters.engine.replay import CallCompiler
from greenlight_forecasters.toto.checkpoint import read_dimensions, read_tensors
from greenlight_forecasters.toto.static.decode import Decode, PathShape
from greenlight_forecasters.toto.static.mixture import UNIFORMS, Mixture
from greenlight_forecasters.toto.static.network import Network, published_names
from greenlight_forecasters.toto.static.prefill import Buffers, ContextShape, Prefill

# Room for the keys and values of the paths that are decoded at once; more paths are decoded in chunks.
_SUFFIX_BYTES = {"cpu": 256 << 20, "cuda": 8 << 30}
# Rows of context that there is room for where a context was longer than one before it.
_ROOM_TO_GROW = 256
# Decode steps that there is room for from the start, so that all shorter horizons run the same graphs.
LEAST_STEPS = 11


class TotoEngine:
    """Toto's weights on a device, and buffers and compiled code for the shapes that were asked for.

    It may be called from many threads, whose calls then wait for each other, and in any state of torch (`CallGuard`).

    Attributes:
        admit: asked, with the shape in words, whether code for a new shape is compiled; eager code runs otherwise.
        windows_per_batch, samples_per_batch: as it was made with.

    Results of a window depend on its series, its seed and the weights, not on the batch that it runs in (but for
    the rounding of matrix products of another size).
    """

    def __init__(
        self,
        network: Network,
        *,
        dtype: torch.dtype = torch.float32,
        windows_per_batch: int = 16,
        samples_per_batch: int = 256,
    ) -> None:
        """Take over a network that is already on its device; its linear layers are arranged for it in place.

        Args:
            dtype: of series and results: float64, or float32 (also with a network in bfloat16).
            windows_per_batch: windows that are prefilled at once; fewer are filled up to a power of two, each of
                which has buffers and compiled code of its own.
            samples_per_batch: most paths of a window that are decoded at once.
        """
        self.parameters = sum(parameter.numel() for parameter in network.parameters())
        with plain_state(network.device):
            self.network = arrange(network)
        self.guard = CallGuard(network.device, {"network": network})
        self.dimensions = network.dimensions
        self._dtype = dtype
        self._device = network.device
        self.windows_per_batch = windows_per_batch
        self.samples_per_batch = samples_per_batch
        self.admit: Callable[[str], bool] = lambda shape: True
        self._mode: str | None = None
        self._compiler: CallCompiler | None = None
        self._prefills: dict[ContextShape, Prefill] = {}
        self._decodes: dict[tuple[ContextShape, PathShape], Decode] = {}

    @classmethod
    def from_checkpoint(
        cls,
        folder: Path,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        windows_per_batch: int = 16,
        samples_per_batch: int = 256,
    ) -> TotoEngine:
        """Load a published checkpoint (config.json, model.safetensors; both namings of the feed-forward layers).

        Args:
            dtype: float32, float64 or bfloat16. In bfloat16 the transformer alone is; prices, scaler, rotations and
                distribution stay in float32, for prices do not fit into 8 bits.

        Raises:
            UserError: files that do not fit Toto 1.0.
        """
        dimensions = read_dimensions(read_config(folder), str(folder / CONFIG))
        tensors = read_tensors(folder)
        check_keys(tensors, published_names(dimensions), str(folder / WEIGHTS))
        try:
            with plain_state(torch.device(device)):
                network = Network.from_published(dimensions, tensors, dtype).to(device)
        except RuntimeError as error:
            raise UserError(f"{folder / WEIGHTS}: shapes do not fit {CONFIG}: {error}") from error
        outer = torch.float32 if dtype == torch.bfloat16 else dtype
        return cls(
            network,
            dtype=outer,
            windows_per_batch=windows_per_batch,
            samples_per_batch=samples_per_batch,
        )

    def compile(self, mode: str) -> None:
        """Compile prefill, start and step, each as one graph of fixed shapes, at their first calls.

        Args:
            mode: one of torch.compile's. Where it has CUDA graphs, they are recorded here (`CallCompiler`).
        """
        with self.guard.rebuilding():
            self._compiler = CallCompiler(mode, self._device)
            for module in self.network.modules():
                if isinstance(module, SummedLinear):
                    module.summing = mode != "default"
            self._prefills.clear()
            self._decodes.clear()
            self._mode = mode

    def changes(self) -> dict[str, str]:
        """What of torch this engine changes or goes round, by a short name; see `engine.options.changes`."""
        return changes(self._mode, str(self._device))

    @guarded
    def sample(
        self,
        series: Tensor,
        horizon: int,
        samples: int,
        seeds: Sequence[int],
        *,
        observed: Tensor | None = None,
        groups: Tensor | None = None,
        samples_per_batch: int | None = None,
    ) -> Tensor:
        """Sample paths, [windows, variates, samples, horizon] on the engine's device.

        Args:
            series: [windows, variates, length]. A length that is no multiple of the patch is padded with zeros on
                the left, as the published forecaster does; the model attends to them, so rather cut.
            seeds: of each window's random numbers.
            observed: [windows, variates, length] bool, False where a value is missing; the series must hold some
                finite number there, which takes no part in scaling, but is seen by the model, as published.
            groups: [windows, variates] integers; variates of the same group attend to each other. Default: all do.
            samples_per_batch: most paths of a window that are decoded at once, if that is fewer than the engine's own
                setting. It changes no result.

        Raises:
            ValueError: shapes that do not fit, or values that are not finite (the published code would answer
                zeros or NaN without an error).
        """
        if len(seeds) != len(series):
            raise ValueError(f"{len(seeds)} seeds for {len(series)} windows; expected one for each")
        if samples < 1:
            raise ValueError(f"samples is {samples}; expected 1 or more")
        results = []
        for prefill, rows in self._prefilled(series, horizon, observed, groups):
            decode = self._decode(prefill, horizon, min(samples, samples_per_batch or samples))
            numbers = self._uniforms([seeds[row] for row in rows], series.shape[1], horizon, samples)
            chunks = numbers.split(decode.shape.paths, dim=-2)
            results.append(_joined([self._paths(decode, len(rows), horizon, one) for one in chunks], dim=2))
        return _joined(results, dim=0)

    @guarded
    def mean(
        self,
        series: Tensor,
        horizon: int,
        *,
        observed: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Tensor:
        """The path that is fed its own expected values, [windows, variates, horizon]; arguments as for `sample`."""
        results = []
        for prefill, rows in self._prefilled(series, horizon, observed, groups):
            decode = self._decode(prefill, horizon, None)
            results.append(self._paths(decode, len(rows), horizon, None)[:, :, 0])
        return _joined(results, dim=0)

    @guarded
    def teacher_forced(
        self,
        series: Tensor,
        truth: Tensor,
        *,
        observed: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Mixture:
        """The distribution at the prefill and after each patch of truth, through the code that `sample` runs.

        Args:
            truth: [windows, variates, patches, patch], what followed the series.

        Returns:
            A mixture whose fields are [windows, variates, patches + 1, ...].
        """
        steps = truth.shape[2]
        horizon = (steps + 1) * self.dimensions.patch_size
        results = []
        for prefill, rows in self._prefilled(series, horizon, observed, groups):
            decode = self._decode(prefill, horizon, self._last_samples())
            found = [_copied(prefill, "first_", [0] * len(rows))]
            # Each window's truth is another of its paths; what the others are fed must not matter.
            places = [row % decode.shape.paths for row in range(len(rows))]
            decode.start()
            for step in range(steps):
                patch = truth[rows.start : rows.stop, :, step].to(decode.patch)
                decode.patch[: len(rows)] = -patch[:, :, None]
                for row, place in enumerate(places):
                    decode.patch[row, :, place] = patch[row]
                decode.step()
                found.append(_copied(decode, "next_", places))
            results.append([torch.stack(field, dim=2) for field in zip(*found, strict=True)])
        return Mixture(*(torch.cat(field) for field in zip(*results, strict=True)))

    def _last_samples(self) -> int:
        """A sample count that runs what forecasts ran on, where there were some."""
        sampled = [shape.paths for _, shape in self._decodes if shape.sampled]
        return sampled[-1] if sampled else self.samples_per_batch

    def _prefilled(
        self, series: Tensor, horizon: int, observed: Tensor | None, groups: Tensor | None
    ) -> Iterator[tuple[Prefill, range]]:
        """Prefill batch by batch; yields what is to be decoded from, and the rows that it holds."""
        series, observed, groups = self._checked(series, horizon, observed, groups)
        count, variates, length = series.shape
        windows = min(1 << (count - 1).bit_length(), self.windows_per_batch)
        shape = self._context_shape(windows, variates, length // self.dimensions.patch_size)
        if shape not in self._prefills:
            self._prefills[shape] = self._wrapped(Prefill(self.network, shape, self._dtype), ("run",))
        prefill = self._prefills[shape]
        finite = []
        for first in range(0, count, windows):
            rows = range(first, min(first + windows, count))
            part = slice(rows.start, rows.stop)
            prefill.load(*(None if values is None else values[part] for values in (series, observed, groups)))
            prefill.run()
            finite.append(prefill.finite[: len(rows)].all())
            yield prefill, rows
        # Asked only now: an answer from the device is waited for, and until here the device had other work to do.
        if not all(finite):
            raise ValueError(
                "the series hold values that are not finite numbers, which poison every forecast even where they "
                "are marked as missing; put a number in their place and False into `observed`"
            )

    def _context_shape(self, windows: int, variates: int, patches: int) -> ContextShape:
        """The shape that runs a context: of its length, or of one with room where contexts grow from call to call."""
        exact = ContextShape(windows, variates, patches)
        alike = [shape for shape in self._prefills if (shape.windows, shape.variates) == (windows, variates)]
        if exact in alike:
            return exact
        with_room = [shape for shape in alike if shape.masked and shape.patches >= patches]
        if with_room:
            return min(with_room, key=lambda shape: shape.patches)
        if not any(shape.patches < patches for shape in alike):
            return exact
        return replace(exact, patches=patches + -(-_ROOM_TO_GROW // self.dimensions.patch_size), masked=True)

    def _decode(self, prefill: Prefill, horizon: int, samples: int | None) -> Decode:
        """What decodes this many samples after a prefill, None for the mean; allocated when it is first asked for."""
        needed = -(-horizon // self.dimensions.patch_size) - 1
        steps = LEAST_STEPS
        while steps < needed:
            steps *= 2
        windows = prefill.shape.windows * prefill.shape.variates
        paths = 1 if samples is None else self._paths_at_once(windows, steps, samples)
        shape = PathShape(paths, steps, samples is not None)
        key = (prefill.shape, shape)
        if key not in self._decodes:
            self._decodes[key] = self._wrapped(Decode(prefill, shape), ("start", "step"))
        return self._decodes[key]

    def _wrapped(self, module: Buffers, methods: tuple[str, ...]) -> Buffers:
        """The module with its methods replaced by compiled ones, where compilation is asked for and admitted."""
        admitted = self._compiler is not None and self.admit(str(module.shape))
        module.uncompiled = self._compiler is not None and not admitted
        if admitted:
            for name in methods:
                setattr(module, name, self._compiler.compile(getattr(module, name)))
        return module

    def forget_uncompiled(self) -> None:
        """Give up the shapes that were not admitted, so that their next call asks again."""
        with self.guard.rebuilding():
            gone = {shape for shape, prefill in self._prefills.items() if prefill.uncompiled}
            self._prefills = {shape: prefill for shape, prefill in self._prefills.items() if shape not in gone}
            self._decodes = {
                key: decode for key, decode in self._decodes.items() if key[0] not in gone and not decode.uncompiled
            }

    def _paths_at_once(self, rows: int, steps: int, samples: int) -> int:
        """The sample count rounded up to a power of two, as far as the setting and the room for caches allow."""
        layers = max(1, sum(self.dimensions.time_layers))
        bytes_per_token = 2 * layers * self.dimensions.embed_dim * self.network.dtype.itemsize
        bytes_per_path = rows * steps * bytes_per_token
        fitting = _SUFFIX_BYTES.get(self._device.type, _SUFFIX_BYTES["cpu"]) // bytes_per_path
        wanted = min(1 << (samples - 1).bit_length(), self.samples_per_batch)
        return max(1, min(wanted, 1 << max(0, fitting.bit_length() - 1)))

    def _uniforms(self, seeds: Sequence[int], variates: int, horizon: int, samples: int) -> Tensor:
        """Random numbers in [0, 1) of all steps, [steps, 3, windows, variates, samples, patch] float32.

        Each window's come from a generator of its own, seeded for it, in an order that no batch changes.
        """
        patch = self.dimensions.patch_size
        numbers = torch.empty(
            (-(-horizon // patch), UNIFORMS, len(seeds), variates, samples, patch),
            dtype=torch.float32,
            device=self._device,
        )
        generator = torch.Generator(self._device)
        for row, seed in enumerate(seeds):
            generator.manual_seed(seed)
            own = numbers[:, :, row]
            own.copy_(torch.rand(own.shape, generator=generator, dtype=torch.float32, device=self._device))
        return numbers

    def _paths(self, decode: Decode, windows: int, horizon: int, numbers: Tensor | None) -> Tensor:
        """Decode one chunk of paths, [windows, V, paths, horizon]; numbers as from `_uniforms`, None for the mean."""
        patch = self.dimensions.patch_size
        steps = -(-horizon // patch)
        kept = 1 if numbers is None else numbers.shape[-2]
        paths = decode.patch.new_empty(windows, decode.patch.shape[1], kept, steps * patch)
        for step in range(steps):
            if numbers is not None:
                decode.uniforms[:, :windows, :, :kept] = numbers[step]
            if step == 0:
                decode.start()
            else:
                decode.step()
            paths[..., step * patch : (step + 1) * patch] = decode.patch[:windows, :, :kept]
        return paths[..., :horizon]

    def _checked(
        self, series: Tensor, horizon: int, observed: Tensor | None, groups: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The series on the device and padded to whole patches as the published code does, and the mask with it."""
        series = series.to(self._device, self._dtype)
        if series.ndim != 3 or 0 in series.shape:
            raise ValueError(f"expected series [windows, variates, length], found {tuple(series.shape)}")
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}; expected 1 or more")
        if observed is not None and (observed.shape != series.shape or observed.dtype != torch.bool):
            raise ValueError(
                f"expected observed {tuple(series.shape)} bool, found {tuple(observed.shape)} {observed.dtype}"
            )
        if groups is not None and groups.shape != series.shape[:2]:
            raise ValueError(f"expected groups {tuple(series.shape[:2])}, found {tuple(groups.shape)}")
        missing = -series.shape[-1] % self.dimensions.patch_size
        if missing:
            observed = torch.ones_like(series, dtype=torch.bool) if observed is None else observed
            series, observed = (torch.nn.functional.pad(values, (missing, 0)) for values in (series, observed))
        return series, observed, groups


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    """The parts one after the other; a single part as it is, without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)


def _copied(module: Buffers, prefix: str, places: Sequence[int]) -> list[Tensor]:
    """The distribution that a module's buffers hold, of one path of each window."""
    return [
        torch.stack([field[row, :, place] for row, place in enumerate(places)])
        for field in module.loaded(prefix, Mixture)
    ]
