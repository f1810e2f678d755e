"""Was the machine quiet enough to choose? Checks of a whole model, for a choice is between its variants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from greenlight.judgement.checks.base import Check, Status, make_check
from greenlight.judgement.decision import Decision, simplicity
from greenlight.judgement.evidence import VariantEvidence
from greenlight.judgement.expected import ExpectedModel
from greenlight.judgement.records import Load, Loads
from greenlight.judgement.rules import Rules
from greenlight.judgement.speed import Speed

REMEDY = (
    "time again when it is quiet (snakemake --cores 1 --forcerun time, with the --configfile and --config of this run)"
)


def load_checks(
    name: str,
    model: ExpectedModel,
    found: Mapping[str, VariantEvidence],
    checks: Mapping[str, Iterable[Check]],
    speeds: Mapping[str, Speed | None],
    decision: Decision,
    rules: Rules,
) -> list[Check]:
    """`quiet-machine` and `noise-of-choice` of a model whose variants were timed; nothing where none was.

    Args:
        checks: of each variant, for what stops it.
    """
    timed = {v: entry for v, entry in found.items() if speeds.get(v) is not None and v != model.reference}
    if not timed:
        return []
    able = [v for v in timed if not any(_stopped(check) for check in checks[v])]
    rivals = {v: speed for v in able if (speed := speeds[v]) is not None}
    return [_quiet_machine(name, timed, rules), _noise_of_choice(name, model, rivals, decision, rules)]


def _stopped(check: Check) -> bool:
    """Whether a variant is out of the running for a reason that no quieter machine would take away."""
    return check.blocking and not (check.name == "not-slower" and check.status == "inconclusive")


def _quiet_machine(model: str, timed: Mapping[str, VariantEvidence], rules: Rules) -> Check:
    """Whether others left the machine alone while pairs were timed."""
    limit = rules.speed.foreign_load
    files = sorted({file for entry in timed.values() for file in entry.stage_files("time").items()})
    loads = [(variant, result.load) for variant, entry in timed.items() for result in entry.results("time")]
    beside = [(variant, kept) for variant, own in loads for kept in own.during if kept.kept]
    worst = max((kept.foreign for _, kept in beside if kept.foreign is not None), default=None)
    status: Status = "inconclusive"
    if limit < 1 and (causes := list(dict.fromkeys(_causes(loads, beside, limit)))):
        reason = f"{causes[0]}; {REMEDY}: the machine is too busy to choose between {_listed(timed)}"
    else:
        status = "pass"
        reason = "any load of others is allowed" if limit == 1 else "others left the machine alone"
        reason += (
            f"; they used at most {worst:.0%} of the processors while pairs were timed" if worst is not None else ""
        )
    return make_check(rules, "quiet-machine", status, reason, model=model, figure=worst, limit=limit, evidence=files)


def _causes(loads: Iterable[tuple[str, Loads]], beside: Iterable[tuple[str, Load]], limit: float) -> Iterable[str]:
    for variant, kept in beside:
        if kept.foreign is None:
            yield f"the system does not say how busy others kept the processors while {variant} was timed"
        elif kept.foreign > limit:
            yield (
                f"others used {kept.foreign:.0%} of the processors while {variant} was timed "
                f"(rules.speed.foreign_load allows {limit:.0%})"
            )
    for variant, own in loads:
        before = (own.idle or {}).get("processes") or 0
        if before and ((own.idle or {}).get("utilization_percent") or 0) > 100 * limit:
            yield f"the GPU was at work for others before {variant} was timed"
        for one in (own.before, *own.during, own.after):
            device = one.device or {}
            if device.get("throttled"):
                yield f"the GPU ran slower ({', '.join(device['throttled'])}) while {variant} was timed"
            if (device.get("processes") or 0) > before + 1:
                yield f"another process came to the GPU while {variant} was timed"


def _noise_of_choice(
    name: str, model: ExpectedModel, speeds: Mapping[str, Speed], decision: Decision, rules: Rules
) -> Check:
    """Whether the reference's noise against itself (A/A) is below what each step of the choice needs."""
    chosen = decision.chosen
    found = list(_steps(model, speeds, chosen, math.log(rules.speed.margin))) if chosen is not None else []
    if not found:
        reason = "there was nothing to choose between"
        return make_check(rules, "noise-of-choice", "not-measured", reason, model=name)
    noise, need, rival = max(found, key=lambda one: one[0] - one[1])
    shown = f"by up to {math.expm1(noise):.0%}" if math.isfinite(noise) else "by more than its A/A pairs can bound"
    reason = f"the reference differs from itself {shown}, and the choice needs less than {math.expm1(need):.0%}"
    if noise >= need:
        reason += f"; {REMEDY}: the machine is too busy to choose between {chosen} and {rival}"
    return make_check(
        rules,
        "noise-of-choice",
        "pass" if noise < need else "inconclusive",
        reason,
        model=name,
        figure=math.expm1(noise) if math.isfinite(noise) else None,
        limit=math.expm1(need),
    )


def _steps(
    model: ExpectedModel, speeds: Mapping[str, Speed], chosen: str, margin: float
) -> Iterator[tuple[float, float, str]]:
    """Noise, and what the choice against each rival needs: their distance from where it would be the other one, which
    is the margin, and no less than the margin itself, for a variant that differs by less is no better.
    """
    for rival in (model.reference, *speeds):
        pair = [speeds[one] for one in (chosen, rival) if one in speeds]
        if rival == chosen or not pair:
            continue
        slower = sum(sign * speeds[one].ratio.estimate for sign, one in ((1, rival), (-1, chosen)) if one in speeds)
        simpler = simplicity(model, rival) < simplicity(model, chosen)
        need = max(margin, abs(slower - margin if simpler else slower + margin))
        yield max(speed.noise_bound for speed in pair), need, rival


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else f"{last} and the reference"
