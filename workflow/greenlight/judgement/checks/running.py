"""Does it run, every time, and is all evidence there?"""

from __future__ import annotations

from collections import Counter

from greenlight.judgement.checks.base import Check, Subject, count, make_check
from greenlight.judgement.expected import ExpectedModel
from greenlight.judgement.rules import Rules

STAGES = ("compile", "predict", "probe", "call", "repeat", "time", "score", "replicate")


def weights_check(name: str, model: ExpectedModel, rules: Rules) -> Check:
    """`trained-weights` of a model: what has random weights is measured, and never deployed."""
    if not model.random_weights:
        return make_check(rules, "trained-weights", "pass", "no weights are random", model=name)
    sources = ", ".join(f"{role} {source}" for role, source in model.random_weights.items())
    reason = f"the weights are random ({sources}): all is measured, and nothing is to be deployed"
    return make_check(rules, "trained-weights", "fail", reason, model=name)


def running_checks(subject: Subject) -> list[Check]:
    """`trials`: N of N succeeded; `smaller-batch`: with the batch that was asked for; `evidence-<stage>`: every
    expected file and row is there, whole and fresh.
    """
    return [
        _trials(subject),
        _smaller_batch(subject),
        *(_stage(subject, stage) for stage in STAGES if _expects(subject, stage)),
    ]


def _expects(subject: Subject, stage: str) -> bool:
    return stage in subject.found.expected.stages()


def _trials(subject: Subject) -> Check:
    found = subject.found
    again = found.records.get("replicate")
    expected = found.expected.trials + (len(again.document.trials) if again is not None else 0)
    expected += sum(record.once_more for record in found.records.values())
    trials = [trial for record in found.records.values() for trial in record.document.trials]
    good = sum(trial.ok for trial in trials)
    failures = Counter(f"{trial.kind}: {trial.message}" for trial in trials if not trial.ok)
    unseen = max(0, expected - len(trials))
    stages = [stage for stage in STAGES if stage != "score"]
    if good == expected and not failures and not unseen:
        retried = sum(len(trial.attempts) for trial in trials)
        more = f", after {count(retried, 'failed attempt')}" if retried else ""
        reason = f"{good} of {expected} trials succeeded{more}"
        return subject.check("trials", "pass", reason, *stages, figure=good, limit=expected)
    if {trial.kind for trial in trials if not trial.ok} == {"machine"} and not unseen:
        reason = f"{good} of {expected} trials succeeded; {subject.not_measured}"
        return subject.check("trials", "inconclusive", reason, *stages, figure=good, limit=expected)
    causes = [f"{text} ({number} times)" if number > 1 else text for text, number in failures.most_common()]
    if unseen:
        why = next((f" ({p.file}: {p.message})" for p in found.problems if p.file.endswith("record.json")), "")
        causes.append(f"{count(unseen, 'trial')} left no usable record{why}")
    reason = f"{max(0, expected - good)} of {expected} trials failed: {'; '.join(causes) or 'more than expected'}"
    return subject.check("trials", "fail", reason, *stages, figure=good, limit=expected)


def _smaller_batch(subject: Subject) -> Check:
    """Forecasts do not depend on the windows in a call, but latency does: that of a smaller batch is another's."""
    reduced = {
        record.document.stage: trial.reduced
        for _, record in sorted(subject.found.records.items())
        for trial in record.document.trials
        if trial.reduced
    }
    if not reduced:
        return subject.check("smaller-batch", "pass", "no trial needed a smaller batch than asked for", *STAGES)
    words = "; ".join(f"{stage}: {text}" for stage, text in reduced.items())
    if "time" in reduced:
        reason = f"the latency is that of a smaller batch than asked for: {words}; set timing.windows to what fits"
        return subject.check("smaller-batch", "inconclusive", reason, *STAGES)
    reason = f"ran with a smaller batch than asked for: {words}; set evaluation.windows_per_call to what fits"
    return subject.check("smaller-batch", "warn", reason, *STAGES)


def _stage(subject: Subject, stage: str) -> Check:
    problems = [problem for problem in subject.found.problems if problem.stage == stage]
    name = f"evidence-{stage}"
    stages = ("predict", "forecasts") if stage == "predict" else (stage,)
    if not problems:
        return subject.check(name, "pass", "all expected evidence is there", *stages, figure=0, limit=0)
    first = problems[0]
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    reason = f"{first.file}: {first.message}{more}"
    if subject.not_measured:
        reason = f"{subject.not_measured} ({reason})"
        return subject.check(name, "inconclusive", reason, *stages, figure=len(problems), limit=0)
    return subject.check(name, "fail", reason, *stages, figure=len(problems), limit=0)
