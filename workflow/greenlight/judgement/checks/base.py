"""What a check is, and how its status and the configured severity make it blocking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from greenlight.judgement.evidence import VariantEvidence
from greenlight.judgement.expected import Expected
from greenlight.judgement.registry import Severity
from greenlight.judgement.rules import Rules
from greenlight.measures.judged import ERRORS, OF_RETURNS
from greenlight.variants import Variant

Status = Literal["pass", "warn", "fail", "inconclusive", "not-measured", "not-applicable"]
Figure = float | int | str | None


@dataclass(frozen=True)
class Check:
    """The result of one rule.

    Attributes:
        name: one of `registry.NAMES`.
        model, variant: whom it concerns; None for all of them.
        status: pass: shown to hold; warn: does not hold, and only warns; fail: does not hold, or evidence is
            missing; inconclusive: the evidence can't say; not-measured: there is nothing to measure here (no
            such hardware, no limit set, no baseline), which is never counted as a pass; not-applicable: a model of
            this kind can't be asked this, as the reason says.
        figure, limit: what was found and what it was held against; None where there is no single one.
        reason: one sentence.
        details: further figures by name, such as the variant that this one is compared with, the estimate and its
            bounds, the number of units and how many would be needed.
        evidence: (file relative to the results folder, SHA-256 or None where missing).
        severity: the configured severity.
        blocking: whether this result stops the variant.
    """

    name: str
    model: str | None
    variant: str | None
    status: Status
    figure: Figure
    limit: Figure
    reason: str
    evidence: tuple[tuple[str, str | None], ...]
    severity: Severity
    blocking: bool
    details: Mapping[str, Figure | bool] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = dict(self.__dict__)
        plain["evidence"] = [{"file": file, "sha256": digest} for file, digest in self.evidence]
        plain["details"] = dict(self.details)
        return plain


def make_check(
    rules: Rules,
    name: str,
    status: Status,
    reason: str,
    *,
    model: str | None = None,
    variant: str | None = None,
    figure: Figure = None,
    limit: Figure = None,
    evidence: Iterable[tuple[str, str | None]] = (),
    severity: Severity | None = None,
    details: Mapping[str, Figure | bool] | None = None,
    looks_worse: bool = False,
) -> Check:
    """A check with its severity applied: `warn` turns a failure into a warning, `off` leaves it unjudged.

    Args:
        looks_worse: of an inconclusive result: it blocks under `block-on-fail` too.
    """
    severity = severity or rules.severity_of(name)
    if severity == "off":
        status, reason = "not-measured", "switched off in the configuration"
    elif severity == "warn" and status == "fail":
        status = "warn"
    open_too = severity == "block" or (severity == "block-on-fail" and looks_worse)
    blocking = status == "fail" or (status == "inconclusive" and open_too)
    figures = (figure, limit, reason, tuple(evidence))
    return Check(name, model, variant, status, *figures, severity, blocking, details or {})


@dataclass(frozen=True)
class Subject:
    """One variant under judgement: its evidence, the rules, and everything that was expected."""

    found: VariantEvidence
    rules: Rules
    expected: Expected

    @property
    def variant(self) -> Variant:
        """Its implementation, mode and precision."""
        return Variant.parse(self.found.variant)

    def error_name(self, error: str) -> str:
        """What an error of forecasts is called in a sentence."""
        return self.expected.mae if error == "mae" else {**ERRORS, **OF_RETURNS}[error]

    @property
    def is_reference(self) -> bool:
        """Whether this is the model's eager reference."""
        return self.found.variant == self.expected.models[self.found.model].reference

    def check(self, name: str, status: Status, reason: str, *stages: str, **figures: Any) -> Check:
        """A check of this variant, resting on the files of some stages; `figures` as for `make_check`."""
        model, variant = self.found.model, self.found.variant
        evidence = sorted(self.found.stage_files(*stages).items())
        return make_check(self.rules, name, status, reason, model=model, variant=variant, evidence=evidence, **figures)

    def holds(self, name: str, holds: bool, reason: str, *stages: str, **figures: Any) -> Check:
        """A check that passes or fails; `figures` as for `check`."""
        return self.check(name, "pass" if holds else "fail", reason, *stages, **figures)

    def missing(self, names: Sequence[str], what: str, *stages: str) -> list[Check]:
        """Failures of checks whose evidence is not there; inconclusive where the machine failed, not the variant."""
        status: Status = "inconclusive" if self.not_measured else "fail"
        more = f" ({self.not_measured})" if self.not_measured else ""
        return [self.check(name, status, f"no evidence: {what}{more}", *stages) for name in names]

    @property
    def not_measured(self) -> str:
        """What the machine did where a trial of the variant failed by it, in words; empty where none did."""
        return not_measured(self.found)


def not_measured(found: VariantEvidence) -> str:
    """What the machine did where a trial of a variant failed by it, in words; empty where none did."""
    trials = [trial for record in found.records.values() for trial in record.document.trials]
    failed = [trial.message for trial in trials if trial.kind == "machine"]
    return f"not measured: machine: {failed[0]}; run again" if failed else ""


def percent(log_ratio: float) -> str:
    """A log ratio as a signed percentage in words that fit a report: 0.0100 -> +1.0%."""
    if not math.isfinite(log_ratio):
        return "unbounded"
    value = 100 * math.expm1(log_ratio)
    digits = 1 if abs(value) >= 1 else 2 if abs(value) >= 0.01 or value == 0 else None
    return f"{value:+.{digits}f}%" if digits is not None else f"{value:+.1e}%"


def percent_of_price(share: float) -> str:
    """A share of the price in words: 0.0123 -> 1.2% of the price."""
    return f"{100 * share:.2g}% of the price"


def count(number: int, thing: str) -> str:
    """A number with its noun: 1 graph, 2 graphs."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
