"""The gate's rules: every limit that a check applies, with its default and the reason for it.

The defaults suit the shipped run: about 6 symbols of 5 windows, 32 samples under common random numbers, and 2
time processes of about 20 pairs on a shared 2-core machine. Rates (alpha) are one-sided unless said
otherwise.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from greenlight.judgement.registry import CHECKS, Severity

DEFAULT_SEVERITY: dict[str, Severity] = {row.name: row.severity for row in CHECKS}
"""Every check by name, with its default severity, in the order in which checks are reported."""

ALWAYS_BLOCK = frozenset(
    name for name in DEFAULT_SEVERITY if name in ("trained-weights", "trials") or name.startswith("evidence-")
)
"""Checks whose severity can't be lowered: a run that did not happen, or with random weights, is never a pass."""

Rate = Annotated[float, Field(gt=0, lt=0.5)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Settings without unknown keys, never changed after they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class NumericsRules(Strict):
    """Teacher-forced numerics against the float64 reference (the rule of PyTorch's own benchmarks, mult
    2).
    """

    error_ratio: Positive = 2.0
    """A variant's RMS error may be this many times the float32 reference's own RMS error."""
    error_ratio_few: Positive = 3.0
    """The same for a quantity of few elements, whose RMS error scatters more."""
    few_elements: int = Field(default=1000, ge=0)
    """Fewer elements than this are few."""
    worst_error_ratio: Positive = 10.0
    """The same for the largest single error, so that one wrong step is not averaged away: this many times the float32
    reference's own largest error."""
    floor: Positive = 1e-6
    """Added to the limit, in units of the quantity's own RMS value: what rounding may do."""
    worst_floor: Positive = 1e-5
    """The same floor for the largest single error."""
    published: Positive = 1e-4
    """Largest difference of a reference that runs other people's code from independent code in float64, as a share of
    the quantity's RMS value: a bound that its own error can't move."""
    golden: Positive = 1e-4
    """Largest difference of teacher-forced values of the shipped checkpoint from the stored ones, as a share of the
    quantity's RMS value in the window. Another processor moves them by less than 1e-5."""
    exact_mismatches: int = Field(default=0, ge=0)
    """Integer quantities (tokens, indices) that may differ from the float32 reference."""


class AccuracyRules(Strict):
    """Forecasts: against the paired variant, against the reference, against the truth."""

    margin: Positive = 0.01
    """Non-inferiority margin: an MAE up to 1% higher is tolerable."""
    alpha: Rate = 0.01
    """Rate at which a forecaster worse by the margin may pass; one-sided."""
    alarm: Rate = 0.001
    """Rate at which forecasts of a variant with random numbers of its own may be said to differ from the reference's,
    or their errors to be larger, where both draw from the same distributions: below alpha, for every run asks again,
    and an answer stops a variant."""
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    """Power of the stated needed n."""
    reference_margin: Positive = 0.10
    """Margin of the secondary comparison with the reference where the two draw different random numbers; Monte-Carlo
    noise cannot resolve less with tens of samples."""
    series_margin: Positive = 0.05
    """Under common random numbers no single series (windows averaged) may have an MAE that differs by more than this,
    in either direction."""
    window_difference: Positive = 0.01
    """Under common random numbers a sample path differs where it moves by more than this share of the width of its
    window's band, at any step. Rounding moves it by a millionth."""
    reduced_window_difference: Positive = 0.25
    """The same for a variant in TF32 or bfloat16, where rounding moves paths by a hundredth."""
    windows_differing: Share = 0.05
    """Share of the sample paths of all windows that may differ so (draws near a tie), at most."""
    reduced_windows_differing: Share = 0.25
    """The same in TF32 or bfloat16."""
    symbol_differing: Share = 0.5
    """The same for the paths of any one symbol, in any precision: one wrong symbol is no tie."""
    path_reach: Positive = 2.0
    """How far a path that differs may be from its partner's, in ranges of all paths of the window."""
    path_shift: Positive = 0.10
    """In TF32 or bfloat16 the median over a window's paths may move by this share of the band, at most."""
    step_difference: Positive = 0.30
    """Where the reference draws other numbers: medians may move by this share of the band's width, and log widths by as
    much, at any step. Half of it, shown beyond chance, is a failure."""
    draws_difference: Positive = 0.15
    """The same where many paths are drawn beside the reference's for this comparison; also for their mean, and for the
    width of changes from step to step."""
    tail_difference: Positive = 0.30
    """Log ratio by which the outermost paths of a window, and changes over a whole path, may differ."""
    between_difference: Positive = 0.70
    """Log ratio by which the mean path may vary more, or less, from seed to seed."""
    golden_paths: Share = 0.9
    """Share of the golden forecasts' paths that must be found again, at least: on another processor a draw near a tie
    may take another course, and with it those after it in its window; of one window in twelve."""
    changed_paths: Share = 0.5
    """Share of a window's sample paths that another seed, or another symbol, must change, at least."""
    distinct_paths: Share = 0.99
    """Share of distinct paths among a window's samples, as a share of the reference's own, at least."""
    minimum_series: int = Field(default=5, ge=2)
    """With fewer series than this, windows are the unit of comparison in their place."""
    minimum_units: int = Field(default=4, ge=2)
    """With fewer units than this a comparison is inconclusive, unless equal to the bit."""
    naive_ratio: Positive = 1.5
    """MAE over that of repeating the last price (geometric mean over series), at most."""
    coverage: tuple[Share, Share] = (0.60, 0.95)
    """Share of outcomes inside the 10 to 90% band, smallest and largest. Few samples have a narrower band: the smallest
    is times (n - 1) / (n + 1) for n samples."""
    mae_percent_excellent: Positive = 5.0
    """MAE below this percentage of price is excellent."""
    mae_percent_good: Positive = 10.0
    """MAE below this percentage of price is good."""
    mae_percent_investigate: Positive = 15.0
    """MAE above this percentage is to investigate."""
    interval: Rate = 0.025
    """Rate in each tail of the stated intervals of MAE and the rest."""

    def path_limits(self) -> dict[str, float]:
        """Limits of `drawn_paths.judge_paths` by quantity."""
        near, far = self.draws_difference, self.tail_difference
        limits = {"mean": near, "lower tail": far, "upper tail": far, "changes": near, "whole change": far}
        return limits | {"between forecasts": self.between_difference}

    @model_validator(mode="after")
    def _ordered(self) -> AccuracyRules:
        bands = (self.mae_percent_excellent, self.mae_percent_good, self.mae_percent_investigate)
        if list(bands) != sorted(bands):
            raise ValueError(f"the MAE bands must ascend (excellent, good, investigate), found {bands}")
        if self.coverage[0] >= self.coverage[1]:
            raise ValueError(f"coverage must be [smallest, largest], found {list(self.coverage)}")
        return self


class HealthRules(Strict):
    """What compilation must have done."""

    recompiles_after_warm_up: int = Field(default=0, ge=0)
    """Recompiles after the warm-up calls, at most."""
    graph_breaks: int = Field(default=0, ge=0)
    """Distinct graph breaks, at most; more is a warning by default."""
    eager_frames: int = Field(default=0, ge=0)
    """Frames that silently ran in eager mode, at most."""
    warm_start_share: float = Field(default=0.6, gt=0, le=1)
    """First call from the filled cache, as a share of the cold compile, at most."""


class SpeedRules(Strict):
    """Latency pairs. Ratios are variant over reference unless called a speedup (reference over variant)."""

    margin: float = Field(default=1.05, gt=1)
    """Speedup over the simpler variant whose lower bound must clear this to be chosen."""
    slower: float = Field(default=1.05, gt=1)
    """Slowdown against the reference that must be caught: a pass is bounded below it."""
    slower_shown: float = Field(default=1.025, gt=1)
    """A lower bound of the slowdown above this is a failure (also against a baseline)."""
    slower_than_baseline: float = Field(default=1.05, gt=1)
    """Loss of speedup against the baseline that must be caught."""
    absolute_slower_than_baseline: float = Field(default=1.20, gt=1)
    """Median seconds against the baseline's, at most; a shared machine moves by itself."""
    alpha: Rate = 0.01
    """Rate in each tail of the intervals of median ratios."""
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    """Power of the stated needed number of pairs."""
    minimum_pairs: int = Field(default=10, ge=8)
    """Fewer pairs than this are inconclusive."""
    minimum_control_pairs: int = Field(default=10, ge=8)
    """The same for A/A pairs (eager against eager)."""
    noise: float = Field(default=0.10, gt=0)
    """A/A bound, as a share, above which the machine is too noisy."""
    slow_call: float = Field(default=1.5, gt=1)
    """A call slower than this many times its median is slow."""
    slow_share: Share = 0.05
    """Share of slow calls that must be excluded. Where slow calls were seen and the planned pairs can't exclude it,
    more are measured; what they leave open is inconclusive."""
    suspicion: Rate = 0.05
    """Rate at which slow calls, or the mean, of a variant as steady as the reference may look worse. What looks worse
    and is inconclusive after all looks blocks."""
    p99_over_median: float | None = Field(default=None, gt=1)
    """p99 over median of the variant, at most; null: judged by slow calls alone."""
    p99_seconds: float | None = Field(default=None, gt=0)
    """p99 in seconds, at most; null: no limit."""
    drift: float = Field(default=0.10, gt=0)
    """Change of latency from the first to the last pair, as a share."""
    spread: float = Field(default=0.20, gt=0)
    """MAD over median of a variant's seconds, at most."""
    processes_differ: float = Field(default=0.05, gt=0)
    """Difference of median ratio between processes."""
    foreign_load: float = Field(default=0.25, gt=0, le=1)
    """Share of the processors' time that others may use while pairs are timed; more is measured again within
    timing.extra_seconds, and else blocks. 1: any."""
    cold_start_seconds: float | None = Field(default=None, gt=0)
    """Cold start limit; null: none."""
    warm_start_seconds: float | None = Field(default=None, gt=0)
    """Warm start limit; null: none."""


class MemoryRules(Strict):
    """Memory of the variant's process. Growth: resident set and device memory. Peak: device memory where there is
    a device, else the resident set."""

    growth_bytes_per_call: int = Field(default=131072, gt=0)
    """A leak is shown where the lower bound of the growth per call is above this."""
    growth_floor_bytes: int = Field(default=8 << 20, ge=0)
    """Growth over all readings that is never called a leak (allocators settle)."""
    minimum_readings: int = Field(default=8, ge=4)
    """Fewer readings than this are inconclusive."""
    peak_bytes: int | None = Field(default=None, gt=0)
    """Peak memory of a process, at most; null: no limit."""


class BaselineRules(Strict):
    """Against the accepted run, symbol by symbol on the same windows."""

    margin: Positive = 0.01
    """Change of MAE, quantile loss or RMSE in all, in either direction, that must be explained."""
    series_margin: Positive = 0.05
    """The same for one symbol."""


class Rules(Strict):
    """All rules of the gate."""

    numerics: NumericsRules = Field(default_factory=NumericsRules)
    accuracy: AccuracyRules = Field(default_factory=AccuracyRules)
    health: HealthRules = Field(default_factory=HealthRules)
    speed: SpeedRules = Field(default_factory=SpeedRules)
    memory: MemoryRules = Field(default_factory=MemoryRules)
    baseline: BaselineRules = Field(default_factory=BaselineRules)
    severity: dict[str, Severity] = Field(default_factory=dict)
    """Severity by check name, where it is not the documented default."""

    @field_validator("severity")
    @classmethod
    def _known(cls, severity: dict[str, Severity]) -> dict[str, Severity]:
        for name, value in severity.items():
            if name not in DEFAULT_SEVERITY:
                raise ValueError(f"no check is called {name!r}; there are {', '.join(DEFAULT_SEVERITY)}")
            if name in ALWAYS_BLOCK and value != "block":
                raise ValueError(f"check {name!r} always blocks: what it finds is never a pass")
        return severity

    def severity_of(self, name: str) -> Severity:
        """Severity of a check: the configured one, else the documented default."""
        return self.severity.get(name, DEFAULT_SEVERITY[name])
