"""What the record of a `probe` job holds, typed: numerics, draws beside the reference's, golden forecasts, threads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, model_validator

from greenlight.judgement.records import Count, Figure, Health, NotNegative, Seconds, Share, _Read


class Worst(_Read):
    """Where a quantity differs most: window key, step (0 is the prefill), value found and value expected."""

    window: str | int
    step: int
    value: Figure | None
    expected: Figure | None


class ProbeQuantity(_Read):
    """One teacher-forced quantity, as `measures.numerics.compare` writes it; see there for each field."""

    quantity: str
    kind: Literal["float", "exact"]
    windows: Count
    steps: Count
    elements: Count
    finite: bool
    problem: str
    scale: Figure
    error_variant: Figure
    error_reference: Figure
    max_abs: Figure
    max_abs_reference: Figure
    mismatches: Count
    worst: Worst | None
    batch_size: int | None


class Ranks(_Read):
    """Rank tests of the windows' draws, [windows, quantities] each; see `drawn_windows.WindowDifferences`."""

    score: list[list[Figure]]
    size: list[list[Figure]]


class Draws(_Read):
    """Paths that a variant and its reference drew for the same windows, each with numbers of its own.

    Attributes:
        windows: keys of the windows.
        replicates: forecasts of each window in each arm, each of as many samples as the run's.
        look, looks: at which of how many looks the drawing ended; see `sequential`.
        moved, wider, and those of their windows: see `draws.Differences`.
        paths, between: see `drawn_paths.judge_paths`.
        ranks: of all paths of a window.
        pooled: of all paths of all windows; see `drawn_pooled.Pooled`.
    """

    windows: list[str]
    replicates: Count
    look: Annotated[int, Field(ge=1)]
    looks: Annotated[int, Field(ge=1)]
    moved: list[list[Figure]]
    wider: list[list[Figure]]
    moved_windows: list[list[Figure]]
    moved_errors: list[list[Figure]]
    wider_windows: list[list[Figure]]
    wider_errors: list[list[Figure]]
    paths: dict[str, list[Figure]]
    between: list[Figure]
    ranks: Ranks
    pooled: dict[str, Annotated[list[Figure], Field(min_length=3, max_length=3)]]

    @model_validator(mode="after")
    def _a_look_of_them(self) -> Draws:
        if self.look > self.looks:
            raise ValueError(f"look {self.look} of {self.looks}")
        return self


class GoldenWorst(_Read):
    """Where a forecast is farthest from the golden one: window key, step from 1, price found and price stored."""

    window: str
    step: Count
    value: FiniteFloat
    expected: FiniteFloat


class GoldenNumerics(_Read):
    """Of a stored window, the largest difference of teacher-forced values: quantity, step, and size as a share of the
    quantity's RMS value in the window; None where the values can't be compared."""

    window: str
    quantity: str
    step: Count
    size: NotNegative | None


class GoldenResult(_Read):
    """The shipped checkpoint's forecasts of stored windows, path by path; see `measures.golden`.

    agreeing: share of the paths within `tolerance`, as a share of the spread, of the stored ones.
    sample: the largest share of windows in which the same sample is not.
    problem: why nothing could be compared, in words.
    numerics: a row a window.
    """

    paths: Count
    agreeing: Share
    sample: Share
    tolerance: NotNegative
    problem: str
    worst: GoldenWorst | None
    numerics: list[GoldenNumerics]


class TogetherResult(_Read):
    """Calls of several threads on one object, against the same calls one by one.

    Attributes:
        differing: calls whose bits differ; parted: of their `paths`, those beyond the tolerance.
        farthest: the largest difference as a share of the price.
        shares_generator: whether the plug-in says that all threads draw from one generator, so that paths are other
            draws; parted are then those of calls of which most lie beyond what calls one by one gave.
        numerics_apart: then, the largest difference of teacher-forced numerics, as a share of their RMS value.
        errors: what calls raised, a line each.
        compiled: frames that were compiled meanwhile.
        seconds_alone, seconds_together: of each call, one by one and beside the others.
    """

    threads: Annotated[int, Field(ge=2)]
    calls: Count
    differing: Count
    paths: Count
    parted: Count
    farthest: FiniteFloat
    shares_generator: bool
    numerics_apart: Annotated[float, Field(strict=False)] | None
    errors: list[str]
    compiled: Count
    seconds_alone: list[Seconds] = Field(min_length=1)
    seconds_together: list[Seconds] = Field(min_length=1)
    wall_seconds: NotNegative


class ProbeResult(_Read):
    """`probe`: {"quantities": [...]}, the reference's own too; `coarser`: what forecasts compute more coarsely than
    these, in words, or nothing; `published`: that against independent code; `served`: how production's object differs
    from the forecasts, in words, or nothing; null where there is none; `together`: calls of several threads; null where
    none were asked for."""

    quantities: list[ProbeQuantity] = Field(min_length=1)
    coarser: str
    published: list[ProbeQuantity]
    draws: Draws | None
    golden: GoldenResult | None
    served: str | None
    together: TogetherResult | None
    health: Health
