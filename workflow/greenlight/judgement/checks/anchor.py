"""What is measured against something stands or falls with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from greenlight.judgement.checks.base import Check, Status, Subject, make_check
from greenlight.judgement.expected import ExpectedModel
from greenlight.judgement.registry import CHECKS

OWN_AFFAIRS = frozenset(row.name for row in CHECKS if row.own)
"""Checks whose failure stops the variant that they concern and none that is compared with it: what compiling did, how
fast it is and what it takes say nothing about forecasts, and who is compared is held to the same limits."""


def anchors(model: ExpectedModel, variant: str) -> list[str]:
    """What a variant is held to, directly or through its partner; the reference, where causes lie, first."""
    found: list[str] = []
    partner = model.partner(variant)
    while partner is not None and partner not in (*found, variant, model.reference):
        found.append(partner)
        partner = model.partner(partner)
    return found if variant == model.reference else [model.reference, *found]


def anchor_check(subject: Subject, model: ExpectedModel, checks: Mapping[str, Sequence[Check]]) -> list[Check]:
    """`pairing-anchor`: nothing stops what a variant is compared with; a variant is no better than that."""
    held_to = anchors(model, subject.found.variant)
    if not held_to:
        return []
    unknown = next((other for other in held_to if other not in checks), None)
    if unknown is not None:
        return [_check(subject, "fail", f"no evidence: {unknown}, which it is held to, was not judged", [])]
    relevant = [check for other in held_to for check in checks[other] if check.name not in OWN_AFFAIRS]
    stopped = [check for check in relevant if check.blocking]
    if stopped:
        first = stopped[0]
        reason = f"{first.variant}, which it is held to, fails {first.name}: {first.reason}"
        return [_check(subject, "fail", reason, [first], len(stopped))]
    reason = f"nothing stops {' nor '.join(held_to)}, which it is held to"
    return [_check(subject, "pass", reason, [check for check in relevant if check.name == "numerics"])]


def _check(subject: Subject, status: Status, reason: str, rests_on: Sequence[Check], figure: int = 0) -> Check:
    evidence = dict.fromkeys(file for check in rests_on for file in check.evidence)
    about: dict[str, Any] = {"model": subject.found.model, "variant": subject.found.variant, "evidence": evidence}
    return make_check(subject.rules, "pairing-anchor", status, reason, figure=figure, limit=0, **about)
