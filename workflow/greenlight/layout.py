"""Where every file of a run stands below the results folder; the one place that names paths."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from greenlight.files import sha256_of


def checked_folder(key: str, value: str) -> str:
    """A folder of the configuration with `~` written out; ValueError for what can't be meant.

    Args:
        key: `data_folder`, `results_folder` or `baselines_folder`.
    """
    if not value.strip() or value.startswith("-") or not value.isprintable():
        raise ValueError(f"{value!r} can't be meant as a folder; expected its path")
    if key != "baselines_folder" and set(value) & set("{}"):
        raise ValueError(f"{value!r} has a brace, which stands for a name in the workflow; rename the folder")
    folder = os.path.expanduser(value)
    if key == "results_folder" and Path.cwd().is_relative_to(os.path.abspath(folder)):
        raise ValueError(f"{value!r} is this folder or one around it; expected one of its own, such as results")
    return folder


def check_apart(results: str, **others: str) -> None:
    """ValueError where the results folder is one of the others, named by their keys, too."""
    for key, folder in others.items():
        if os.path.abspath(folder) == os.path.abspath(results):
            raise ValueError(f"results_folder and {key} are both {results}; set one of them to another")


class _Below:
    """A place with a fixed name below the results folder, as an attribute of a `Layout`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, layout: Layout, kind: type[Layout]) -> Path:
        return layout.root / self._name


@dataclass(frozen=True)
class Layout:
    """Paths below the results folder. Names of symbols, models and variants are checked before they get here."""

    root: Path

    def hashes(self, files: Iterable[Path]) -> dict[str, str]:
        """SHA-256 of files below the results folder, by path relative to it."""
        return {file.relative_to(self.root).as_posix(): sha256_of(file) for file in files}

    def series(self, symbol: str) -> Path:
        """Canonical price series of a symbol."""
        return self.root / f"data/symbol={symbol}/series.parquet"

    def data_report(self, symbol: str) -> Path:
        """What was found in a symbol's file, and what was done about it."""
        return self.root / f"data/symbol={symbol}/report.json"

    def prepared(self, shard: int) -> Path:
        """Record of reading the price files of one shard."""
        return self.root / "prepare" / f"shard={shard:04d}" / "record.json"

    def weights(self, model: str) -> Path:
        """Where the weights of a model are, and their hash."""
        return self.root / "weights" / f"model={model}" / "record.json"

    def stage(self, stage: str, model: str, variant: str) -> Path:
        """Folder of a stage's output for a variant."""
        return self.root / f"{stage}/model={model}/variant={variant}"

    def record(self, stage: str, model: str, variant: str) -> Path:
        """Record of a stage for a variant."""
        return self.stage(stage, model, variant) / "record.json"

    def cleared(self, model: str, variant: str) -> Path:
        """Proof that the cache was emptied."""
        return self.stage("compile", model, variant) / "cleared.json"

    def cache(self, model: str, variant: str) -> Path:
        """The filled compile cache of a variant."""
        return self.stage("compile", model, variant) / "cache"

    def predict_record(self, model: str, variant: str, shard: int) -> Path:
        """Record of forecasting one shard."""
        return self.stage("predict", model, variant) / f"shard={shard:04d}" / "record.json"

    def forecast(self, model: str, variant: str, symbol: str) -> Path:
        """Forecasts of a symbol."""
        return self.stage("forecasts", model, variant) / f"symbol={symbol}/part-0.parquet"

    def pairs(self, model: str, variant: str) -> Path:
        """Raw latency pairs."""
        return self.stage("time", model, variant) / "pairs.parquet"

    def window_scores(self, model: str, variant: str) -> Path:
        """Scores of every window."""
        return self.stage("scores", model, variant) / "windows.parquet"

    def trial(self, stage: str, model: str, variant: str, name: str = "") -> Path:
        """Folder in which a trial runs: request, result, captured output."""
        folder = self.root / "trials" / stage / f"model={model}" / f"variant={variant}"
        return folder / name if name else folder

    def diagnosis_trial(self, name: str = "") -> Path:
        """Folder in which a case of the diagnosis runs; without a name, that of all cases."""
        return self.root / "trials" / "diagnose" / name

    plan = _Below("jobs/plan.json")
    """The job descriptions of the run at work."""

    def entry(self, job: str) -> Path:
        """What a job, such as `predict/toto/static-default/0`, last ran under and left."""
        return self.root / "jobs" / f"{job}.json"

    stale_mark = _Below("jobs/stale")
    """An input of every stale job, newer than any output."""
    parsed_code = _Below("jobs/code.json")
    """Hashes and imports of first-party code by its content, which are costly to find."""
    known_hashes = _Below("jobs/hashes.json")
    """Hashes of files outside the results that are as they were."""
    diagnosis = _Below("diagnosis.md")
    """Where failures come from, as a page."""
    diagnosis_record = _Below("diagnosis.json")
    """Every case of the diagnosis."""
    expected = _Below("expected.json")
    """Every row that the evidence must have."""
    difference = _Below("diff.json")
    """This run against the stored baselines."""
    verdict = _Below("verdict.json")
    """Every check, and the gate's verdict."""
    decision = _Below("decision.json")
    """The variant to deploy for each model."""
    deploy = _Below("deploy.env")
    """The decision as shell variables."""
    bundle = _Below("deploy")
    """The folder that production takes: what was decided, and all that is needed to run it."""
    manifest = _Below("deploy/manifest.json")
    """What the bundle holds; see `greenlight.run.bundle`."""
    bundle_cache = _Below("deploy/cache")
    """The bundle's copy of the compile caches of what is deployed."""
    report = _Below("report.md")
    """The verification report."""
    report_page = _Below("report.html")
    """The verification report as one HTML file."""

    def forecast_page(self, symbol: str) -> Path:
        """Forecasts of a symbol by all variants, as one HTML file."""
        return self.root / "forecast-pages" / f"{symbol}.html"

    @property
    def notices(self) -> tuple[Path, Path, Path]:
        """The report in short for a CI system: summary.md, comment.md, junit.xml."""
        return self.root / "summary.md", self.root / "comment.md", self.root / "junit.xml"

    figures = _Below("figures")
    """Pictures of the report."""
    archive = _Below("archive")
    """Folder of archived runs."""
    archived = _Below("archived.json")
    """Names the folder in which this run was archived."""
    history = _Below("history.md")
    """Archived runs as a table."""
    history_page = _Below("history.html")
    """Archived runs, their figures and the steps in them as one HTML file."""
    history_figures = _Below("history")
    """Trends over archived runs."""

    @property
    def comparison(self) -> tuple[Path, Path, Path]:
        """A against B: the page, the same as Markdown, and its figures."""
        return self.root / "compare.html", self.root / "compare.md", self.root / "compare.json"

    def swept(self, model: str, variant: str, name: str) -> Path:
        """Record of a size of the sweep, such as `windows-8`, in one process."""
        return self.stage("sweep", model, variant) / f"{name}.json"

    @property
    def sweep(self) -> tuple[Path, Path, Path]:
        """Speed, memory and cost by size: the page, the same as Markdown, and its figures."""
        return self.root / "sweep.html", self.root / "sweep.md", self.root / "sweep.json"

    def elsewhere(self, target: str, name: str) -> Path:
        """Results of a run of another commit or folder, made by `compare` or `bisect`."""
        return self.root / target / name

    passed = _Below("gate.passed")
    """Exists only while the gate's verdict is pass."""
    last_error = _Below("last-error.txt")
    """The last message to a user, which Snakemake repeats at the end."""
