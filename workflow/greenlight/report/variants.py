"""What verdict.json says of each variant, as rows of a report. Nothing is judged here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from greenlight.report.reading import at, number

Checks = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; None where there is no such bound."""

    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class VariantRow:
    """One variant of a model as the verdict has it; None where nothing was measured.

    Attributes:
        verdict: `pass`, `fail`, or `inconclusive` where all that blocks it is inconclusive.
        blocking: names of checks.
        roles: such as `reference`, `to deploy`, `deployed now`, `same as …`.
        mae_percent, over_naive, over_drift, mase, quantile_loss, coverage: averages over symbols.
        band: the verdict's word for the MAE.
        against: variant whose MAE it is compared with under the same random numbers.
        against_estimate, against_bound: change of MAE and its upper bound, as shares; identical: to the bit.
        numerics, numerics_limit: error against float64 in units of the quantity's RMS value, and what is allowed.
        speedup: over the reference; noise: bound of the A/A pairs, as a share.
        median_seconds, p99_seconds: of one call; the reference's are those in the pairs of another variant.
        cold, warm: start in seconds; break_even: calls.
        health: in words; engaged: False where compilation never ran.
        good_trials, trials: k of n.
    """

    name: str
    is_reference: bool
    verdict: str
    blocking: tuple[str, ...]
    roles: tuple[str, ...]
    mae_percent: Estimate | None
    over_naive: Estimate | None
    over_drift: Estimate | None
    mase: Estimate | None
    quantile_loss: Estimate | None
    coverage: Estimate | None
    band: str
    against: str
    against_estimate: float | None
    against_bound: float | None
    identical: bool
    numerics: float | None
    numerics_limit: float | None
    speedup: Estimate | None
    noise: float | None
    noise_bounds: tuple[float, float] | None
    median_seconds: float | None
    p99_seconds: float | None
    cold: float | None
    warm: float | None
    break_even: float | None
    engaged: bool | None
    health: str
    good_trials: int | None
    trials: int | None
    peak_memory: int | None
    device_peak: int | None


@dataclass(frozen=True)
class Comparison:
    """A check that rests on an estimate with bounds; changes as shares.

    Attributes:
        against: the variant that it is compared with.
        n, unit: pairs, series, windows or replicates that there were, and of how many seeds each is the mean where that
            is not one; needed: about how many would decide.
    """

    variant: str
    check: str
    status: str
    against: str
    estimate: float | None
    lower: float | None
    upper: float | None
    n: int
    unit: str
    needed: int | None


def comparisons(verdict: Mapping[str, Any], model: str, variant: str, reference: str) -> list[Comparison]:
    """The comparisons of a variant, in the order of the checks."""
    found = []
    for check in checks_of(verdict, model, variant):
        details = at(check, "details", kind=dict, default={})
        count = at(details, "n", kind=int)
        if count is None:
            continue
        seeds = at(details, "seeds", kind=int, default=1)
        found.append(
            Comparison(
                variant=variant,
                check=str(check.get("name")),
                status=str(check.get("status")),
                against=at(details, "against", kind=str, default=reference),
                estimate=number(details, "estimate"),
                lower=number(details, "lower"),
                upper=number(details, "upper"),
                n=count,
                unit=at(details, "unit", kind=str, default="") + (f", {seeds} seeds" if seeds > 1 else ""),
                needed=at(details, "needed", kind=int),
            )
        )
    return found


def verdict_word(gate: str | None, blocking: Iterable[Mapping[str, Any]]) -> str:
    """`pass`, `fail`, `inconclusive` (fails, and all that blocks is inconclusive), `not measured` or `unknown`."""
    if gate != "fail":
        return {"pass": "pass", "not-measured": "not measured"}.get(str(gate), "unknown")
    statuses = {check.get("status") for check in blocking}
    return "inconclusive" if statuses == {"inconclusive"} else "fail"


def checks_of(verdict: Mapping[str, Any], model: str | None = None, variant: str | None = None) -> Checks:
    """The checks of a variant, of a model as a whole (variant None), or of the run."""
    every = at(verdict, "checks", kind=list, default=[])
    return [
        check
        for check in every
        if isinstance(check, dict) and (check.get("model"), check.get("variant")) == (model, variant)
    ]


def gate_word(verdict: Mapping[str, Any]) -> str:
    """The gate's verdict in a word; see `verdict_word`. A pass of nothing, or with reasons, is unknown."""
    judged: Checks = [check for check in checks_of(verdict) if check.get("blocking")]
    models = at(verdict, "models", kind=dict, default={})
    if at(verdict, "gate") == "pass" and (verdict.get("reasons") != [] or not models):
        return "unknown"
    for model, entry in models.items():
        chosen = at(entry, "decision", "judged", kind=str)
        if chosen is None and at(entry, "gate") == "fail":
            # No variant passes: what each of them fails decides the word.
            judged += [c for c in at(verdict, "checks", kind=list, default=[]) if at(c, "model") == model]
        else:
            judged += checks_of(verdict, model) + checks_of(verdict, model, chosen)
    # A model that vanished has checks and no entry.
    judged += [c for c in at(verdict, "checks", kind=list, default=[]) if at(c, "model") not in (None, *models)]
    return verdict_word(at(verdict, "gate", kind=str), [check for check in judged if check.get("blocking")])


def variant_row(verdict: Mapping[str, Any], model: str, variant: str, reference: str | None) -> VariantRow:
    """The row of one variant; everything is None where the verdict does not know it."""
    entry = at(verdict, "models", model, "variants", variant, kind=dict, default={})
    is_reference = variant == reference
    checks = {str(check.get("name")): check for check in checks_of(verdict, model, variant)}
    overall = at(entry, "accuracy", "overall", kind=dict, default={})
    speed = at(entry, "speed", kind=dict, default={})
    paired = at(checks, "mae-not-worse", "details", kind=dict, default={})
    identical = paired.get("identical") is True
    bounds = _noise(speed)
    seconds = at(speed, "variant_seconds", kind=dict) or (_reference_seconds(verdict, model) if is_reference else {})
    return VariantRow(
        name=variant,
        is_reference=is_reference,
        verdict=verdict_word(at(entry, "verdict", kind=str), [c for c in checks.values() if c.get("blocking")]),
        blocking=tuple(str(name) for name in at(entry, "blocking", kind=list, default=[])),
        roles=tuple(_roles(verdict, model, variant, reference)),
        mae_percent=_estimate(overall, "mae_percent"),
        over_naive=_estimate(overall, "mae_over_naive"),
        over_drift=_estimate(overall, "mae_over_drift"),
        mase=_estimate(overall, "mase"),
        quantile_loss=_estimate(overall, "weighted_quantile_loss"),
        coverage=_estimate(overall, "coverage_80"),
        band=at(checks, "mae-band", "details", "band", kind=str, default=""),
        against=at(paired, "against", kind=str, default=""),
        against_estimate=None if identical else number(paired, "estimate"),
        against_bound=None if identical else number(paired, "upper"),
        identical=identical,
        numerics=number(checks, "numerics", "figure"),
        numerics_limit=number(checks, "numerics", "limit"),
        speedup=_estimate(speed, "speedup"),
        noise=max(abs(bound - 1) for bound in bounds) if bounds else None,
        noise_bounds=bounds,
        median_seconds=number(seconds, "median"),
        p99_seconds=number(seconds, "p99"),
        cold=number(entry, "cold_start_seconds"),
        warm=number(entry, "warm_start_seconds"),
        break_even=number(entry, "break_even_calls"),
        engaged=_engaged(checks),
        health=_health(checks),
        good_trials=at(checks, "trials", "figure", kind=int),
        trials=at(checks, "trials", "limit", kind=int),
        peak_memory=at(entry, "peak_memory_bytes", kind=int),
        device_peak=at(entry, "device_peak_bytes", kind=int),
    )


def _roles(verdict: Mapping[str, Any], model: str, variant: str, reference: str | None) -> Iterable[str]:
    decision = at(verdict, "models", model, "decision", kind=dict, default={})
    passes = at(verdict, "gate") == at(verdict, "models", model, "gate") == "pass"
    if passes and variant == decision.get("judged"):
        yield "to deploy"
    elif variant == decision.get("chosen"):
        yield "best that passes"
    if variant == decision.get("deployed"):
        yield "deployed now"
    if variant == reference:
        yield "reference"
    same = at(verdict, "models", model, "variants", variant, "same_as", kind=str)
    if same:
        yield f"same as {same}"


def _estimate(figures: Mapping[str, Any], name: str) -> Estimate | None:
    value = number(figures, name, "value")
    if value is None:
        return None
    return Estimate(value, number(figures, name, "lower"), number(figures, name, "upper"))


def _noise(speed: Mapping[str, Any]) -> tuple[float, float] | None:
    """Bounds of eager over eager as speedups."""
    lower, upper = number(speed, "noise", "lower"), number(speed, "noise", "upper")
    return (1 / upper, 1 / lower) if lower and upper else None


def _reference_seconds(verdict: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    """The reference's latency in the pairs of the variant that is judged, else of the first that was timed."""
    variants = at(verdict, "models", model, "variants", kind=dict, default={})
    judged = at(verdict, "models", model, "decision", "judged", kind=str, default="")
    for variant in (judged, *variants):
        if found := at(variants, variant, "speed", "reference_seconds", kind=dict):
            return found
    return {}


def _engaged(checks: Mapping[str, Any]) -> bool | None:
    status = at(checks, "compile-engaged", "status")
    return None if status is None else status == "pass"


def _health(checks: Mapping[str, Any]) -> str:
    """What compilation did, in a few words; empty for a variant that is not compiled."""
    if "compile-engaged" not in checks:
        return ""
    words = []
    for name, noun in (
        ("compile-engaged", "graph"),
        ("graph-breaks", "break"),
        ("recompiles-after-warm-up", "recompile"),
        ("eager-frames", "eager frame"),
    ):
        figure = at(checks, name, "figure", kind=int)
        if figure is not None and (figure or name != "eager-frames"):
            words.append(f"{figure} {noun}{'' if figure == 1 else 's'}")
    if not words:
        return "no evidence"
    return ("" if _engaged(checks) else "not engaged: ") + ", ".join(words)
