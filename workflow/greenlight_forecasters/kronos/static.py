"""The published results from static shapes: shared prefill, KV cache, one compiled step, windows in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from greenlight.api import LoadOptions, Window
from greenlight_forecasters.engine.calls import CallGuard, guarded, plain_state
from greenlight_forecasters.engine.options import changes
from greenlight_forecasters.engine.replay import CallCompiler
from greenlight_forecasters.kronos.candles import Candles, prepare
from greenlight_forecasters.kronos.config import CLOSE
from greenlight_forecasters.kronos.decoder import REPLAYED, Shape, StaticDecoder
from greenlight_forecasters.kronos.forecaster import KronosForecaster, as_array, probed
from greenlight_forecasters.kronos.joined import JoinedNetwork
from greenlight_forecasters.kronos.sampling import fill_noise
from greenlight_forecasters.kronos.static_tokenizer import PathDecoder

Tokens = tuple[Tensor, ...]
PROGRAMS = ("prefill", "replay", "step")
_PREFIX_STEP = 64
_SUFFIX_STEP = 32
# Sliding windows at once where kernels are launched; a CPU's caches hold no more than one (docs/kronos.md).
_SERIES_PER_BATCH = 16


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
    `series_per_batch` series. Each shape (windows, series, samples, and context and horizon rounded up) is a
    graph of its own; the buffers of the latest are kept. Memory beyond the weights is the cache:
    2 * (layers + 1) * width values for each prefix slot of a series and each suffix slot of a sample.
    """

    implementation: ClassVar[str] = "static"

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
        self.samples = 1

    @classmethod
    def load(cls, options: LoadOptions) -> Self:
        """As `KronosForecaster.load`, in any state of torch."""
        with plain_state(torch.device(options.device)):
            return super().load(options)

    def compile(self, mode: str) -> None:
        """Have prefill and decode steps compiled, each as one graph."""
        with self.guard.rebuilding():
            self.mode = mode
            self.decoder = None

    def changes(self) -> dict[str, str]:
        """See `Forecaster.changes`."""
        return changes(self.mode, str(self.device))

    @guarded
    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """Sampled paths of the closing price: [windows, samples, horizon] float64.

        A sample is NaN throughout where a logit that it was drawn from, or the tokenizer's output, was not finite.
        """
        context, horizon = self.check(windows)
        first = max(0, context + horizon - self.settings.max_context)
        self.samples = samples
        paths = []
        for batch in self._batches(windows):
            candles = prepare(batch)
            known, drawn = self.sample(batch, samples, seed)
            seen = tuple(tokens[:, first:] for tokens in known)
            usable = self.decoder.usable[: len(batch), :, None]
            values = self.path_decoder(seen, drawn)[..., CLOSE].to(torch.float32)
            values = values.masked_fill(~usable, torch.nan)
            paths.append(candles.restore(values.cpu().numpy(), CLOSE))
            if not np.isfinite(paths[-1]).all():
                self.decoder.clear()
        return np.concatenate(paths)

    @guarded
    def sample(self, windows: Sequence[Window], samples: int, seed: int) -> tuple[Tokens, Tokens]:
        """Tokens of one batch of windows.

        Returns:
            s1 and s2 of the contexts [windows, context length], and the drawn ones [windows, samples, horizon].
        """
        context, horizon = self.check(windows)
        candles = prepare(windows)
        plan = Plan.make(context, horizon, self.settings.max_context)
        decoder = self._decoder_for(len(windows), plan, samples)
        known, usable = self.encode(candles)
        decoder.begin(usable, forced=False)
        fill_noise(decoder.noise[: len(windows), :horizon], windows, seed)
        self._loop(decoder, plan, candles, known)
        return known, tuple(part[: len(windows), :, 1 : horizon + 1].clone() for part in (decoder.s1, decoder.s2))

    @guarded
    def probe(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        """Logits at each step, fed the truth, and the likeliest tokens; see `probed`.

        The logits of s2 are given the true s1 of the same step. The decoder has the samples of the latest
        forecast, all fed the same, so that the graphs are those that `forecast` runs.
        """
        context, horizon = self.check(windows)
        plan = Plan.make(context, horizon, self.settings.max_context)
        logits_s1, logits_s2 = [], []
        for batch in self._batches(windows):
            candles = prepare(batch)
            truth = self.truth_tokens(candles)
            decoder = self._decoder_for(len(batch), plan, self.samples)
            decoder.begin(torch.ones(len(batch), dtype=torch.bool, device=self.device), forced=True)
            for buffer, tokens in zip((decoder.s1, decoder.s2), truth, strict=True):
                buffer[: len(batch), :, 1 : horizon + 1] = tokens[:, None, context:]
            steps = self._loop(decoder, plan, candles, tuple(tokens[:, :context] for tokens in truth), keep=True)
            logits_s1.append(as_array([step[0][: len(batch)] for step in steps]))
            logits_s2.append(as_array([step[1][: len(batch)] for step in steps]))
        return probed(np.concatenate(logits_s1), np.concatenate(logits_s2))

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
        for first in range(0, len(windows), self.settings.windows_per_batch):
            yield windows[first : first + self.settings.windows_per_batch]

    def _decoder_for(self, windows: int, plan: Plan, samples: int) -> StaticDecoder:
        """The decoder at hand where it has room, else a new one, compiled where a mode is set."""
        shape = self._shape(windows, plan, samples)
        if self.decoder is None or not self.decoder.shape.holds(shape):
            with self.guard.rebuilding():
                # On a GPU where CUDA graphs launch the kernels.
                self.weights.sum_few_rows(self.device.type == "cuda" and self.mode not in (None, "default"))
                self.decoder = StaticDecoder(self.weights, shape, self.sampling)
            self.programs = {name: getattr(self.decoder, name) for name in PROGRAMS}
            if self.mode is not None:
                compiler = CallCompiler(self.mode, self.device)
                self.programs = {name: compiler.compile(program) for name, program in self.programs.items()}
        return self.decoder

    def _shape(self, windows: int, plan: Plan, samples: int) -> Shape:
        at_once = self.settings.series_per_batch or (1 if self.device.type == "cpu" else _SERIES_PER_BATCH)
        slides = _even_parts(plan.slides, at_once)
        prefix = max(plan.length, self.settings.capacity or 0)
        return Shape(
            windows=1 << (windows - 1).bit_length(),
            slides=slides,
            samples=samples,
            prefix=_round_up(prefix, _PREFIX_STEP),
            suffix=_round_up(plan.horizon, _SUFFIX_STEP),
        )


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def _even_parts(number: int, most: int) -> int:
    """The size of at most `most` that splits `number` with the least left over; the largest such."""
    return min(range(1, most + 1), key=lambda size: (_round_up(number, size), -size))
