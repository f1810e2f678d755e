"""The published results from static shapes: shared prefill, KV cache, one compiled step, windows in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from greenlight.api import LoadOptions, Window
from greenlight_forecasters.engine.calls import CallGuard, guarded, plain_state
from greenlight_forecasters.engine.options import changes
from greenlight_forecasters.engine.replay import CallCompiler
from greenlight_forecasters.kronos.candles import Candles, prepare
from greenlight_forecasters.kronos.decoder import REPLAYED, Shape, StaticDecoder
from greenlight_forecasters.kronos.forecaster import KronosForecaster, as_array, in_full, probed
from greenlight_forecasters.kronos.joined import JoinedNetwork
from greenlight_forecasters.kronos.sampling import Sampling, fill_noise, noise_size
from greenlight_forecasters.kronos.static_tokenizer import PathDecoder

if TYPE_CHECKING:
    from greenlight_forecasters.kronos.predictor import StaticKronosPredictor

Tokens = tuple[Tensor, ...]
PROGRAMS = ("prefill", "replay", "step")
_PREFIX_STEP = 64
_SUFFIX_STEP = 32
# Sliding windows at once where kernels are launched; a CPU's caches hold no more than one (docs/kronos.md).
_SERIES_PER_BATCH = 16
# Rows of context that there is room for where a context was longer than one before it.
_ROOM_TO_GROW = 256
# Room for the buffers of the shapes that are kept beside the latest.
_KEPT_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}


@dataclass(frozen=True)
class Plan:
    """How the steps of a forecast fall on series.

    Attributes:
        length: tokens of the context that are used, at most max_context.
        slides: series a window; series v has the known tokens from v on.
        free: steps before the context begins to slide.
        horizon: steps.
    """

    length: int
    slides: int
    free: int
    horizon: int

    @classmethod
    def make(cls, context: int, horizon: int, max_context: int) -> Plan:
        """Step k sees the last max_context of the known and drawn tokens."""
        length = min(context, max_context)
        return cls(length, max(1, length + horizon - max_context), max_context - length, horizon)

    def series_of(self, step: int) -> int:
        """The series that is asked for the token of a step."""
        return max(0, step - self.free)

    def steps_of(self, first: int, last: int) -> range:
        """The steps that ask the series from `first` to before `last`."""
        return range(first + self.free if first else 0, last + self.free if last < self.slides else self.horizon)


class KronosStatic(KronosForecaster):
    """Kronos with static shapes, on the same weights and with the same random numbers as `upstream`.

    It may be called from many threads, whose calls then wait for each other, and in any state of torch (`CallGuard`).

    Windows run in batches of at most `windows_per_batch`; where the context slides, in batches of at most
    `series_per_batch` series. Each shape (windows, series, samples, and context and horizon rounded up) has graphs
    of its own; the latest are kept, as far as there is room. Memory beyond the weights is the cache of each:
    2 * (layers + 1) * width values for each prefix slot of a series and each suffix slot of a sample.

    Attributes:
        admit: asked, with the shape in words, whether code for a new shape is compiled; eager code runs otherwise.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.mode: str | None = None
        with plain_state(self.device):
            self.weights = JoinedNetwork(self.network)
            self.path_decoder = PathDecoder(self.tokenizer)
        tokenizers = {"tokenizer": self.tokenizer, "truth_tokenizer": self.truth_tokenizer}
        self.guard = CallGuard(self.device, {"network": self.network, **tokenizers})
        self.decoder: StaticDecoder | None = None
        self.programs: dict[str, Callable[[], None]] = {}
        self._kept: dict[Shape, tuple[StaticDecoder, dict[str, Callable[[], None]]]] = {}
        self._eager: set[Shape] = set()
        self.admit: Callable[[str], bool] = lambda shape: True
        self.samples = 1

    @classmethod
    def load(cls, options: LoadOptions) -> Self:
        """As `KronosForecaster.load`, in any state of torch."""
        with plain_state(torch.device(options.device)):
            return super().load(options)

    def predictor(self, **settings: Any) -> StaticKronosPredictor:
        """The published predictor's interface on this engine; settings as `StaticKronosPredictor` takes them."""
        from greenlight_forecasters.kronos.predictor import StaticKronosPredictor

        return StaticKronosPredictor(self, clip=self.settings.clip, **settings)

    def compile(self, mode: str) -> None:
        """Have prefill and decode steps compiled, each as one graph."""
        with self.guard.rebuilding():
            self.mode = mode
            self._kept.clear()

    def changes(self) -> dict[str, str]:
        """See `Forecaster.changes`."""
        return changes(self.mode, str(self.device))

    @guarded
    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """Sampled paths of the closing price: [windows, samples, horizon] float64.

        A sample is NaN throughout where a logit that it was drawn from, or the tokenizer's output, was not finite.
        """
        self.check(windows)
        self.samples = samples
        paths = []
        for batch in self._batches(windows):
            known, drawn = self.sample(batch, samples, seed)
            column = batch[0].column
            paths.append(prepare(batch, self.settings.clip).restore(self._decoded(known, drawn)[..., column], column))
        return np.concatenate(paths)

    @guarded
    def sample(self, windows: Sequence[Window], samples: int, seed: int) -> tuple[Tokens, Tokens]:
        """Tokens of one batch of windows.

        Returns:
            s1 and s2 of the contexts [windows, context length], and the drawn ones [windows, samples, horizon].
        """
        context, horizon = self.check(windows)
        plan = Plan.make(context, horizon, self.settings.max_context)
        decoder = self._decoder_for(len(windows), plan, samples)
        decoder.filter.use(self.sampling)
        fill_noise(decoder.noise[: len(windows), :horizon], windows, seed)
        return self._draw(decoder, plan, prepare(windows, self.settings.clip))

    @guarded
    def paths(self, candles: Candles, noise: Tensor, samples: int, sampling: Sampling) -> np.ndarray:
        """Sampled candles, normalised: [windows, samples, horizon, 6] float32, the FEATURES; NaN as in `forecast`.

        Args:
            candles: of which the truth is not read.
            noise: [windows, horizon, noise_size] exponential random numbers, as `fill_noise` makes them.
            sampling: how tokens are drawn in this call.
        """
        windows, horizon = noise.shape[:2]
        plan = Plan.make(candles.values.shape[1], horizon, self.settings.max_context)
        paths = []
        for first in range(0, windows, self.settings.windows_at_once):
            rows = slice(first, first + self.settings.windows_at_once)
            decoder = self._decoder_for(len(noise[rows]), plan, samples)
            decoder.filter.use(sampling)
            decoder.noise[: len(noise[rows]), :horizon] = noise[rows]
            paths.append(self._decoded(*self._draw(decoder, plan, candles[rows])))
        return np.concatenate(paths)

    def _draw(self, decoder: StaticDecoder, plan: Plan, candles: Candles) -> tuple[Tokens, Tokens]:
        """See `sample`; the noise lies in the decoder."""
        known, usable = self.encode(candles)
        decoder.begin(usable, forced=False)
        self._loop(decoder, plan, candles, known)
        return known, self._drawn(decoder, len(candles.values), plan.horizon)

    def _decoded(self, known: Tokens, drawn: Tokens) -> np.ndarray:
        """Normalised candles of what the decoder at hand has drawn, [windows, samples, horizon, 6] float32."""
        values = self._candles(known, drawn).to(torch.float32)
        values = values.masked_fill(~self.decoder.usable[: len(values), :, None, None], torch.nan).cpu().numpy()
        if not np.isfinite(values).all():
            self.decoder.clear()
        return values

    def _candles(self, known: Tokens, drawn: Tokens) -> Tensor:
        """Normalised candles of drawn tokens after known ones, [windows, samples, horizon, 6]."""
        first = max(0, known[0].shape[1] + drawn[0].shape[2] - self.settings.max_context)
        return self.path_decoder(tuple(tokens[:, first:] for tokens in known), drawn)

    def _drawn(self, decoder: StaticDecoder, windows: int, horizon: int) -> Tokens:
        """The tokens [windows, samples, horizon] that lie in the decoder."""
        return tuple(part[:windows, :, 1 : horizon + 1].clone() for part in (decoder.s1, decoder.s2))

    @guarded
    def probe(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        """Logits at each step, fed the truth, the likeliest tokens, and candles; see `probed`.

        The logits of s2 are given the true s1 of the same step. The decoder has the samples of the latest
        forecast, so that the graphs are those that `forecast` runs.
        """
        context, horizon = self.check(windows)
        plan = Plan.make(context, horizon, self.settings.max_context)
        logits_s1, logits_s2, decoded = [], [], []
        for batch in self._batches(windows):
            candles = prepare(batch, self.settings.clip)
            truth = self.truth_tokens(candles)
            decoder = self._decoder_for(len(batch), plan, self.samples)
            decoder.begin(torch.ones(len(batch), dtype=torch.bool, device=self.device), forced=True)
            for buffer, tokens in zip((decoder.s1, decoder.s2), truth, strict=True):
                # The first sample is looked at; what the others are fed, the truth backwards, must not matter.
                buffer[: len(batch), :1, 1 : horizon + 1] = tokens[:, None, context:]
                buffer[: len(batch), 1:, 1 : horizon + 1] = tokens[:, None, context:].flip(2)
            known = tuple(tokens[:, :context] for tokens in truth)
            steps = self._loop(decoder, plan, candles, known, keep=True)
            logits_s1.append(as_array([step[0][: len(batch)] for step in steps]))
            logits_s2.append(as_array([step[1][: len(batch)] for step in steps]))
            decoded.append(in_full(self._candles(known, self._drawn(decoder, len(batch), horizon))[:, 0]))
        return probed(*(np.concatenate(parts) for parts in (logits_s1, logits_s2, decoded)))

    def _loop(
        self, decoder: StaticDecoder, plan: Plan, candles: Candles, known: Tokens, keep: bool = False
    ) -> list[Tokens]:
        """Run all steps; the tokens lie in the decoder. With `keep`, each step's logits of the first sample."""
        stamps = torch.from_numpy(candles.stamps).to(self.device)
        times = self.network.time_emb(stamps)[:, known[0].shape[1] - plan.length :]
        known = tuple(tokens[:, -plan.length :] for tokens in known)
        kept = []
        for first in range(0, plan.slides, decoder.shape.slides):
            steps = plan.steps_of(first, first + decoder.shape.slides)
            decoder.load(known, times, first, {step: plan.series_of(step) for step in steps})
            self.programs["prefill"]()
            for _ in range(0, steps.start, REPLAYED):
                self.programs["replay"]()
            decoder.count.fill_(steps.start)
            for _ in steps:
                self.programs["step"]()
                if keep:
                    kept.append((decoder.logits_s1.clone(), decoder.logits_s2.clone()))
        return kept

    def _batches(self, windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
        for first in range(0, len(windows), self.settings.windows_at_once):
            yield windows[first : first + self.settings.windows_at_once]

    def _decoder_for(self, windows: int, plan: Plan, samples: int) -> StaticDecoder:
        """A decoder with room, which then is the one at hand; a new one is compiled where a mode is set.

        The latest are kept. Where a context is longer than one before it, the new one has room for more.
        """
        shape = self._shape(windows, plan, samples)
        fitting = [known for known in self._kept if known.holds(shape)]
        if fitting:
            shape = min(fitting, key=lambda known: (known.prefix, known.suffix))
        else:
            if any(replace(known, prefix=shape.prefix).holds(shape) for known in self._kept):
                longest = max(self.settings.max_context, shape.prefix)
                shape = replace(shape, prefix=min(shape.prefix + _ROOM_TO_GROW, _round_up(longest, _PREFIX_STEP)))
            self._make_room(shape)
            self._kept[shape] = self._new(shape)
        self.decoder, self.programs = self._kept[shape] = self._kept.pop(shape)
        return self.decoder

    def _make_room(self, shape: Shape) -> None:
        """Give up the shapes that were not used for longest, where all buffers would take too much with a new one."""
        room = _KEPT_BYTES.get(self.device.type, _KEPT_BYTES["cpu"])
        with self.guard.rebuilding():
            while self._kept and sum(map(self._bytes, (*self._kept, shape))) > room:
                gone = next(iter(self._kept))
                self._eager.discard(gone)
                if self._kept.pop(gone)[0] is self.decoder:
                    self.decoder, self.programs = None, {}

    def _bytes(self, shape: Shape) -> int:
        """Of the buffers of a shape that grow with it: keys and values, and random numbers."""
        config = self.network.config
        slots = shape.series * (shape.prefix + shape.samples * shape.suffix)
        numbers = shape.windows * shape.suffix * noise_size(shape.samples, config.classes)
        return slots * 2 * (config.n_layers + 1) * config.d_model * self.dtype.itemsize + numbers * 4

    def _new(self, shape: Shape) -> tuple[StaticDecoder, dict[str, Callable[[], None]]]:
        """A decoder and its programs."""
        # On a GPU where CUDA graphs launch the kernels.
        self.weights.sum_few_rows(self.device.type == "cuda" and self.mode not in (None, "default"))
        decoder = StaticDecoder(self.weights, shape, self.sampling)
        programs = {name: getattr(decoder, name) for name in PROGRAMS}
        if self.mode is not None and self.admit(str(shape)):
            compiler = CallCompiler(self.mode, self.device)
            programs = {name: compiler.compile(program) for name, program in programs.items()}
        elif self.mode is not None:
            self._eager.add(shape)
        return decoder, programs

    def forget_uncompiled(self) -> None:
        """Give up the shapes that were not admitted, so that their next call asks again."""
        with self.guard.rebuilding():
            for shape in self._eager:
                self._kept.pop(shape, None)
            self._eager.clear()

    def _shape(self, windows: int, plan: Plan, samples: int) -> Shape:
        at_once = self.settings.series_per_batch or (1 if self.device.type == "cpu" else _SERIES_PER_BATCH)
        prefix = max(plan.length, self.settings.capacity or 0)
        return Shape(
            windows=1 << (windows - 1).bit_length(),
            # A context that comes to slide soon has a slide for each step: one shape for all that lies between.
            slides=_even_parts(plan.horizon, at_once) if plan.slides > 1 else 1,
            samples=samples,
            prefix=_round_up(prefix, _PREFIX_STEP),
            suffix=_round_up(plan.horizon, _SUFFIX_STEP),
        )


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def _even_parts(number: int, most: int) -> int:
    """The size of at most `most` that splits `number` with the least left over; the largest such."""
    return min(range(1, most + 1), key=lambda size: (_round_up(number, size), -size))
