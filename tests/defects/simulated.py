"""Defects put into simulated evidence: what a variant with such a mistake leaves, and the check that must say so.

Cheap beside the edits of `catalogue.toml`, which are really run: a verdict of each takes a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.checks.base import Check
from greenlight.judgement.drawn_paths import QUANTITIES
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.evidence_builder import KRONOS, TOTO, Effects, Run

VARIANT = ("kronos", "upstream-default")
REFERENCE = ("kronos", "upstream-eager")
DRAWN = ("toto", "static-eager")


@dataclass(frozen=True)
class Simulated:
    """A defect of simulated evidence.

    Attributes:
        kind: one of the page's kinds.
        check: the check that must stop `judged`; defective: the variant that has the defect.
        damage: what becomes of the folder of evidence after it is written.
    """

    kind: str
    check: str
    effects: Effects = field(default_factory=lambda: Effects(latency=0.7))
    defective: tuple[str, str] = VARIANT
    judged: tuple[str, str] = VARIANT
    damage: Callable[[Path], None] = lambda folder: None


def effect(kind: str, check: str, **changes) -> Simulated:
    """A defect of the compiled variant."""
    return Simulated(kind, check, Effects(**{"latency": 0.7} | changes))


def repeats(kind: str, check: str, **entries) -> Simulated:
    """A defect that the forecasts' own repetitions show."""
    return effect(kind, check, reproducibility=entries)


def _alike(**shown: float) -> dict[str, float]:
    """Rank correlations with paths that must be others."""
    return {"seed": 0.0, "symbol": 0.0, "time": 0.0} | shown


def differing(size: float) -> dict[str, float]:
    """Two forecasts that must be equal and differ by so much."""
    return {"max_abs_difference": size, "tolerance": 0.01}


def sample(symbols: tuple[str, ...], number: int, factor: float) -> Callable[[str, np.ndarray], np.ndarray]:
    """One sample path of some symbols becomes so many times as high."""
    moved = np.where(np.arange(32) == number, factor, 1.0)[:, None]
    return lambda symbol, paths: paths * moved if symbol in symbols or not symbols else paths


def every(symbols: tuple[str, ...], factor: float) -> Callable[[str, np.ndarray], np.ndarray]:
    """All paths of some symbols become so many times as high."""
    return lambda symbol, paths: paths * factor if symbol in symbols else paths


def _forecasts(**forecasts: int) -> dict[str, object]:
    good = {"calls": 30, "idle": 0, "first_idle": 0, "fewest": 3, "most": 3}
    return {"forecasts": good | forecasts}


def _failed(stage: str, kind: str) -> dict[str, dict[str, object]]:
    return {stage: {"kind": kind, "message": f"seeded: {kind}", "attempts": [], "result": None}}


def _remove(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        next(folder.glob(pattern)).unlink()

    return damage


def _cut(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = next(folder.glob(pattern))
        path.write_bytes(path.read_bytes()[:-40])

    return damage


def _flip(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = next(folder.glob(pattern))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))

    return damage


_OF = "model=kronos/variant=upstream-default"
_FILES = {
    "compile": f"compile/{_OF}/record.json",
    "predict": f"forecasts/{_OF}/symbol=SYM2/part-0.parquet",
    "probe": f"probe/{_OF}/record.json",
    "time": f"time/{_OF}/pairs.parquet",
    "score": f"scores/{_OF}/windows.parquet",
    "replicate": f"replicate/{_OF}/record.json",
}
_ENDS = {
    "signal": "killed by a signal",
    "time-out": "never ends",
    "compile-error": "torch can't compile it",
    "invalid-output": "gives NaN",
    "out-of-device-memory": "runs out of the device's memory",
}
_SYMBOLS = tuple(f"SYM{number}" for number in range(6))

SIMULATED: dict[str, Simulated] = {
    # numerics
    "errors of the logits a thousandth": effect("numerics", "numerics", probe_error=1e-3),
    "errors of the logits of TF32": effect("numerics", "numerics", probe_error=1e-4),
    "errors of the logits ten times rounding": effect("numerics", "numerics", probe_error=1e-6 * 3),
    # cache
    "a window sees its neighbour's cache": repeats("cache", "batch-equals-rows", batch_equals_rows=differing(0.5)),
    "a window sees a little of its neighbour": repeats("cache", "batch-equals-rows", batch_equals_rows=differing(0.02)),
    "the cache of the last order stays": repeats("cache", "symbol-order", order_irrelevant=differing(0.5)),
    "a cache that is not cleared": repeats("cache", "repeat-after-other", a_b_a=False),
    "a static output buffer handed out": repeats("cache", "output-kept", output_overwritten=True),
    # sampling
    "a seed that draws other bytes": repeats("sampling", "same-seed", same_seed_differing=12),
    "one value that is not reproducible": repeats("sampling", "same-seed", same_seed_differing=1),
    "a seed that is ignored": repeats("sampling", "other-seed", other_seed_changed=0.0),
    "a seed that changes a third of the paths": repeats("sampling", "other-seed", other_seed_changed=0.33),
    "a symbol that is ignored": repeats("sampling", "other-symbol", other_symbol_changed=0.0),
    "a seed that hardly moves the paths": repeats("sampling", "other-seed", alike=_alike(seed=0.96)),
    "a symbol that hardly moves the paths": repeats("sampling", "other-symbol", alike=_alike(symbol=0.6)),
    "a symbol that mirrors the paths": repeats("sampling", "other-symbol", alike=_alike(symbol=-0.8)),
    "the same numbers at all times": repeats("sampling", "other-symbol", alike=_alike(time=1.0)),
    "a twentieth of the paths drawn twice": effect("sampling", "samples-differ", distinct_paths=0.95),
    "half of the paths drawn twice": effect("sampling", "samples-differ", distinct_paths=0.5),
    "a location that is not added": repeats(
        "sampling", "affine", affine={"applies": True, "max_relative_difference": 0.3, "tolerance": 0.01}
    ),
    # paths
    "paths sorted at each step": effect("paths", "forecasts-agree", paths=lambda _, p: np.sort(p, axis=1)),
    "paths in reverse order": effect("paths", "forecasts-agree", paths=lambda _, p: p[:, ::-1]),
    "steps in reverse order": effect("paths", "forecasts-agree", paths=lambda _, p: p[..., ::-1]),
    "the second half mirrors the first": effect(
        "paths",
        "forecasts-agree",
        paths=lambda _, p: np.concatenate([p[:, :16], 2 * p.mean(axis=1, keepdims=True) - p[:, :16]], axis=1),
    ),
    "the first path in every place": effect(
        "paths", "forecasts-agree", paths=lambda _, p: np.repeat(p[:, :1], p.shape[1], axis=1)
    ),
    **{
        f"drawn beside the reference: {quantity} off": Simulated(
            "paths",
            "paths-as-reference",
            Effects(latency=0.7, drawn={quantity: [1.5 + 0.01 * number for number in range(8)]}),
            DRAWN,
            DRAWN,
        )
        for quantity in QUANTITIES
    },
    # tails
    "a sample of nothing": effect("tails", "forecasts-agree", paths=sample((), 5, 0.0)),
    "a sample of ten times the price": effect("tails", "forecasts-agree", paths=sample((), 5, 10.0)),
    "a sample of twice the price, in the mean": effect("tails", "rmse-not-worse", paths=sample((), 5, 2.0)),
    "half the band": effect("tails", "quantile-loss-not-worse", band=0.5),
    "no band": effect("tails", "coverage", band=0.01),
    # one symbol
    "one symbol's errors a third larger": effect("one symbol", "series-difference", error={"SYM3": 1.3}),
    "one symbol's errors a tenth larger": effect("one symbol", "series-difference", error={"SYM3": 1.1}),
    "one symbol's errors a tenth smaller": effect("one symbol", "series-difference", error={"SYM3": 0.9}),
    **{
        f"{symbol} off by 1% of the price": effect("one symbol", "forecasts-agree", paths=every((symbol,), 1.01))
        for symbol in _SYMBOLS[:3]
    },
    "a sample of one symbol of nothing": effect("one symbol", "forecasts-agree", paths=sample(("SYM4",), 5, 0.0)),
    # shared code
    "the stored forecasts are not found again": Simulated(
        "shared code", "golden-forecasts", Effects(golden=0.2), REFERENCE, REFERENCE
    ),
    "a fifth of the stored forecasts is not found again": Simulated(
        "shared code", "golden-forecasts", Effects(golden=0.8), REFERENCE, REFERENCE
    ),
    "teacher-forced values of stored windows a thousandth off": Simulated(
        "shared code", "golden-forecasts", Effects(golden_off=(12, 1e-3)), REFERENCE, REFERENCE
    ),
    "another clock in some of the stored windows": Simulated(
        "shared code", "golden-forecasts", Effects(golden=0.92, golden_off=(4, 0.1)), REFERENCE, REFERENCE
    ),
    "a variant held to a broken reference": Simulated(
        "shared code", "pairing-anchor", Effects(golden=0.2), REFERENCE, VARIANT
    ),
    "a variant held to a reference that is not reproducible": Simulated(
        "shared code", "pairing-anchor", Effects(reproducibility={"same_seed_differing": 3}), REFERENCE, VARIANT
    ),
    # horizon and batch
    "a step late": effect("horizon and batch", "forecasts-agree", shift=1),
    "two steps late": effect("horizon and batch", "forecasts-agree", shift=2),
    "errors 5% larger throughout": effect(
        "horizon and batch", "mae-not-worse", error={name: 1.05 + 0.002 * n for n, name in enumerate(_SYMBOLS)}
    ),
    "errors 5% smaller throughout": effect(
        "horizon and batch", "mae-improvement", error={name: 0.95 - 0.002 * n for n, name in enumerate(_SYMBOLS)}
    ),
    # timing
    "15% slower": effect("timing", "not-slower", latency=1.15),
    "15% slower, in the mean": effect("timing", "mean-not-slower", latency=1.15),
    "every fourth call three times as long": effect("timing", "slow-calls", slow_share=0.25),
    "every fourth call three times as long, of a variant twice as fast": effect(
        "timing", "slow-calls", latency=0.35, slow_share=0.25
    ),
    "every fifth call twelve times as long, in the mean": effect(
        "timing", "mean-not-slower", latency=1.0, slow_share=0.2, slow_factor=12.0
    ),
    "1 MiB a call is never given back": effect("timing", "memory-growth", leak=1 << 20),
    "512 KiB a call is never given back": effect("timing", "memory-growth", leak=1 << 19),
    # compile
    "nothing compiled": effect("compile", "compile-engaged", health={"engaged": False, "graphs": 0}),
    "given up at the 14th forecast": effect(
        "compile", "compile-engaged", health=_forecasts(idle=17, first_idle=14, fewest=0)
    ),
    "fewer graphs in some forecasts": effect("compile", "compile-engaged", health=_forecasts(fewest=2)),
    "no forecast counted after warm-up": effect("compile", "compile-engaged", health=_forecasts(calls=0, fewest=0)),
    "three recompiles after warm-up": effect(
        "compile", "recompiles-after-warm-up", health={"recompiles_after_warm_up": 3}
    ),
    "a frame beyond its recompile limit": effect(
        "compile", "recompile-limit", health={"recompile_limit_hits": [{"function": "f", "file": "m.py", "line": 3}]}
    ),
    # evidence
    **{
        f"{what} {stage}": Simulated("evidence", f"evidence-{stage}", damage=how(file))
        for stage, file in _FILES.items()
        for what, how in (("a file is missing:", _remove), ("a file is cut off:", _cut), ("a bit is flipped:", _flip))
    },
    # predictors
    "an object that gives another column": effect(
        "predictors",
        "as-served",
        served="production's object gives other forecasts than are judged: close in 3 of 3 windows",
    ),
    # environment
    **{
        f"a trial that {words}": effect("environment", "trials", failed=_failed("time", kind))
        for kind, words in _ENDS.items()
    },
    **{
        f"forecasting {words}": effect("torch's own bugs", "trials", failed=_failed("predict", kind))
        for kind, words in _ENDS.items()
    },
}


def judged(defect: Simulated, folder: Path, seed: int = 1) -> dict[str, Check]:
    """The checks that stop the variant that the defect must stop, by name."""
    model = defect.judged[0]
    variants = {name: TOTO[name] for name in ("upstream-eager", "static-eager")} if model == "toto" else KRONOS
    run = Run(models={model: variants}, effects={defect.defective: defect.effects}, seed=seed, speed_seed=seed - 1)
    run.write(folder)
    defect.damage(folder)
    evidence = load_evidence(folder, load_expected(folder / "expected.json"))
    verdict = judge(evidence, Rules(), Baselines())
    return {check.name: check for check in verdict.blocking(*defect.judged)}
