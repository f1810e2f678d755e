"""What went wrong in trials, what was found in the price files, and what this run could not measure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from greenlight.data.repair import lines_text
from greenlight.layout import Layout
from greenlight.report.markup import visible
from greenlight.report.reading import Reader, at, trials_of
from greenlight.variants import Variant
from greenlight.watch.modes import precision_on, same_as

KIND_WORDS = {
    "out-of-device-memory": "out of device memory",
    "out-of-host-memory": "out of host memory",
    "compile-error": "compile error",
    "graph-output-overwritten": "CUDA graph output overwritten",
    "device-assert": "device-side assert",
    "launch-failure": "kernel launch failure",
    "time-out": "time-out",
    "signal": "crash by signal",
    "invalid-output": "invalid output",
    "missing-weights": "missing weights",
    "missing-dependency": "missing dependency",
    "user-error": "user error",
    "not-as-planned": "not the weights or settings that were planned",
    "machine": "the machine failed",
    "other": "unclassified error",
}
TRACEBACK_LINES = 25
LINES = 6
TRIAL_STAGES = ("compile", "predict", "probe", "call", "repeat", "time", "replicate")


@dataclass(frozen=True)
class FailedTrial:
    """Trials of one model that failed in the same way.

    Attributes:
        where: the model, its variants and their stages, such as `toto: static-default (compile, time)`.
        kind: in words.
        failed, total: how many of the trials of these stages did.
        attempts: what earlier attempts of the first ended with, one line each.
        end: the useful end of the traceback, or of the log where there is no traceback.
        source: what `end` is the end of.
        record: the record's file of the first, relative to the results folder.
    """

    where: str
    kind: str
    message: str
    advice: str
    failed: int
    total: int
    attempts: tuple[str, ...]
    end: str
    source: str
    record: str


def failed_trials(
    records: Mapping[tuple[str, str, str], list[dict[str, Any]]], files: Mapping[tuple[str, str, str], str]
) -> list[FailedTrial]:
    """Every failed trial, those of a model that failed alike told once.

    Args:
        records: by (model, variant, stage), the records of the stage.
        files: by the same, the file of the first.
    """
    alike: dict[tuple[str, str, str], list[tuple[tuple[str, str, str], dict[str, Any]]]] = {}
    totals: dict[tuple[str, str, str], int] = {}
    for key, documents in records.items():
        trials = [trial for document in documents for trial in trials_of(document)]
        totals[key] = len(trials)
        for trial in trials:
            if trial.get("kind") != "ok":
                same = (key[0], str(trial.get("kind")), str(trial.get("message", "")))
                alike.setdefault(same, []).append((key, trial))
    found = []
    for (model, kind, message), group in alike.items():
        keys, first = list(dict.fromkeys(key for key, _ in group)), group[0][1]
        end, source = _useful_end(first)
        found.append(
            FailedTrial(
                where=f"{model}: {_variants(keys)}",
                kind=KIND_WORDS.get(kind, kind),
                message=message,
                advice=at(first, "advice", kind=str, default=""),
                failed=len(group),
                total=sum(totals[key] for key in keys),
                attempts=tuple(_attempts(first)),
                end=end,
                source=source,
                record=files[keys[0]],
            )
        )
    return found


def _variants(keys: Iterable[tuple[str, str, str]]) -> str:
    stages: dict[str, list[str]] = {}
    for _, variant, stage in keys:
        stages.setdefault(variant, []).append(stage)
    return ", ".join(f"{variant} ({', '.join(names)})" for variant, names in stages.items())


def _attempts(trial: Mapping[str, Any]) -> Iterable[str]:
    for attempt in at(trial, "attempts", kind=list, default=[]):
        kind = str(at(attempt, "kind", default="?"))
        yield f"{KIND_WORDS.get(kind, kind)}: {at(attempt, 'message', default='')}"


def _useful_end(trial: Mapping[str, Any]) -> tuple[str, str]:
    for key, name in (("traceback", "traceback"), ("log_tail", "log")):
        lines = visible(at(trial, key, kind=str, default="")).strip("\n").splitlines()
        if lines:
            return "\n".join(line[:300] for line in lines[-TRACEBACK_LINES:]), name
    return "", ""


@dataclass(frozen=True)
class DataFinding:
    """Something found in a price file, and what was done about it."""

    symbol: str
    source: str
    kind: str
    count: int
    lines: str
    detail: str
    action: str


@dataclass(frozen=True)
class DataSummary:
    """The price files: how many of each frequency, rows, everything found in them, and those that were left out."""

    symbols: int
    rows: int
    frequencies: Mapping[str, int]
    findings: tuple[DataFinding, ...]
    hashes: Mapping[str, str]
    left_out: tuple[str, ...] = ()


def data_summary(reader: Reader, layout: Layout, symbols: Iterable[str]) -> DataSummary:
    """Read the data report of every symbol."""
    frequencies: dict[str, int] = {}
    rows, found, hashes = 0, [], {}
    for symbol in symbols:
        report = reader.json(layout.data_report(symbol))
        if not report:
            continue
        rows += at(report, "rows", kind=int, default=0)
        frequency = str(at(report, "frequency", "label", default="unknown"))
        frequencies[frequency] = frequencies.get(frequency, 0) + 1
        hashes[symbol] = str(at(report, "source_sha256", default=""))
        for entry in at(report, "findings", kind=list, default=[]):
            lines, count = at(entry, "lines", kind=list, default=[]), at(entry, "count", kind=int, default=0)
            found.append(
                DataFinding(
                    symbol=symbol,
                    source=str(at(report, "source", default="")),
                    kind=str(at(entry, "kind", default="")).replace("_", " "),
                    count=count,
                    lines=lines_text(lines[:LINES], count) if lines else "",
                    detail=str(at(entry, "detail", default="")),
                    action=str(at(entry, "action", default="")),
                )
            )
    return DataSummary(len(hashes), rows, dict(sorted(frequencies.items())), tuple(found), hashes)


def same_modes(expected: Mapping[str, Any], compiled: Mapping[tuple[str, str], dict[str, Any]]) -> list[str]:
    """A sentence for each variant that is the same as another on this device, from what compiling it showed.

    Args:
        expected: the manifest.
        compiled: by (model, variant), the result of its compile trial.
    """
    device = str(at(expected, "platform", "device", default="cpu"))
    sentences = []
    for model, entry in at(expected, "models", kind=dict, default={}).items():
        for variant, asked in at(entry, "variants", kind=dict, default={}).items():
            result = compiled.get((model, variant), {})
            try:
                chosen = Variant.parse(variant)
            except ValueError:  # judged elsewhere; the rest of the report stands
                continue
            tuning = at(result, "health", "autotuning", kind=dict)
            told = at(result, "same_as", kind=str)
            told = told or same_as(chosen.mode, device, tuning if tuning and "engaged" in tuning else None)
            other = at(asked, "same_as", kind=str)
            same, _, reason = (told or "").partition(":")
            reasons = [reason.strip()] if told else []
            if precision_on(chosen.precision, device) != chosen.precision:
                reasons.append(f"{chosen.precision} is of CUDA devices, and the device is {device}")
            if told:
                other = other or str(replace(chosen, mode=same))
            if other and reasons:
                sentences.append(f"{model} {variant} is the same as {other}: {'; '.join(reasons)}")
            elif other:
                sentences.append(f"{model} {variant} is the same as {other} on this device")
    return sentences


def not_measured(checks: Iterable[Mapping[str, Any]], expected: Mapping[str, Any], cuda_graphs: bool) -> list[str]:
    """What nothing was measured of here, a sentence each: from the device and from the checks that say so.

    Args:
        checks: all checks of the verdict.
        expected: the manifest.
        cuda_graphs: whether any process found CUDA graphs available.
    """
    device = str(at(expected, "platform", "device", default=""))
    sentences = []
    if device and not device.startswith("cuda"):
        name = at(expected, "platform", "device_name", default=device)
        sentences.append(f"Trials ran on {device} ({name}): device memory and Triton kernels were not measured.")
        if not cuda_graphs:
            sentences.append("No process had CUDA graphs available: whether they engage was not measured.")
    by_check: dict[tuple[str, str], list[str]] = {}
    for check in checks:
        if check.get("status") in ("not-measured", "not-applicable"):
            subject = " ".join(str(check[key]) for key in ("model", "variant") if check.get(key))
            cause = _cause(str(check.get("reason", "")))
            cause = f"not applicable: {cause}" if check["status"] == "not-applicable" else cause
            by_check.setdefault((str(check.get("name")), cause), []).append(subject)
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (name, cause), subjects in by_check.items():
        alike.setdefault((cause, tuple(dict.fromkeys(filter(None, subjects)))), []).append(name)
    for (cause, whose), names in alike.items():
        more = f" and {len(whose) - 3} more" if len(whose) > 3 else ""
        whom = f" ({', '.join(whose[:3])}{more})" if whose else ""
        sentences.append(f"{', '.join(names)}: {cause}{whom}.")
    return sentences


def _cause(reason: str) -> str:
    """A reason without its figures, which differ by variant: the clauses that have no digit, if there are any."""
    clauses = reason.split("; ")
    plain = [clause for clause in clauses if not re.search(r"\d", clause)]
    return "; ".join(plain or clauses)
