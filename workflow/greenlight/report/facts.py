"""Everything that the report says, gathered from a results folder.

Gathering never fails: a file that is missing or broken becomes a sentence among `problems`, because the report
must come out after a failed run too, and that is when it is read most closely.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from greenlight.data.windows import PRICES
from greenlight.judgement.scope import scope_words
from greenlight.layout import Layout
from greenlight.provenance import digest
from greenlight.report.calls import Calls, calls_of
from greenlight.report.checks import CheckRow, alike, check_rows, together
from greenlight.report.compilation import Compilation, compilations
from greenlight.report.findings import (
    TRIAL_STAGES,
    DataSummary,
    FailedTrial,
    data_summary,
    failed_trials,
    not_measured,
    same_modes,
)
from greenlight.report.reading import Reader, at, code_rows, trials_of
from greenlight.report.symbols import SymbolRow, SymbolScores, extremes, symbol_rows, symbol_scores
from greenlight.report.variants import Comparison, VariantRow, comparisons, gate_word, variant_row
from greenlight.variants import Variant

Records = dict[tuple[str, str, str], list[dict[str, Any]]]


@dataclass(frozen=True)
class ModelFacts:
    """One model.

    Attributes:
        gate: the verdict's word for the model: pass, fail or unknown.
        deploy: variant to deploy; None where the model does not pass. chosen: the best of the variants that pass.
        deployed: what production runs now.
        scope: which calls were judged, in words; empty where the verdict does not say.
        target: the price that is forecast.
        shows: the sizes of defect that the evidence could show, in a line; empty where the verdict does not say.
        losers: (variant, why) of every other variant.
        shown: the variant whose symbols and forecasts are shown: the one judged, else the best, else the
            reference; compared: the variant that its MAE is compared with.
        scores: by variant, means by symbol.
        worst, best, symbols: rows of `shown`.
    """

    name: str
    gate: str
    deploy: str | None
    chosen: str | None
    reason: str
    losers: tuple[tuple[str, str], ...]
    deployed: str | None
    scope: str
    target: str
    shows: str
    reference: str
    rows: tuple[VariantRow, ...]
    comparisons: tuple[Comparison, ...]
    shown: str
    compared: str
    scores: Mapping[str, SymbolScores]
    symbols: tuple[SymbolRow, ...]
    worst: tuple[SymbolRow, ...]
    best: tuple[SymbolRow, ...]

    def row(self, variant: str | None) -> VariantRow | None:
        """The row of a variant."""
        return next((row for row in self.rows if row.name == variant), None)


@dataclass(frozen=True)
class BaselineChanges:
    """This run against one baseline file, as diff.json has it.

    Attributes:
        state: `compared`, `absent` or `refused`.
        about: when, by whom and why it was accepted, or why it is refused.
        lines: what differs, a line each; empty where nothing could be compared.
    """

    name: str
    state: str
    about: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """A whole report; see the attributes' own classes.

    Attributes:
        verdict: pass, fail, inconclusive, or unknown where there is no verdict to show.
        reasons: why not pass.
        device: the kind of device: cpu, cuda; empty where unknown.
        changes: the checks against the baselines; baselines: what differs, number by number.
        blocking, warnings, undecided: the checks that stop a variant, those that warn, and those that are inconclusive
            and stop nothing.
        provenance: (label, value) pairs; versions, weights: the same for packages, and for checkpoints
            and other people's code.
        problems: what could not be read.
    """

    verdict: str
    reasons: tuple[str, ...]
    measured_from: str
    measured_to: str
    commits: tuple[str, ...]
    device: str
    models: tuple[ModelFacts, ...]
    changes: tuple[CheckRow, ...]
    baselines: tuple[BaselineChanges, ...]
    blocking: tuple[CheckRow, ...]
    warnings: tuple[CheckRow, ...]
    undecided: tuple[CheckRow, ...]
    checks: tuple[CheckRow, ...]
    failed: tuple[FailedTrial, ...]
    same: tuple[str, ...]
    compilations: tuple[Compilation, ...]
    calls: tuple[Calls, ...]
    data: DataSummary
    unmeasured: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    weights: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]


def gather(layout: Layout, key: str | None = None) -> Facts:
    """Read a results folder; a verdict of another key than that of this run, where it is given, is none."""
    reader = Reader(layout.root)
    expected = reader.json(layout.expected)
    verdict = reader.json(layout.verdict, sealed=True, key=key)
    difference = reader.json(layout.difference)
    symbols = sorted(at(expected, "symbols", kind=dict, default={}))
    records, files = _records(reader, layout, expected)
    models = tuple(_model(reader, layout, expected, verdict, model) for model in _model_names(expected, verdict))
    data = data_summary(reader, layout, symbols)
    judged = [check for check in at(verdict, "checks", kind=list, default=[]) if isinstance(check, dict)]
    checks = tuple(check_rows(judged))
    made = sorted(m for m in (at(r, "provenance", "made", kind=str) for r in _flat(records)) if m)
    commits = sorted({c for c in (at(r, "provenance", "commit", kind=str) for r in _flat(records)) if c})
    jobs = [at(record, "job", kind=dict, default={}) for record in _flat(records)]
    weights = _weights(reader, layout, [model.name for model in models])
    return Facts(
        verdict=gate_word(verdict) if verdict else "unknown",
        reasons=tuple(str(reason) for reason in at(verdict, "reasons", kind=list, default=[])),
        measured_from=made[0] if made else "",
        measured_to=made[-1] if made else "",
        commits=tuple(commits),
        device=at(expected, "platform", "device", kind=str, default="").partition(":")[0],
        models=models,
        changes=tuple(alike(check for check in checks if check.name.startswith("baseline-"))),
        baselines=tuple(_baselines(difference)),
        blocking=tuple(together(check for check in checks if check.blocking)),
        warnings=tuple(together(check for check in checks if check.status == "warn")),
        undecided=tuple(check for check in checks if check.status == "inconclusive" and not check.blocking),
        checks=checks,
        failed=tuple(failed_trials(records, files)),
        same=tuple(same_modes(expected, _results_of(records, "compile"))),
        compilations=tuple(
            compilations(_results_of(records, "compile"), _results_of(records, "predict"), _traces(records))
        ),
        calls=tuple(calls_of(_results_of(records, "probe"), _results_of(records, "call"))),
        data=data,
        unmeasured=tuple(not_measured(judged, expected, _cuda_graphs(records))),
        provenance=tuple(_provenance(expected, jobs, data, _results_of(records, "time"))),
        versions=tuple(_versions(jobs)),
        weights=(*weights, *code_rows(_flat(records))),
        problems=tuple(reader.problems),
    )


def _model_names(expected: Mapping[str, Any], verdict: Mapping[str, Any]) -> list[str]:
    named = at(expected, "models", kind=dict, default={}) or at(verdict, "models", kind=dict, default={})
    return list(named)


def _records(
    reader: Reader, layout: Layout, expected: Mapping[str, Any]
) -> tuple[Records, dict[tuple[str, str, str], str]]:
    """Records of every expected job, and where the first of each lies."""
    records: Records = {}
    files: dict[tuple[str, str, str], str] = {}
    for model, entry in at(expected, "models", kind=dict, default={}).items():
        for variant, asked in at(entry, "variants", kind=dict, default={}).items():
            jobs = list(at(asked, "jobs", kind=dict, default={}))
            for stage in TRIAL_STAGES:
                paths = [layout.record(stage, model, variant)] if stage in jobs or stage in ("compile", "time") else []
                if stage == "predict":
                    shards = sorted(int(job.split("/")[1]) for job in jobs if job.startswith("predict/"))
                    paths = [layout.predict_record(model, variant, shard) for shard in shards]
                found = [(path, reader.json(path, sealed=True, quiet=stage not in jobs)) for path in paths]
                found = [(path, record) for path, record in found if record]
                if found:
                    records[model, variant, stage] = [record for _, record in found]
                    files[model, variant, stage] = found[0][0].relative_to(layout.root).as_posix()
    return records, files


def _flat(records: Records) -> list[dict[str, Any]]:
    return [record for documents in records.values() for record in documents]


def _results(records: Records) -> list[tuple[tuple[str, str, str], dict[str, Any]]]:
    return [
        (key, at(trial, "result", kind=dict, default={}))
        for key, documents in records.items()
        for document in documents
        for trial in trials_of(document)
    ]


def _results_of(records: Records, wanted: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Result of the first trial of a stage, by (model, variant)."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for (model, variant, stage), result in _results(records):
        if stage == wanted and result:
            found.setdefault((model, variant), result)
    return found


def _traces(records: Records) -> dict[tuple[str, str], dict[str, Any]]:
    """What a compile record says of its kept trace, by (model, variant)."""
    return {
        (model, variant): at(documents[0], "trace", kind=dict, default={})
        for (model, variant, stage), documents in records.items()
        if stage == "compile"
    }


def _cuda_graphs(records: Records) -> bool:
    return any(at(result, "health", "cuda_graphs", "available") is True for _, result in _results(records))


def _model(
    reader: Reader, layout: Layout, expected: Mapping[str, Any], verdict: Mapping[str, Any], model: str
) -> ModelFacts:
    entry = at(expected, "models", model, kind=dict, default={})
    judged = at(verdict, "models", model, kind=dict, default={})
    decision = at(judged, "decision", kind=dict, default={})
    found = at(entry, "variants", kind=dict, default={}) or at(judged, "variants", kind=dict, default={})
    reference = at(entry, "reference", kind=str, default="")
    names = sorted(found, key=partial(_simplicity, reference))
    rows = tuple(variant_row(verdict, model, variant, reference) for variant in names)
    # A mode that is identical to another one on this device has no jobs, and no scores of its own.
    measured = [variant for variant in names if at(found, variant, "jobs", kind=dict, default={"": {}})]
    paths = {variant: layout.window_scores(model, variant) for variant in measured}
    scored = {variant: symbol_scores(reader, path) for variant, path in paths.items()}
    scores = {variant: found for variant, found in scored.items() if found is not None}
    shown = next((v for v in (decision.get("judged"), decision.get("chosen"), reference) if v in scores), "")
    compared = next((row.against for row in rows if row.name == shown), "") or reference
    compared = compared if compared in scores and compared != shown else ""
    symbols = symbol_rows(scores[shown], scores.get(compared)) if shown else []
    worst, best = extremes(symbols)
    return ModelFacts(
        name=model,
        gate=at(judged, "gate", kind=str, default="unknown"),
        deploy=at(decision, "judged", kind=str) if at(judged, "gate") == "pass" else None,
        chosen=at(decision, "chosen", kind=str),
        reason=at(decision, "reason", kind=str, default=""),
        losers=tuple((str(k), str(v)) for k, v in at(decision, "losers", kind=dict, default={}).items()),
        deployed=at(entry, "deployed", kind=str),
        scope=_scope(at(judged, "scope", kind=dict, default={})),
        target=_target(at(judged, "scope", kind=dict, default={})),
        shows=at(judged, "shows", kind=str, default=""),
        reference=reference,
        rows=rows,
        comparisons=tuple(found for variant in names for found in comparisons(verdict, model, variant, reference)),
        shown=shown,
        compared=compared,
        scores=scores,
        symbols=tuple(symbols),
        worst=tuple(worst),
        best=tuple(best),
    )


def _target(scope: Mapping[str, Any]) -> str:
    target = scope.get("target")
    return target if target in PRICES else "close"


def _scope(scope: Mapping[str, Any]) -> str:
    whole = {"context_length", "horizon", "windows"} <= set(scope) and isinstance(scope["windows"], list)
    return scope_words(scope) if whole else ""


def _simplicity(reference: str, variant: str) -> tuple[bool, bool, str, int, int, str]:
    """Order of rows: the reference, its implementation, then the others; in each from the simplest to the others."""
    try:
        chosen = Variant.parse(variant)
    except ValueError:
        return variant != reference, True, variant, 0, 0, variant
    own = reference.startswith(f"{chosen.implementation}-")
    return variant != reference, not own, chosen.implementation, *chosen.complexity, variant


def _baselines(difference: Mapping[str, Any]) -> Iterator[BaselineChanges]:
    for name, entry in sorted(at(difference, "baselines", kind=dict, default={}).items()):
        accepted = at(entry, "accepted", kind=dict, default={})
        about = ", ".join(str(accepted[key]) for key in ("when", "who", "commit", "reason") if accepted.get(key))
        about = about or at(entry, "refused", "reason", kind=str, default="")
        state = at(entry, "state", kind=str, default="unknown")
        lines = [str(line) for line in at(entry, "changes", kind=list, default=[])] if state == "compared" else []
        yield BaselineChanges(name, state, about, tuple(lines))


def _weights(reader: Reader, layout: Layout, models: list[str]) -> list[tuple[str, str]]:
    found = []
    for model in models:
        record = reader.json(layout.weights(model))
        sources = at(record, "job", "sources", kind=dict, default={})
        for role, value in sorted(at(record, "hashes", kind=dict, default={}).items()):
            own = at(sources, role, kind=list, default=[])
            told = "@".join(str(part) for part in own if part)
            told = f"{told}, SHA-256 {str(value)[:16]}" if told else str(value)[:16]
            found.append((f"Weights of {model} {role}", told))
    return found


def _one(jobs: list[dict[str, Any]], key: str) -> str:
    values = sorted({str(job[key]) for job in jobs if key in job})
    return ", ".join(values)


def _provenance(
    expected: Mapping[str, Any],
    jobs: list[dict[str, Any]],
    data: DataSummary,
    timed: Mapping[tuple[str, str], dict[str, Any]],
) -> list[tuple[str, str]]:
    platform = at(expected, "platform", kind=dict, default={})
    labels = [
        ("Device", ", ".join(str(platform[key]) for key in ("device", "device_name") if key in platform)),
        ("Threads of torch", str(platform.get("threads", ""))),
        ("Precision", _one(jobs, "precision")),
        ("Context length", _one(jobs, "context_length")),
        ("Horizon", str(expected.get("horizon", ""))),
        ("Samples", str(expected.get("samples", ""))),
        ("Seed", str(expected.get("seed", ""))),
        ("Windows in a timed call", _one(list(timed.values()), "windows")),
        ("Processes each variant must succeed in", str(expected.get("repeats", ""))),
        ("Price files", f"{data.symbols}, SHA-256 over all {digest(dict(data.hashes))}" if data.symbols else ""),
        ("Settings hash", str(expected.get("settings_hash", ""))),
    ]
    return [(label, value) for label, value in labels if value]


def _versions(jobs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    found: dict[str, set[str]] = {}
    for job in jobs:
        for name, version in at(job, "versions", kind=dict, default={}).items():
            found.setdefault(str(name), set()).add(str(version))
    return [(name, ", ".join(sorted(versions))) for name, versions in sorted(found.items())]
