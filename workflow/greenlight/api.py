"""What a model must offer to be gated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:  # every stage that starts a trial reads variants here, and none of them computes
    import numpy as np

    from greenlight.data.windows import Window


@dataclass(frozen=True)
class LoadOptions:
    """How a forecaster is loaded.

    Attributes:
        source: where the weights are: `embedded`, a local folder, or a Hugging Face id (`owner/name`).
        revision: commit of a Hugging Face id; None for a folder.
        device: a torch device, such as `cpu` or `cuda:0`.
        dtype: `float32`, `float64`, `bfloat16`; the reference for numerics is float64.
        settings: the model's own settings from the configuration, already validated
            (Kronos: tokenizer, tokenizer_revision, max_context, temperature, top_k, top_p; Toto: samples_per_batch).
    """

    source: str
    revision: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    settings: dict[str, Any] = field(default_factory=dict)


class Forecaster(ABC):
    """One implementation of one model with its weights loaded, ready to forecast in eager mode.

    The results for a window do not depend on the other windows of the call, nor on their order: random numbers
    come from `greenlight.data.windows.window_seed(seed, window)`, and are drawn outside compiled regions (or with
    the same stream in all modes), so that all modes of an implementation draw the same numbers.
    """

    model: ClassVar[str]
    implementation: ClassVar[str]
    scales_with_prices: ClassVar[bool] = True
    """Whether prices in another unit give the same forecast in that unit (the model normalises)."""
    shifts_with_prices: ClassVar[bool] = True
    """Whether prices that are all higher by an amount give forecasts that are higher by it."""

    @classmethod
    @abstractmethod
    def load(cls, options: LoadOptions) -> Forecaster:
        """Load the weights; UserError where files are missing, do not fit or can't be fetched."""

    @abstractmethod
    def compile(self, mode: str) -> None:
        """Have torch.compile take over the parts that are called by `forecast`; mode is one of MODES but eager.

        Only wraps: the compilation itself happens at the first calls.
        """

    @abstractmethod
    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:
        """Sampled paths of the closing price: [windows, samples, horizon] float64 in the symbols' own units.

        All windows share context length and horizon. `future` of a window is never read.
        """

    @abstractmethod
    def probe(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        """Teacher-forced numerics, before any sampling, through the same (compiled) code that `forecast` runs.

        Each quantity is an array [windows, steps, ...]: step 0 is the prefill, each later step a cached decode
        step that was fed the truth (`future`). All implementations of a model return the same names and shapes.
        """

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Facts about the loaded model, such as {"parameters": 151000000}."""
