"""Reading the record of one job: readable, sealed, of this run and schema, and of what was planned, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from greenlight.files import read_json
from greenlight.judgement.call_records import RESULTS
from greenlight.judgement.expected import Expected, ExpectedJob, first_problem
from greenlight.judgement.planned import unplanned_files, unplanned_results
from greenlight.judgement.records import RecordDocument
from greenlight.judgement.seal import RECORD_FORMAT, broken_seal
from greenlight.layout import Layout

_IN_RESULTS = Layout(Path())
PROBLEM_KINDS = (
    *("missing", "empty", "unreadable", "schema", "identity", "changed"),
    *("stale", "duplicate", "unexpected", "not-finite", "trial-failed"),
)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the evidence.

    Attributes:
        kind: one of PROBLEM_KINDS.
        stage: compile, predict, probe, call, repeat, time, score or replicate.
        message: one sentence that says what was found and what was expected.
        file: the file, relative to the results folder.
        symbol, window: the row concerned, where it is one.
    """

    kind: str
    model: str
    variant: str
    stage: str
    message: str
    file: str
    symbol: str | None = None
    window: int | None = None


@dataclass(frozen=True)
class Record:
    """A record whose seal, identity and key hold, with the typed result of each trial (None where it
    failed).
    """

    file: str
    job: str
    document: RecordDocument
    results: tuple[Any, ...]

    @property
    def once_more(self) -> int:
        """Trials that followed a failed one, which no plan asks for: a probe's without threads."""
        first, more = self.document.trials[:1], self.document.trials[1:2]
        return len(more) if self.document.stage == "probe" and not any(trial.ok for trial in first) else 0

    @property
    def failed(self) -> list[str]:
        """What each failed trial says: kind and message."""
        return [f"{trial.kind}: {trial.message}" for trial in self.document.trials if not trial.ok]


def record_file(job: str, model: str, variant: str) -> str:
    """Where a job's record lies, relative to the results folder."""
    stage, _, shard = job.partition("/")
    folder = _IN_RESULTS.stage("scores" if stage == "score" else stage, model, variant)
    return (folder / f"shard={shard}" / "record.json" if shard else folder / "record.json").as_posix()


def forecast_file(model: str, variant: str, symbol: str) -> str:
    """Where a symbol's forecasts lie, relative to the results folder."""
    return _IN_RESULTS.forecast(model, variant, symbol).as_posix()


ANEW = "run the workflow again, which makes it anew"


def read_record(
    results: Path, expected: Expected, model: str, variant: str, job: str, asked: ExpectedJob
) -> tuple[Record | None, list[tuple[str, str]]]:
    """The record of a job that is there, and what is wrong with it as (kind, message).

    None where nothing of it can be trusted: unreadable, changed, of another schema, job or run.
    """
    file = record_file(job, model, variant)
    try:
        raw = read_json(results / file)
        if not isinstance(raw, dict):
            raise ValueError("not a JSON object")
        broken = broken_seal(raw)
    except (OSError, ValueError, RecursionError):
        return None, [("unreadable", "the record is not readable as a JSON object")]
    if broken is not None:
        return None, [("changed", f"the record can't be trusted: {broken}")]
    if raw.get("format") != RECORD_FORMAT:
        what = f"its schema is {raw.get('format', 'older than any that has a number')}, expected {RECORD_FORMAT}"
        return None, [("schema", f"the record is of another version: {what}; {ANEW}")]
    if "trial" in raw and "trials" not in raw:
        raw = {**raw, "trials": [raw["trial"]]}
    try:
        document = RecordDocument.model_validate(raw)
    except ValidationError as error:
        return None, [("schema", f"the record does not fit: {first_problem(error)}")]
    named = (document.stage, document.model, document.variant)
    if named != (job.split("/")[0], model, variant):
        return None, [("identity", f"the record is that of {'/'.join(named)}; {ANEW}")]
    if asked.key is not None and document.key != asked.key:
        what = f"its key is {document.key!r}, expected {asked.key!r}; {ANEW}"
        return None, [("stale", f"the record is stale, of another run, results folder or configuration: {what}")]
    record = Record(file, job, document, ())
    problems = list(_problems(expected, model, variant, record, asked))
    results_of_trials, broken_results = _trial_results(job.split("/")[0], document)
    whole = not problems and not broken_results
    if whole:
        for number, result in enumerate(results_of_trials):
            sizes = document.trials[number].sizes
            found = unplanned_results(result, asked, expected, variant, sizes)
            problems += [("unexpected", f"trial {number}: {text}") for text in found]
    return Record(file, job, document, results_of_trials), [*problems, *broken_results]


def _problems(
    expected: Expected, model: str, variant: str, record: Record, asked: ExpectedJob
) -> Iterator[tuple[str, str]]:
    document, stage = record.document, record.document.stage
    for text in document.problems:
        yield "unexpected", text
    found, most = len(document.trials), 0 if stage == "score" else asked.trials + record.once_more
    # Whether further seeds were needed is for the check to say that needs them.
    if found > most or (found < most and stage != "replicate"):
        yield "missing" if found < most else "unexpected", f"the record holds {found} of {most} trials"
    if not record.failed:
        forecasts = [forecast_file(model, variant, symbol) for symbol in asked.symbols or expected.symbols]
        own = record.file.replace("record.json", "")
        written = {"predict": forecasts, "time": [f"{own}pairs.parquet"], "score": [f"{own}windows.parquet"]}
        for text in unplanned_files(document.outputs, written.get(stage, [])):
            yield "unexpected", f"it wrote {text}"
        if stage == "score":
            for text in unplanned_files(document.inputs, forecasts):
                yield "unexpected", f"it scored {text}"


def _trial_results(stage: str, document: RecordDocument) -> tuple[tuple[Any, ...], list[tuple[str, str]]]:
    results: list[Any] = []
    problems = []
    for number, trial in enumerate(document.trials):
        result = None
        if not trial.ok:
            problems.append(("trial-failed", f"trial {number}: {trial.kind}: {trial.message}"))
        else:
            try:
                result = RESULTS[stage].model_validate(trial.result)
            except ValidationError as error:
                problems.append(("schema", f"the result of trial {number}: {first_problem(error)}"))
        results.append(result)
    return tuple(results), problems
