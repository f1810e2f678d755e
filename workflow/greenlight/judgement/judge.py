"""From evidence to a verdict: a pure function of evidence, rules and baselines.

Every variant gets every check that concerns it; a check that no rule came to produce is a failure, not a gap.
The gate passes only if, for each model, nothing blocks the variant that would be deployed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from greenlight.judgement import power
from greenlight.judgement.baseline import Baselines
from greenlight.judgement.checks import (
    accuracy,
    agreement,
    anchor,
    baseline,
    call,
    forecasts,
    health,
    load,
    numerics,
    running,
    speed,
)
from greenlight.judgement.checks.base import Check, Subject, not_measured
from greenlight.judgement.decision import Decision, break_even_calls, decide, simplicity
from greenlight.judgement.evidence import Evidence, VariantEvidence
from greenlight.judgement.registry import NAMES, demanded
from greenlight.judgement.rules import Rules
from greenlight.judgement.scope import process_of_calls, scope_of, sizes_of, swept_by
from greenlight.judgement.speed import Speed, correct, speed_of

_ORDER = {name: number for number, name in enumerate(NAMES)}


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict.

    Attributes:
        passed: whether all is shown for what would be deployed.
        reasons: why not, one sentence each; empty where passed.
        decisions: by model.
        shows: by model, the sizes of defect that its evidence could show, in a line.
        variants: by model and variant, the figures that a report shows.
        scopes: by model, what the calls that the verdict on it rests on asked for; see `scope`.
        checks: every check, those of whole models and runs first, then by model and variant.
        problems: everything wrong with the evidence, as plain values.
    """

    passed: bool
    reasons: tuple[str, ...]
    decisions: Mapping[str, Decision]
    scopes: Mapping[str, Mapping[str, Any]]
    shows: Mapping[str, str]
    variants: Mapping[str, Mapping[str, Mapping[str, Any]]]
    checks: tuple[Check, ...]
    problems: tuple[Mapping[str, Any], ...]

    def blocking(self, model: str | None, variant: str | None) -> list[Check]:
        """The checks that stop a variant, or (variant None) a model, or (both None) the run."""
        return [c for c in self.checks if c.blocking and (c.model, c.variant) == (model, variant)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the content of verdict.json.

        {"format": 1, "gate": "pass" | "fail", "reasons": [...],
         "models": {model: {"gate", "decision": {...}, "scope": {...}, "shows": "...",
         "variants": {variant: {...}}}},
         "checks": [...], "problems": [...]}
        """
        models = {
            model: {
                "gate": "pass" if not self._reasons_of(model) else "fail",
                "decision": decision.to_dict(),
                "scope": self.scopes[model],
                "shows": self.shows[model],
                "variants": {name: dict(figures) for name, figures in self.variants[model].items()},
            }
            for model, decision in self.decisions.items()
        }
        return {
            "format": 1,
            "gate": "pass" if self.passed else "fail",
            "reasons": list(self.reasons),
            "models": models,
            "checks": [check.to_dict() for check in self.checks],
            "problems": [dict(problem) for problem in self.problems],
        }

    def _reasons_of(self, model: str) -> list[str]:
        return _model_reasons(model, self.decisions[model], self.checks)


def judge(evidence: Evidence, rules: Rules, baselines: Baselines) -> Verdict:
    """Judge a run. Same evidence, rules and baselines, same verdict; nothing is read or written."""
    checks = _ordered(baseline.file_checks(evidence.expected, rules, baselines))
    decisions: dict[str, Decision] = {}
    scopes: dict[str, dict[str, Any]] = {}
    shows: dict[str, str] = {}
    variants: dict[str, dict[str, dict[str, Any]]] = {}
    for name, model in evidence.expected.models.items():
        known = evidence.of_model(name)
        found = {variant: known[variant] for variant in sorted(known, key=partial(simplicity, model))}
        own, speeds, summaries = _judge_model(found, evidence, rules, baselines)
        decisions[name] = decide(model, own, speeds, rules, evidence.expected.precision)
        judged = decisions[name].judged or model.reference
        scopes[name] = scope_of(evidence.expected, name, sizes_of(found, judged)) | swept_by(found[judged], own[judged])
        scopes[name] |= process_of_calls(evidence.expected, judged)
        calls = min((one.slow_calls for v, one in speeds.items() if one and v != model.reference), default=0)
        shows[name] = power.line(power.amounts_of(evidence.expected, name, calls), rules)
        checks.append(running.weights_check(name, model, rules))
        checks += load.load_checks(name, model, found, own, speeds, decisions[name], rules)
        variants[name] = {
            variant: _figures(entry, own[variant], speeds[variant], summaries[variant])
            for variant, entry in found.items()
        }
        checks += [check for variant in own for check in own[variant]]
    reasons = [f"{c.name}: {c.reason}" for c in checks if c.blocking and c.model is None]
    for name in dict.fromkeys([*decisions, *(check.model for check in checks if check.model)]):
        reasons += _model_reasons(name, decisions.get(name), checks)
    # Which variant is the best to deploy is not known while one of them was kept from being measured.
    every = [entry for name in evidence.expected.models for entry in evidence.of_model(name).values()]
    reasons += [f"{entry.model}: {entry.variant}: {words}" for entry in every if (words := not_measured(entry))]
    problems = tuple(asdict(problem) for problem in evidence.problems)
    return Verdict(not reasons, tuple(reasons), decisions, scopes, shows, variants, tuple(checks), problems)


def _model_reasons(model: str, decision: Decision | None, checks: Sequence[Check]) -> list[str]:
    """Why a model does not pass; empty where nothing blocks it or the variant that would be deployed."""
    own = [check for check in checks if check.model == model and check.blocking]
    reasons = [f"{model}: {check.name}: {check.reason}" for check in own if check.variant is None]
    if decision is None:
        return reasons
    if decision.judged is None:
        lines = "; ".join(f"{variant}: {line}" for variant, line in decision.losers.items())
        return [*reasons, f"{model}: {decision.reason}: {lines}"]
    what = "the deployed variant" if decision.deployed is not None else "the variant to deploy"
    stopped = [check for check in own if check.variant == decision.judged]
    return reasons + [f"{model}: {what} {check.variant} fails {check.name}: {check.reason}" for check in stopped]


def _judge_model(
    found: Mapping[str, VariantEvidence], evidence: Evidence, rules: Rules, baselines: Baselines
) -> tuple[dict[str, list[Check]], dict[str, Speed | None], dict[str, dict[str, Any] | None]]:
    """Checks, speed and accuracy summary of each variant of one model."""
    expected = evidence.expected
    model = expected.models[next(iter(found.values())).model]
    raw = {v: speed_of(e, rules) for v, e in found.items()}
    # The reference timed against itself shows the machine, and is no candidate that could win by luck.
    speeds = raw | correct({v: figures for v, figures in raw.items() if v != model.reference})
    summaries = {v: accuracy.summary_of(e, expected, rules) for v, e in found.items()}
    paired = accuracy.compare_with_partners(found, expected, rules)
    against = accuracy.compare_with_reference(found, expected, rules)
    steps = forecasts.compare_steps(found, model.reference, rules.accuracy.minimum_units)
    checks: dict[str, list[Check]] = {}
    for variant, entry in found.items():
        subject = Subject(entry, rules, expected)
        if not entry.expected.jobs:
            continue
        own = [
            *running.running_checks(subject),
            *health.health_checks(subject),
            *numerics.numerics_checks(subject),
            *numerics.reproducibility_checks(subject, found[model.reference]),
            *call.call_checks(subject),
            *accuracy.paired_checks(subject, paired),
            *agreement.agreement_check(subject, found),
            *forecasts.reference_check(subject, found, steps),
            *forecasts.draws_check(subject),
            *accuracy.truth_checks(subject, summaries[variant]),
            *speed.speed_checks(subject, speeds[variant]),
            speed.start_check(subject),
            *speed.memory_checks(subject),
            *baseline.accuracy_checks(subject, baselines),
            *baseline.speed_checks(subject, speeds[variant], baselines),
        ]
        own += accuracy.reference_checks(subject, against, next((c for c in own if c.name == "numerics"), None))
        checks[variant] = own + _unjudged(subject, own)
    anchored: dict[str, list[Check]] = {}
    for variant, entry in found.items():
        subject = Subject(entry, rules, expected)
        if variant in checks:
            anchored[variant] = _ordered([*checks[variant], *anchor.anchor_check(subject, model, checks)])
    checks = anchored
    for variant, entry in found.items():
        if variant not in checks:
            checks[variant] = [_stand_in(Subject(entry, rules, expected), checks)]
    return {variant: checks[variant] for variant in found}, speeds, summaries


def _stand_in(subject: Subject, checks: Mapping[str, list[Check]]) -> Check:
    """The one check of a variant that was not measured because it equals another on this device."""
    same = str(subject.found.expected.same_as)
    stopped = [check for check in checks.get(same, []) if check.blocking]
    if stopped or same not in checks:
        cause = f"fails {stopped[0].name}: {stopped[0].reason}" if stopped else "was not judged"
        return subject.check("trials", "fail", f"the same as {same} on this device, which {cause}")
    return subject.check("trials", "not-measured", f"the same as {same} on this device, which passes")


def _unjudged(subject: Subject, checks: Sequence[Check]) -> list[Check]:
    """A failure for each check that this variant must have and that no rule produced."""
    names = demanded("all", "reference") if subject.is_reference else demanded("all", "variants")
    names += [f"evidence-{stage}" for stage in sorted(subject.found.expected.stages())]
    if subject.variant.compiled:
        names += health.COMPILED_CHECKS + health.MODE_CHECKS.get(subject.variant.mode, ())
    present = {check.name for check in checks}
    return subject.missing([name for name in names if name not in present], "the check was not made")


def _ordered(checks: Sequence[Check]) -> list[Check]:
    """Checks in the order of the rules; equals keep their order."""
    return sorted(checks, key=lambda check: _ORDER[check.name])


def _verdict_of(entry: VariantEvidence, checks: Sequence[Check]) -> str:
    """fail where anything blocks; else pass, or not-measured where another variant was measured in its place."""
    if any(check.blocking for check in checks):
        return "fail"
    return "pass" if entry.expected.jobs else "not-measured"


def _code_of(entry: VariantEvidence) -> list[dict[str, Any]]:
    """Other people's code that forecasts were made with, each once: {"name", "path", "hash", "commit" or null}."""
    documents = [entry.records[job].document for job in entry.expected.predict_jobs() if job in entry.records]
    ran = [item for document in documents for trial in document.trials for item in trial.code_run.items()]
    found = [{"name": name, **code.model_dump()} for name, code in ran]
    return [code for number, code in enumerate(found) if code not in found[:number]]


def _figures(
    entry: VariantEvidence, checks: Sequence[Check], speed: Speed | None, summary: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a report shows of a variant; None where it was not measured."""
    compiled, predicted, timed = (entry.results(stage) for stage in ("compile", "predict", "time"))
    cold = max((result.cold_seconds for result in compiled), default=None)
    warm = max((result.load_seconds + result.first_call_seconds for result in predicted), default=None)
    peaks = [r.peak_memory_bytes for r in [*predicted, *timed] if r.peak_memory_bytes is not None]
    on_device = [r.device_peak_bytes for r in [*predicted, *timed] if r.device_peak_bytes is not None]
    trials = next((check.reason for check in checks if check.name == "trials"), "")
    return {
        "verdict": _verdict_of(entry, checks),
        "blocking": [check.name for check in checks if check.blocking],
        "warnings": [check.name for check in checks if check.status == "warn"],
        "same_as": entry.expected.same_as,
        "code": _code_of(entry),
        "trials": trials,
        "accuracy": None if summary is None else {"overall": summary["overall"], "counts": summary["counts"]},
        "speed": None if speed is None else speed.to_dict(),
        "cold_start_seconds": cold,
        "warm_start_seconds": warm,
        "break_even_calls": break_even_calls(cold, speed),
        "peak_memory_bytes": max(peaks, default=None),
        "device_peak_bytes": max(on_device, default=None),
    }
