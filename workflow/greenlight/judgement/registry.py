"""Every check of the gate, stated once: what it asks, where it is made, what it rests on, and what it may stop.

From these rows come the default severities and the order of checks (`rules`), which checks a variant must have
(`judge`), whose failure stops only its own variant (`checks.anchor`), and the table in the docs, which
`python -m tools.check_table` writes. Who adds a check adds a row here and a function in the room that the row names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["block", "block-on-fail", "warn", "off"]
"""block: anything but a pass stops the variant. block-on-fail: a shown failure stops it, and an inconclusive result
that looks worse; any other inconclusive one is reported and does not. warn: reported only. off: not judged, and listed
as such."""

Other = Literal["", "chance", "machine"]
"""What can decide a check beside the variant: chance, as of threads or the allocator, or the machine's other work."""

Demand = Literal["all", "variants", "reference", "compiled", "cuda-graphs", "autotuning", ""]
"""Who must have a check, so that a missing one is a failure: every variant; all but the reference; it alone;
compiled ones; those whose mode asks for CUDA graphs, or for autotuning. Empty: who has it depends on the run."""


@dataclass(frozen=True)
class Row:
    """A check.

    Attributes:
        room: the module of `judgement.checks` that makes it.
        stages: whose evidence it rests on.
        unit: of its figure and of its limit.
        asks: a question in one sentence; a pass says yes.
        own: whether it says nothing about forecasts, so that its failure stops no variant that is compared with this.
        other: what else can decide it.
    """

    name: str
    room: str
    stages: tuple[str, ...]
    severity: Severity
    unit: str
    asks: str
    demand: Demand = ""
    own: bool = False
    other: Other = ""


def _rows(
    room: str, stages: str, severity: Severity, demand: Demand, own: bool, *rows: tuple[str, ...], other: Other = ""
) -> list[Row]:
    """Rows that share all but name, unit and question; a fourth item is another severity."""
    return [
        Row(name, room, tuple(stages.split()), more[0] if more else severity, unit, asks, demand, own, other)  # type: ignore[arg-type]
        for name, unit, asks, *more in rows
    ]


_ANY = "compile predict probe call repeat time score replicate"
_WATCHED = "compile predict time"

CHECKS: tuple[Row, ...] = (
    *_rows("running", "", "block", "", True,
        ("trained-weights", "", "Are the weights other than random numbers, which are never deployed?"),
    ),
    *_rows("running", _ANY, "block", "all", False,
        ("trials", "trials", "Did every trial succeed, in as many fresh processes as were asked for?"),
    ),
    *_rows("running", _ANY, "block", "all", True,
        ("smaller-batch", "", "Did every trial fit into memory with the batch that was asked for?"),
    ),
    *(
        row
        for stage, what, own in (
            ("compile", "compiling", True), ("predict", "the forecasts", False), ("probe", "the numerics", False),
            ("repeat", "further processes", False), ("call", "calls as production makes them", True),
            ("time", "latency", True), ("score", "the scores", False), ("replicate", "further seeds", False),
        )
        for row in _rows("running", stage, "block", "", own,
            (f"evidence-{stage}", "problems", f"Is the evidence of {what} whole, fresh and as planned?"),
        )
    ),
    *_rows("health", _WATCHED, "block", "compiled", True,
        ("compile-engaged", "graphs", "Did compiled graphs run in every process, and in every forecast after warm-up?"),
        ("recompiles-after-warm-up", "recompiles", "Was nothing compiled again after warm-up?"),
        ("compiled-after-warm-up", "compilations", "Was nothing compiled at all after warm-up?", "warn"),
        ("recompile-limit", "frames", "Did no frame reach its recompile limit, after which it runs in eager mode?"),
        ("graph-breaks", "graph breaks", "Did no graph break?", "warn"),
        ("eager-frames", "frames", "Did no frame silently run in eager mode?", "warn"),
    ),
    *_rows("health", "predict", "block", "cuda-graphs", True,
        ("cuda-graphs", "recordings", "Were CUDA graphs recorded, and none skipped?"),
    ),
    *_rows("health", "compile", "warn", "autotuning", True,
        ("autotuning", "operations", "Were operations tuned?"),
    ),
    *_rows("health", "compile", "warn", "compiled", True,
        ("cold-cache", "files", "Did the cold compile begin with an empty cache?"),
    ),
    *_rows("health", _WATCHED, "warn", "compiled", True,
        ("warm-cache", "cache misses", "Did later processes start from the filled cache, and faster?"),
        other="machine",
    ),
    *_rows("numerics", "probe", "block", "all", False,
        ("numerics", "share of the quantity's RMS value",
         "Are errors against float64 no larger than float32 allows, in each window, step and batch?"),
        ("exact-quantities", "integers", "Are tokens and indices equal to the float32 reference's?"),
        ("golden-forecasts", "share of paths", "Are the stored forecasts of the shipped checkpoint found again?"),
    ),
    *_rows("numerics", "probe", "block", "all", True,
        ("as-served", "", "Does the object that production calls give the forecasts that are judged?"),
    ),
    *_rows("numerics", "probe", "block", "reference", False,
        ("reference-as-published", "share of the quantity's RMS value",
         "Does a reference that runs other people's code give what independent code does?"),
    ),
    *_rows("numerics", "predict", "block", "all", False,
        ("same-seed", "values", "Does the same seed give the same bytes?"),
        ("other-seed", "share of paths", "Do other seeds draw other paths?"),
        ("other-symbol", "share of paths", "Do another symbol's name and another time draw other paths?"),
        ("samples-differ", "share of paths", "Are the paths of a window distinct, as the reference's are?"),
        ("batch-equals-rows", "share of the spread", "Does a batch equal each of its windows alone?"),
        ("symbol-order", "share of the spread", "Does the order of windows not matter?"),
        ("repeat-after-other", "outputs", "Does A, B, A give the first A again?"),
        ("output-kept", "outputs", "Does an output stay as it was while later calls run?"),
        ("affine", "share of the spread", "Do prices in another unit give the same forecast in that unit?"),
    ),
    # What is compared with others is eager: where this fails it, results are wrong, not compilation.
    *_rows("call", "call predict", "block", "all", False,
        ("shapes-stable", "frames", "In many shapes: is nothing compiled anew, and are results those of eager code?"),
    ),
    *_rows("call", "probe", "block", "all", True,
        ("concurrent-calls", "share of paths", "Do threads that call one object get what they get one by one?"),
        other="chance",
    ),
    *_rows("call", "call predict", "block", "all", True,
        ("soak", "bytes a call", "Do results and memory stay over hundreds of calls?", "block-on-fail"),
        other="chance",
    ),
    *_rows("call", "call predict", "warn", "all", True,
        ("soak-drift", "share of the median", "Does a call take no longer at the end than at the beginning?"),
        other="machine",
    ),
    *_rows("accuracy", "score replicate", "block", "variants", False,
        ("mae-not-worse", "share of the MAE", "Is the MAE no worse than the partner's, by the margin?"),
        ("quantile-loss-not-worse", "share of the loss", "Is the quantile loss no worse than the partner's?"),
        ("rmse-not-worse", "share of the RMSE", "Is the RMSE of the mean no worse than the partner's?"),
    ),
    *_rows("accuracy", "score replicate", "block", "", False,
        ("returns-not-worse", "share of the MAE", "Where models are given returns: is the MAE of these no worse?"),
    ),
    *_rows("agreement", "predict", "block", "variants", False,
        ("forecasts-agree", "share of paths", "Is every sample path the partner's, but for draws near a tie?"),
    ),
    *_rows("accuracy", "score replicate", "block", "", False,
        ("mae-improvement", "share of the MAE", "Is the MAE not better than compiling could make it?"),
    ),
    *_rows("accuracy", "score replicate", "block", "variants", False,
        ("series-difference", "share of the error", "Does no single symbol's error differ from the partner's?"),
    ),
    *_rows("anchor", "predict probe call score", "block", "", False,
        ("pairing-anchor", "checks", "Does nothing stop what the variant is compared with?"),
    ),
    *_rows("accuracy", "score", "block-on-fail", "", False,
        ("mae-against-reference", "share of the MAE", "Is the MAE no worse than the reference's, of other draws?"),
        ("quantile-loss-against-reference", "share of the loss", "The same of the quantile loss?"),
        ("rmse-against-reference", "share of the RMSE", "The same of the RMSE of the mean?"),
        ("returns-against-reference", "share of the MAE", "The same of the MAE of returns?"),
    ),
    *_rows("forecasts", "predict", "block-on-fail", "", False,
        ("forecasts-against-reference", "band widths", "Are median and band at each step the reference's?"),
    ),
    *_rows("forecasts", "probe", "block", "", False,
        ("draws-as-reference", "band widths", "Drawn again and again: are median and band the reference's?"),
        ("paths-as-reference", "band widths or log ratio",
         "Drawn again and again: are means, tails, changes along a path, and what differs from seed to seed?"),
    ),
    *_rows("accuracy", "score", "block", "all", False,
        ("naive-ratio", "ratio", "Is the MAE bearable beside that of repeating the last price?"),
        ("coverage", "share of outcomes", "Does the 10 to 90% band hold as many outcomes as due?", "block-on-fail"),
        ("mae-band", "percent of price", "Is the MAE below what would be investigated?", "warn"),
    ),
    *_rows("speed", "time", "block", "variants", True,
        ("not-slower", "share of the latency", "Is the median call no slower than the reference's?"),
        ("mean-not-slower", "share of the latency", "Is the mean call no slower than that?", "block-on-fail"),
        ("slow-calls", "share of calls", "Are less than the allowed share of calls slow?", "block-on-fail"),
        ("p99", "seconds or medians", "Is the 99th percentile within the limit that was set?"),
        ("noise", "share of the latency", "Does the reference, timed against itself, differ little?", "warn"),
        other="machine",
    ),
    *_rows("load", "time", "block", "", True,
        ("quiet-machine", "share of the processors", "Did others leave the machine alone while pairs were timed?"),
        ("noise-of-choice", "share of the latency", "Is the machine's noise below what the choice needs?"),
        other="machine",
    ),
    *_rows("speed", "time", "warn", "variants", True,
        ("processes-agree", "share of the latency", "Do fresh processes give the same ratio?"),
        ("latency-drift", "share of the latency", "Does latency not drift within a process?"),
        ("latency-spread", "share of the median", "Do a variant's seconds scatter little?"),
        other="machine",
    ),
    *_rows("speed", "compile predict", "block", "all", True,
        ("start-time", "seconds", "Are cold and warm start within the limits that were set?"),
        other="machine",
    ),
    *_rows("speed", "time", "block-on-fail", "variants", True,
        ("memory-growth", "bytes a call", "Does memory not grow from call to call?"),
        other="chance",
    ),
    *_rows("speed", "predict time", "block", "all", True,
        ("memory-peak", "bytes", "Is the peak of memory within the limit that was set?"),
        other="chance",
    ),
    *_rows("baseline", "score", "block", "", False,
        ("baseline-file", "", "Can the accepted baseline be read, and was it left as it was written?"),
        ("baseline-comparable", "", "Is the baseline of the same weights, settings and prices?", "block-on-fail"),
        ("baseline-vanished", "entries", "Is everything that was accepted still there?"),
        ("baseline-new", "entries", "Is nothing here that was not accepted?", "warn"),
        ("baseline-accuracy", "share of the error", "Are MAE, quantile loss and RMSE what was accepted, in all?"),
        ("baseline-symbols", "share of the error", "Are they what was accepted for each symbol?"),
    ),
    *_rows("baseline", "time", "block-on-fail", "", True,
        ("baseline-speed", "share of the speedup", "Is the speedup no smaller than was accepted?"),
        ("baseline-speed-absolute", "ratio", "Are the seconds of a call about what was accepted?", "warn"),
        ("baseline-speed-gain", "share of the speedup", "Is the speedup no larger than was accepted, unexplained?"),
        other="machine",
    ),
)  # fmt: skip
"""In the order in which checks are reported."""

NAMES = {row.name: row for row in CHECKS}


def demanded(*demands: Demand) -> list[str]:
    """Names of the checks that variants of these kinds must have."""
    return [row.name for row in CHECKS if row.demand in demands]


def made_in(room: str, *, stages: str, demand: Demand) -> tuple[str, ...]:
    """Names of the checks of a room on the same evidence, for a room that must fail all of them alike."""
    return tuple(c.name for c in CHECKS if (c.room, c.stages, c.demand) == (room, tuple(stages.split()), demand))
