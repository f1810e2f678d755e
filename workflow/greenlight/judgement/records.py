"""The parts of job records that judgement reads, typed, and required: what a child writes under another name, or leaves
out, is a problem with the record and never a default. Further keys are for the report, and ignored here.

Every record is a JSON object, sealed (`judgement.seal.seal`) before it is written:

    {"format": 1, "stage": "predict", "model": "toto", "variant": "static-default", "key": "<job key hash>",
     "trials": [trial record, ...],        one, or one per process for `time` and `repeat`; none for `score`; for
                                           `replicate` none where one seed decides
     "inputs":  {"forecasts/model=…/part-0.parquet": sha256},    files read (score, replicate), relative to the
                                                                 results folder
     "outputs": {"forecasts/model=…/part-0.parquet": sha256},    files written (predict, time, score)
     "problems": ["…"],                    what score found wrong with the forecasts
     "provenance": {...}, "content_sha256": "..."}

`trial` may stand for a list of one. What a trial's `result` holds, by stage, is written at the classes below.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Seconds = NotNegative
Bytes = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
# Not strict: NaN and infinities stand as text in JSON, and the checks tell where they are.
Figure = Annotated[float, Field(strict=False)]


class _Read(BaseModel):
    """Strict: text is no number, and a number no truth value."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class CudaGraphs(_Read):
    """CUDA graphs: whether the device has them, and positive evidence that they ran (null: unknown)."""

    available: bool
    engaged: bool | None
    recordings: Count
    skips: list[dict[str, Any]]


class Autotuning(_Read):
    """Whether max-autotune tuned anything (null: the graphs came from a cache, so nothing was seen)."""

    engaged: bool | None
    operations: Count


class Cache(_Read):
    """Lookups of compiled graphs in Inductor's and AOTAutograd's caches."""

    fx_hits: Count
    fx_misses: Count
    aot_hits: Count
    aot_misses: Count


class Forecasts(_Read):
    """Forecasts after warm-up, and the compiled graphs that ran in each; see `watch.health.HealthRecord`."""

    calls: Count
    idle: Count
    first_idle: Count
    fewest: Count
    most: Count


class Health(_Read):
    """The health record of a process, as the compilation room writes it.

    `recompiles_after_warm_up` and `compilations_after_warm_up` are null where the process marked no end of warm-up.
    """

    engaged: bool
    graphs: Count
    graph_breaks: list[dict[str, Any]]
    eager_frames: list[dict[str, Any]]
    recompiles_after_warm_up: Count | None
    recompile_limit_hits: list[dict[str, Any]]
    compilations_after_warm_up: Count | None
    recompiles: list[dict[str, Any]]
    forecasts: Forecasts | None
    cache: Cache
    cuda_graphs: CudaGraphs
    autotuning: Autotuning


class CompileResult(_Read):
    """`compile`: a cold compilation into an empty cache, and the warm-up calls."""

    health: Health
    first_call_seconds: Seconds
    cold_seconds: Seconds
    cache_files_before: Count


class Difference(_Read):
    """A difference that should be none, with what rounding may do, in the same unit."""

    max_abs_difference: FiniteFloat
    tolerance: Annotated[FiniteFloat, Field(ge=0)]


class OtherCalls(Difference):
    """That of windows in other calls: of how many, and which differs most."""

    windows: Count
    window: str


class Affine(_Read):
    """f(ax+b) against a f(x)+b, where the model normalises its input (`applies`); `shifted`: b is not 0."""

    applies: bool
    shifted: bool
    max_relative_difference: FiniteFloat
    tolerance: FiniteFloat


class Alike(_Read):
    """Rank correlations of sample paths with those of another seed, symbol's name or time; 0 where none is shown."""

    seed: FiniteFloat
    symbol: FiniteFloat
    time: FiniteFloat


class Reproducibility(_Read):
    """Metamorphic facts about the forecasts of one process.

    Attributes:
        same_seed_differing: values that differed when the same windows were forecast with the same seed again.
        other_seed_changed, other_symbol_changed: share of sample paths that another seed, or the same prices under
            another symbol's name, changed; that of the window with the smallest.
        alike: rank correlation with the paths of another seed, of another symbol's name and of another time, where it
            is shown; else 0. See `measures.independence.likeness`.
        batch_equals_rows: windows together against each alone.
        order_irrelevant: windows in another order.
        a_b_a: A, then B, then A gave the first A again.
        output_overwritten: an output kept from an earlier call changed when later calls ran.
        affine: behaviour under a change of unit.
    """

    same_seed_differing: Count
    other_seed_changed: Share
    other_symbol_changed: Share
    alike: Alike
    batch_equals_rows: Difference
    order_irrelevant: Difference
    a_b_a: bool
    output_overwritten: bool
    affine: Affine


class PredictResult(_Read):
    """`predict`: forecasts from the filled cache. At least one shard of a variant carries `reproducibility`.

    first_call_seconds: from the loaded model to its first forecast (a warm start where compiled).
    distinct_paths: share of distinct sample paths among those of a window, the smallest of all windows.
    memory_readings: bytes in use by the process after each call, in order.
    in_other_calls: all windows again in other calls; of a variant whose random numbers no other shares.
    peak_memory_bytes, device_peak_bytes: most of the process, and on the device; the latter null on a CPU.
    """

    health: Health
    first_call_seconds: Seconds
    load_seconds: Seconds
    forecast_hash: str
    distinct_paths: Share
    peak_memory_bytes: Bytes | None
    device_peak_bytes: Bytes | None
    memory_readings: list[Bytes]
    reproducibility: Reproducibility | None
    in_other_calls: OtherCalls | None


class RepeatResult(_Read):
    """`repeat`: one further fresh process that forecast once; `compared`: its bits were held against predict's."""

    load_seconds: Seconds
    first_call_seconds: Seconds
    compared: bool
    health: Health


class Load(_Read):
    """What happened on the machine for a while; see `greenlight.trials.load`. None: the system does not say."""

    seconds: Seconds
    processors: Count
    foreign: Annotated[float, Field(ge=0, le=1)] | None
    waited: NotNegative | None
    device: dict[str, Any] | None


class TimedLoad(Load):
    """While `pairs` were timed; kept: whether they count, for pairs beside others are timed again."""

    pairs: Count
    kept: bool


class Loads(_Read):
    """Before the first pair (loading and warming up), during each batch of pairs, and during a call after the last.

    idle: the GPU before the process touched it; None on a CPU.
    """

    idle: dict[str, Any] | None
    before: Load
    during: list[TimedLoad] = Field(min_length=1)
    after: Load


class TimeResult(_Read):
    """`time`: one process of interleaved pairs; the pairs themselves lie in pairs.parquet.

    alone: seconds of calls of the variant alone, and of work of the same length after each, once one was slow.
    alone_before: of earlier batches, in which some looked slow, so that others were made.
    memory_readings, device_memory_readings: bytes in use after each timed call, in order; none of a device on a CPU."""

    load_seconds: Seconds
    first_call_seconds: Seconds
    warm_up_calls: Count
    recompiles_after_warm_up: Count
    load: Loads
    alone: dict[Literal["variant_seconds", "yardstick_seconds"], list[Seconds]]
    alone_before: list[dict[Literal["variant_seconds", "yardstick_seconds"], list[Seconds]]]
    memory_readings: list[Bytes]
    device_memory_readings: list[Bytes]
    peak_memory_bytes: Bytes | None
    device_peak_bytes: Bytes | None
    health: Health


class ReplicateErrors(_Read):
    """Errors of one arm, [seeds, windows] each."""

    mae: list[list[NotNegative]]
    weighted_quantile_loss: list[list[NotNegative]]
    rmse: list[list[NotNegative]]
    returns_mae: list[list[NotNegative]] | None = None

    def has_shape(self, seeds: int, windows: int) -> bool:
        """Whether there is an error of each window for each seed."""
        known = [rows for rows in vars(self).values() if rows is not None]
        return all(len(rows) == seeds and all(len(row) == windows for row in rows) for rows in known)

    def repeated(self) -> bool:
        """Whether two seeds gave the same errors throughout."""
        rows = zip(map(tuple, self.mae), map(tuple, self.weighted_quantile_loss), strict=True)
        return len(set(rows)) < len(self.mae)


class ReplicateResult(_Read):
    """`replicate`: forecasts of every window with further seeds, by a variant (`own`) and its partner (`other`).

    Attributes:
        partner: the variant that has the same random numbers.
        windows: keys of the windows, in the order of the manifest.
        seeds: the seeds, one after the other behind that of the run; none where no time was given for one.
        look, looks: at which of how many looks it ended; see `comparison.seeds_at`.
        health: null where nothing was forecast.
    """

    partner: str
    windows: list[str]
    seeds: list[Count]
    look: Annotated[int, Field(ge=1)]
    looks: Annotated[int, Field(ge=1)]
    own: ReplicateErrors
    other: ReplicateErrors
    health: Health | None

    @model_validator(mode="after")
    def _every_window_with_every_seed(self) -> ReplicateResult:
        for arm in (self.own, self.other):
            if not arm.has_shape(len(self.seeds), len(self.windows)):
                raise ValueError(f"errors that are not of {len(self.seeds)} seeds and {len(self.windows)} windows")
            if arm.repeated():
                raise ValueError("two seeds with the same errors")
        return self


class CodeRun(_Read):
    """Other people's code that a trial ran: where it lies, the hash of its files, its git commit where it has one."""

    path: str
    hash: str
    commit: str | None = None


class Trial(_Read):
    """A trial record: what a child process did, whatever happened.

    reduced: with how many fewer windows in a call than it was asked for, in words; empty where with all.
    sizes: windows in a call, by the name of what was asked for.
    code_run: packages and folders of other people's code that it ran, by name.
    """

    kind: str
    message: str
    attempts: list[dict[str, Any]]
    reduced: str
    sizes: dict[str, Count]
    code_run: dict[str, CodeRun]
    result: Any

    @property
    def ok(self) -> bool:
        """Whether the child did what it was asked."""
        return self.kind == "ok"


class RecordDocument(_Read):
    """A record before its trials' results are read."""

    stage: str
    model: str
    variant: str
    key: str
    trials: list[Trial] = []
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    problems: list[str] = []
