"""What the records of a good variant hold, and how a defect makes a variant differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from greenlight.variants import Variant

HEALTH = {
    "engaged": True,
    "graphs": 3,
    "graph_breaks": [],
    "eager_frames": [],
    "recompiles": [],
    "recompiles_after_warm_up": 0,
    "recompile_limit_hits": [],
    "cache": {"fx_hits": 2, "fx_misses": 0, "aot_hits": 1, "aot_misses": 0},
    "compilations_after_warm_up": 0,
    "forecasts": {"calls": 20, "idle": 0, "first_idle": 0, "fewest": 3, "most": 3},
    "autotuning": {"engaged": True, "operations": 2},
    "cuda_graphs": {"available": False, "engaged": None, "recordings": 0, "skips": []},
}
REPRODUCIBILITY = {
    "same_seed_differing": 0,
    "other_seed_changed": 1.0,
    "other_symbol_changed": 1.0,
    "alike": {"seed": 0.0, "symbol": 0.0, "time": 0.0},
    "batch_equals_rows": {"max_abs_difference": 1e-6, "tolerance": 0.01},
    "order_irrelevant": {"max_abs_difference": 1e-6, "tolerance": 0.01},
    "a_b_a": True,
    "output_overwritten": False,
    "affine": {"applies": True, "shifted": True, "max_relative_difference": 1e-6, "tolerance": 0.01},
}


@dataclass
class Effects:
    """What differs from a good variant.

    Attributes:
        error: factor on the forecast errors of a symbol, by symbol; every other symbol has 1.
        rounding: relative size of the differences that compiling makes in the forecasts.
        band: factor on the width of the quantiles.
        paths: what becomes of the sample paths [windows, samples, horizon] of a symbol.
        drawn: statistics of paths drawn beside the reference's, by name, that differ.
        shift: steps by which the forecasts come late.
        latency: median seconds of a call, as a share of the reference's.
        jitter: standard deviation of the log of seconds.
        slow_share, slow_factor: some calls take longer.
        leak: bytes a call.
        device_leak: bytes a call on a device; None where the run has no device.
        foreign: share of the processors that others used while pairs were timed.
        distinct_paths: share of distinct sample paths.
        golden: share of golden forecasts that are found again; golden_sample: of windows in which one sample is not;
            golden_off: windows of 12 whose teacher-forced values are off, and by which share of their RMS value.
        served: how production's object differs, in words; None where there is none.
        coarser: what forecasts compute more coarsely than the probe, in words.
        pooled: figures of all draws together that differ, by name.
        probe_error: relative error of the probed quantities; the float32 reference has 1e-7.
        health, reproducibility: entries that differ.
        again: entries that differ of all windows forecast again; None where they were not.
        failed: stage -> trial records in place of the good ones.
        flipped: factor on the forecast errors of a symbol's first window, by symbol: paths that sampled another token.
        replicated: (look, shift, scatter) of errors with further seeds as log ratios to the partner's, of a variant
            whose first look was inconclusive; None for a record that says that it was not.
        off_published: relative error of the reference against independent code; None for a record without it.
        calls: what a call job found, where the manifest asks for one; together: what threads in a probe did.
    """

    error: Mapping[str, float] = field(default_factory=dict)
    rounding: float = 1e-7
    band: float = 1.0
    paths: Callable[[str, np.ndarray], np.ndarray] = lambda symbol, paths: paths
    drawn: Mapping[str, list[float]] = field(default_factory=dict)
    shift: int = 0
    latency: float = 1.0
    jitter: float = 0.03
    slow_share: float = 0.0
    slow_factor: float = 3.0
    leak: int = 0
    device_leak: int | None = None
    foreign: float = 0.0
    golden: float = 1.0
    golden_sample: float = 0.0
    golden_off: tuple[int, float] = (0, 0.0)
    served: str | None = None
    coarser: str = ""
    pooled: Mapping[str, list[float]] = field(default_factory=dict)
    probe_error: float = 1.2e-7
    distinct_paths: float = 1.0
    health: Mapping[str, Any] = field(default_factory=dict)
    reproducibility: Mapping[str, Any] = field(default_factory=dict)
    again: Mapping[str, Any] | None = field(default_factory=dict)
    failed: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    flipped: Mapping[str, float] = field(default_factory=dict)
    replicated: tuple[int, float, float] | None = None
    off_published: float | None = 1e-7
    calls: Mapping[str, Any] = field(default_factory=dict)
    together: Mapping[str, Any] | None = None

    def golden_numerics(self) -> list[dict[str, Any]]:
        """Largest differences of teacher-forced values of twelve stored windows."""
        count, size = self.golden_off
        return [
            {"window": f"SYM{n}/0", "quantity": "logits", "step": n, "size": size if n < count else 1e-6}
            for n in range(12)
        ]


def partner_of(variant: str, options: Mapping[str, Any]) -> str | None:
    """The variant that draws the same random numbers."""
    if variant == "upstream-eager" or (variant == "static-eager" and not options["coupled_with_reference"]):
        return options.get("paired_with")
    own = "upstream-eager" if options["coupled_with_reference"] else Variant.parse(variant).own_eager
    return options.get("paired_with") or own
