"""Which variant to deploy for a model, and one line for each that is not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenlight.judgement.checks.base import Check
from greenlight.judgement.expected import ExpectedModel
from greenlight.judgement.rules import Rules
from greenlight.judgement.speed import Speed
from greenlight.statistics.intervals import Interval, difference
from greenlight.variants import Variant

# The reference against itself: a ratio of 1 that is known, not estimated.
ITSELF = Interval(0.0, 0.0, 0.0, 0)


@dataclass(frozen=True)
class Decision:
    """The choice for one model.

    Attributes:
        chosen: variant to deploy; None where none passes.
        reason: one sentence.
        losers: one line for each other variant.
        deployed: what production runs now, if the configuration says so.
        judged: the variant that the gate judges: the deployed one where it is named, else the chosen one.
    """

    chosen: str | None
    reason: str
    losers: Mapping[str, str]
    deployed: str | None
    judged: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**self.__dict__, "losers": dict(self.losers)}


def simplicity(model: ExpectedModel, variant: str) -> tuple[int, int, int, str]:
    """Order of preference among equals: precision, mode, then the reference's implementation, then the name."""
    chosen = Variant.parse(variant)
    own = chosen.implementation != Variant.parse(model.reference).implementation
    return *chosen.complexity, int(own), variant


def decide(
    model: ExpectedModel,
    checks: Mapping[str, Sequence[Check]],
    speeds: Mapping[str, Speed | None],
    rules: Rules,
    precision: str = "float32",
) -> Decision:
    """Choose among the variants that nothing blocks.

    Going from the simplest to the most complex, a variant takes the place of the best so far where it is faster
    by the margin on the choosing half of the pairs. The winner must then clear the margin with its lower bound
    on the confirming half, over the best of the simpler ones; else it is struck out and the rest choose again.

    Args:
        precision: of the process that calls. Where it is a reduced one, what is not called in it is there to be held
            against, and can't be chosen: production would call it otherwise than it was judged.
    """
    losers: dict[str, str] = {}
    candidates = []
    for variant in sorted(model.variants, key=lambda name: simplicity(model, name)):
        same = model.variants[variant].same_as
        stopped = next((check for check in checks[variant] if check.blocking), None)
        if stopped is not None:
            losers[variant] = f"{stopped.name}: {stopped.reason}"
        elif same is not None:
            losers[variant] = f"the same as {same} on this device"
        elif precision not in ("float32", Variant.parse(variant).precision):
            losers[variant] = f"not called in the {precision} of evaluation.call.process, which others are held against"
        elif variant != model.reference and speeds.get(variant) is None:
            losers[variant] = "its speed is not known"
        else:
            candidates.append(variant)
    chosen, reason, passing = None, "no variant passes", len(candidates)
    while candidates:
        chosen, runner_up = _fastest(model, candidates, speeds, rules)
        if runner_up is None:
            reason = _only(passing, model)
            break
        confirmed = _over(model, chosen, runner_up, speeds, "confirming")
        if confirmed.upper < -math.log(rules.speed.margin):
            # Its bound only: the speedup over all pairs, which is another number, stands beside it.
            least = f"at least {math.exp(-confirmed.upper):.2f} times as fast as {runner_up}"
            reason = f"{least}, the best of the simpler variants, in the pairs that confirm the choice"
            break
        losers[chosen] = f"{_words(confirmed)} as fast as {runner_up}, which does not clear {rules.speed.margin:g}"
        candidates.remove(chosen)
        chosen = None
    losers |= {variant: _loser(model, variant, chosen, speeds, rules) for variant in candidates if variant != chosen}
    judged = model.deployed if model.deployed is not None else chosen
    return Decision(chosen, reason, losers, model.deployed, judged)


def _only(passing: int, model: ExpectedModel) -> str:
    if passing == 1 and len(model.variants) > 1:
        return "the only variant that passes"
    return "no more complex variant is faster by the margin"


def _speed_of(model: ExpectedModel, variant: str, speeds: Mapping[str, Speed | None], part: str) -> Interval:
    """Log ratio of a variant's latency to the reference's, on one part of the pairs."""
    speed = speeds.get(variant)
    return ITSELF if variant == model.reference or speed is None else getattr(speed, part)


def _over(model: ExpectedModel, variant: str, other: str, speeds: Mapping[str, Speed | None], part: str) -> Interval:
    """Log ratio of a variant's latency to another's; below 0 is faster."""
    return difference(_speed_of(model, variant, speeds, part), _speed_of(model, other, speeds, part))


def _fastest(
    model: ExpectedModel, candidates: Sequence[str], speeds: Mapping[str, Speed | None], rules: Rules
) -> tuple[str, str | None]:
    """The winner on the choosing half, and the best of the simpler ones that it replaced (None: the simplest)."""
    best, before = candidates[0], None
    for variant in candidates[1:]:
        ahead = _over(model, variant, best, speeds, "choosing").estimate
        if ahead < -math.log(rules.speed.margin):
            best, before = variant, best
    return best, before


def _words(log_ratio: Interval) -> str:
    """A log ratio of latency as a speedup: 1.31 [1.25, 1.36] times."""
    slow, middle, fast = (math.exp(-min(700, x)) for x in (log_ratio.upper, log_ratio.estimate, log_ratio.lower))
    return f"{middle:.2f} [{slow:.2f}, {fast:.2f}] times"


def _loser(
    model: ExpectedModel, variant: str, chosen: str | None, speeds: Mapping[str, Speed | None], rules: Rules
) -> str:
    """Why a variant that passes is not chosen."""
    if chosen is None:
        return "not confirmed"
    apart = _over(model, variant, chosen, speeds, "ratio")
    surely_slower = apart.lower > 0
    if surely_slower or simplicity(model, variant) < simplicity(model, chosen):
        return f"passes, {_words(apart)} as fast as {chosen}"
    return f"passes, {_words(apart)} as fast as {chosen}, which is simpler; the margin is {rules.speed.margin:g}"


def break_even_calls(compile_seconds: float | None, speed: Speed | None) -> float | None:
    """Calls after which compiling has paid: compile seconds over seconds saved a call; None where never."""
    if compile_seconds is None or speed is None:
        return None
    saved = speed.reference["median"] - speed.variant["median"]
    return compile_seconds / saved if saved > 0 else None
