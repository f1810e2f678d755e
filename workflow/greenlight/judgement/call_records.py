"""What the record of a `call` job holds, typed: a variant in many shapes, many times; and the results of all stages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from greenlight.judgement.probe_records import ProbeQuantity, ProbeResult
from greenlight.judgement.records import (
    CompileResult,
    Count,
    Health,
    PredictResult,
    RepeatResult,
    ReplicateResult,
    Seconds,
    TimeResult,
    _Read,
)


class Seen(_Read):
    """One call and what torch.compile did in it.

    compiled: frames that were compiled; graphs_run: compiled graphs that ran; guard: the last one that failed so far.
    """

    seconds: Seconds
    compiled: Count
    graphs_run: Count
    guard: str


class Agreement(_Read):
    """Sample paths against those of the eager code with the same random numbers, the worse of two calls.

    paths: how many; parted: how many differ by more than the tolerance; farthest: largest difference as a share of
    the price.
    """

    paths: Annotated[int, Field(ge=1)]
    parted: Count
    farthest: FiniteFloat


class ShapeResult(_Read):
    """A shape of the sweep: its first call, its call in the second pass, and what both gave."""

    context: Count
    horizon: Count
    batch: Count
    samples: Count
    first: Seen
    again: Seen
    agreement: Agreement | None
    quantities: list[ProbeQuantity] = Field(min_length=1)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Context, horizon, batch and samples, as `expected.ExpectedCalls` has them."""
        return self.context, self.horizon, self.batch, self.samples

    def __str__(self) -> str:
        return f"context {self.context}, horizon {self.horizon}, batch {self.batch}, {self.samples} samples"


class SoakResult(_Read):
    """Many calls of one process; `changed`: those that gave other bits than the first with the same windows did.

    Readings of seconds and memory are of every `calls_a_reading`-th call.
    """

    calls: Count
    changed: Count
    compiled: Count
    calls_a_reading: Annotated[int, Field(ge=1)]
    seconds: list[Seconds] = Field(min_length=1)
    memory_readings: list[Count] = Field(min_length=1)
    device_memory_readings: list[Count]


class CallResult(_Read):
    """`call`: a variant in many shapes, many times. `eager`: whose forecasts its own were held to, in each shape."""

    eager: str | None
    shapes: list[ShapeResult]
    limit_hits: list[dict[str, object]]
    soak: SoakResult | None
    health: Health


RESULTS: dict[str, type[_Read]] = {
    "compile": CompileResult,
    "predict": PredictResult,
    "probe": ProbeResult,
    "call": CallResult,
    "repeat": RepeatResult,
    "replicate": ReplicateResult,
    "time": TimeResult,
}
