"""The evidence of one run, read from the results folder against what was expected of it.

Where things lie (`record.json` has the shape given in `records`; results are relative to the results folder):

    expected.json                                                    see `expected`
    compile/model=M/variant=V/record.json
    predict/model=M/variant=V/shard=NNNN/record.json                 outputs: its forecast files
    forecasts/model=M/variant=V/symbol=S/part-0.parquet
    probe/model=M/variant=V/record.json
    time/model=M/variant=V/{record.json, pairs.parquet}              outputs: pairs.parquet
    scores/model=M/variant=V/{record.json, windows.parquet}          inputs: the forecasts; outputs:
    windows.parquet
    replicate/model=M/variant=V/record.json                          inputs: its scores and its partner's

Each file is tied to the next by its SHA-256: a record states the hashes of the files that its job read and
wrote, and carries a hash of itself. So a file that was truncated, changed, swapped or left over from
another run does not fit, and becomes a `Problem` of the variant it concerns. Reading never raises for bad
evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.files import sha256_of
from greenlight.judgement.drawn_windows import WindowDifferences
from greenlight.judgement.expected import Expected, ExpectedJob, ExpectedVariant
from greenlight.judgement.forecasts import Forecasts, read_forecasts
from greenlight.judgement.reading import ANEW, Problem, Record, forecast_file, read_record, record_file
from greenlight.judgement.replicates import Replicates, read_replicates
from greenlight.judgement.tables import Pairs, Scores, read_pairs, read_scores
from greenlight.measures.paths import PathDifferences

STRANGE = f"it is of another run, or was changed; {ANEW}"


@dataclass(frozen=True)
class VariantEvidence:
    """All evidence of one variant.

    Attributes:
        records: by job name, such as `predict/0000`; only records that can be trusted.
        forecasts: [expected rows, horizon] outcomes, medians and quantiles, NaN where absent.
        scores: [expected rows] metrics, NaN where a row is absent; None where there is no readable table.
        pairs: latency pairs; None where none are expected or readable.
        replicates: errors with further seeds; None where there are none, or none that can be trusted.
        problems: everything wrong, in a fixed order.
        paths: differences of the sample paths from those of its partner, [expected rows]; None where it has none, or
            forecasts of either are not whole.
        drawn: how its paths are drawn beside the reference's, window by window; None where it has a partner, or
            forecasts of either are not whole.
        files: SHA-256 by file, relative to the results folder; None where it is missing.
    """

    model: str
    variant: str
    expected: ExpectedVariant
    records: Mapping[str, Record]
    forecasts: Forecasts
    scores: Scores | None
    pairs: Pairs | None
    replicates: Replicates | None
    problems: tuple[Problem, ...]
    files: Mapping[str, str | None]
    paths: PathDifferences | None = None
    drawn: WindowDifferences | None = None

    def results(self, stage: str) -> list[Any]:
        """Typed results of the successful trials of a stage, in the order of jobs and trials."""
        found = [record for job, record in sorted(self.records.items()) if job.split("/")[0] == stage]
        return [result for record in found for result in record.results if result is not None]

    def stage_files(self, *stages: str) -> dict[str, str | None]:
        """Files of some stages with their hashes."""
        folders = {"score": "scores"}
        starts = tuple(f"{folders.get(stage, stage)}/" for stage in stages)
        return {name: digest for name, digest in self.files.items() if name.startswith(starts)}


@dataclass(frozen=True)
class Evidence:
    """All evidence of a run, by (model, variant), in the manifest's order."""

    expected: Expected
    variants: Mapping[tuple[str, str], VariantEvidence]

    def of_model(self, model: str) -> dict[str, VariantEvidence]:
        """The variants of one model."""
        return {variant: found for (name, variant), found in self.variants.items() if name == model}

    @property
    def problems(self) -> list[Problem]:
        """Every problem of every variant."""
        return [problem for found in self.variants.values() for problem in found.problems]


def load_evidence(results: Path, expected: Expected, forecasts: bool = True) -> Evidence:
    """Read everything that was expected of a run; what is wrong becomes problems, nothing raises.

    Args:
        results: the results folder.
        expected: the run's manifest (`load_expected(results / "expected.json")`).
        forecasts: False to look at no forecasts, one file a symbol, of which then none counts as whole: nothing that
            is judged so can pass.
    """
    variants = {}
    for model, entry in expected.models.items():
        for variant in entry.variants:
            variants[model, variant] = _Reader(Path(results), expected, model, variant, forecasts).read()
        for variant in entry.variants:
            found = _same_outcomes(variants[model, variant], variants[model, entry.reference], expected)
            partner = entry.partner(variant)
            if partner is not None:
                found = _same_scores(found, other := variants[model, partner])
                found = replace(found, paths=found.forecasts.paths_against(other.forecasts))
            elif variant != entry.reference and entry.pairing(variant).against_reference:
                reference = variants[model, entry.reference]
                found = replace(found, drawn=found.forecasts.windows_against(reference.forecasts))
            variants[model, variant] = found
        for variant in entry.variants:  # paths take memory, and no one looks at them again
            found = variants[model, variant]
            variants[model, variant] = replace(found, forecasts=replace(found.forecasts, paths=None))
    return Evidence(expected, variants)


def _same_outcomes(found: VariantEvidence, reference: VariantEvidence, expected: Expected) -> VariantEvidence:
    """The variant with a problem added where its forecasts were held against other outcomes than the reference's."""
    own, other = found.forecasts.values["actual"], reference.forecasts.values["actual"]
    off = found.forecasts.whole & reference.forecasts.whole & (own != other).any(axis=1)
    if not off.any():
        return found
    symbol, window = expected.rows()[int(np.argmax(off))]
    what = f"the outcomes of {int(off.sum())} windows are not those of {reference.variant}"
    file = forecast_file(found.model, found.variant, symbol)
    problem = Problem("changed", found.model, found.variant, "predict", what, file, symbol, window)
    return replace(found, problems=(*found.problems, problem))


def _same_scores(found: VariantEvidence, partner: VariantEvidence) -> VariantEvidence:
    """The variant without replicates, and with a problem, where these follow a look at other scores than lie there."""
    record = found.records.get("replicate")
    scores = {name: digest for entry in (found, partner) for name, digest in entry.stage_files("score").items()}
    wanted = {name: digest for name, digest in scores.items() if name.endswith("windows.parquet")}
    if record is None or record.document.inputs == wanted:
        return found
    what = f"it follows other scores of it or of {partner.variant} than lie there"
    problem = Problem("stale", found.model, found.variant, "replicate", what, record.file)
    return replace(found, replicates=None, problems=(*found.problems, problem))


@dataclass
class _Reader:
    """Reads one variant, gathering problems and hashes on the way."""

    results: Path
    expected: Expected
    model: str
    variant: str
    with_forecasts: bool
    problems: list[Problem] = field(default_factory=list)
    files: dict[str, str | None] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)

    def read(self) -> VariantEvidence:
        entry = self.expected.models[self.model].variants[self.variant]
        for job, asked in entry.jobs.items():
            record = self._record(job, asked)
            if record is not None:
                self.records[job] = record
        forecasts = self._forecasts(entry)
        pairs = self._pairs(entry.jobs["time"]) if "time" in entry.jobs else None
        scores = self._scores() if "score" in entry.jobs else None
        if scores is not None:
            self._follows(forecasts, scores)
        own = (forecasts, scores, pairs, self._replicates())
        return VariantEvidence(self.model, self.variant, entry, self.records, *own, tuple(self.problems), self.files)

    def _problem(self, kind: str, stage: str, file: str, message: str, **row: Any) -> None:
        self.problems.append(Problem(kind, self.model, self.variant, stage, message, file, **row))

    def _digest(self, file: str, stage: str) -> str | None:
        """SHA-256 of a file that must be there and not be empty, else a problem and None."""
        self.files[file] = None
        path = self.results / file
        try:
            size = path.stat().st_size
            self.files[file] = sha256_of(path)
        except FileNotFoundError:
            self._problem("missing", stage, file, "the file is missing")
            return None
        except OSError as error:
            self._problem("unreadable", stage, file, f"the file can't be read ({error.strerror})")
            return None
        if size == 0:
            self._problem("empty", stage, file, "the file is empty")
            return None
        return self.files[file]

    def _record(self, job: str, asked: ExpectedJob) -> Record | None:
        """A record that is readable, sealed, the right one and fresh; None otherwise."""
        stage, file = job.split("/")[0], record_file(job, self.model, self.variant)
        if self._digest(file, stage) is None:
            return None
        record, problems = read_record(self.results, self.expected, self.model, self.variant, job, asked)
        for kind, message in problems:
            self._problem(kind, stage, file, message)
        return record

    def _forecasts(self, entry: ExpectedVariant) -> Forecasts:
        """Every expected forecast file is the one that its predict job wrote and the score job read."""
        if not self.with_forecasts:
            return read_forecasts({}, self.model, self.variant, self.expected)[0]
        trusted = {}
        scored = self.records["score"].document.inputs if "score" in self.records else None
        for job, asked in entry.predict_jobs().items():
            record = self.records.get(job)
            if record is not None and record.failed:
                continue
            for symbol in asked.symbols:
                file = forecast_file(self.model, self.variant, symbol)
                digest = self._digest(file, "predict")
                if digest is None:
                    continue
                if record is not None and record.document.outputs.get(file) != digest:
                    self._problem(
                        "changed", "predict", file, f"not the file that predict wrote: {STRANGE}", symbol=symbol
                    )
                if scored is not None and scored.get(file) != digest:
                    self._problem("stale", "score", file, f"not the file that was scored: {STRANGE}", symbol=symbol)
                trusted[symbol] = self.results / file
        forecasts, problems = read_forecasts(trusted, self.model, self.variant, self.expected)
        for kind, message, at, window in problems:
            file = forecast_file(self.model, self.variant, str(at))
            self._problem(kind, "predict", file, message, symbol=at, window=window)
        return forecasts

    def _follows(self, forecasts: Forecasts, scores: Scores) -> None:
        """The scores are those of the forecasts that lie there."""
        own, stated = forecasts.mae(), scores.metrics["mae"]
        both = np.isfinite(own) & np.isfinite(stated)
        off = both & (np.abs(own - stated) > 1e-9 * np.abs(scores.metrics["mean_price"]))
        if off.any():
            symbol, window = self.expected.rows()[int(np.argmax(off))]
            file = record_file("score", self.model, self.variant).replace("record.json", "windows.parquet")
            what = f"the MAE of {int(off.sum())} windows is not that of their forecasts"
            self._problem("changed", "score", file, what, symbol=symbol, window=window)

    def _own_output(self, job: str, name: str) -> str | None:
        """The table beside a job's record, where it is the one that the job wrote; else a problem
        and None.
        """
        file = record_file(job, self.model, self.variant).replace("record.json", name)
        record = self.records.get(job)
        if record is not None and record.failed and not (self.results / file).exists():
            return None
        digest = self._digest(file, job)
        if digest is None:
            return None
        if record is not None and record.document.outputs.get(file) != digest:
            self._problem("changed", job, file, f"not the file that {job} wrote: {STRANGE}")
            return None
        return file if record is not None else None

    def _pairs(self, asked: ExpectedJob) -> Pairs | None:
        file = self._own_output("time", "pairs.parquet")
        if file is None:
            return None
        pairs, problems = read_pairs(self.results / file, self.model, self.variant, asked)
        for kind, message in problems:
            self._problem(kind, "time", file, message)
        return pairs

    def _scores(self) -> Scores | None:
        file = self._own_output("score", "windows.parquet")
        if file is None:
            return None
        rows, horizon = self.expected.rows(), self.expected.horizon
        scores, problems = read_scores(self.results / file, self.model, self.variant, rows, horizon)
        for kind, message, symbol, window in problems:
            self._problem(kind, "score", file, message, symbol=symbol, window=window)
        return scores

    def _replicates(self) -> Replicates | None:
        record = self.records.get("replicate")
        if record is None or len(record.results) != 1 or record.results[0] is None:
            return None
        replicates, problems = read_replicates(record.results[0], self.expected, self.model, self.variant)
        for message in problems:
            self._problem("unexpected", "replicate", record.file, message)
        return replicates
