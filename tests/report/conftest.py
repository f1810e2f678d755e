"""A judged results folder as the stages leave it: evidence, price series, data reports, weights, verdict, diff."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from greenlight.files import sha256_of, write_json, write_parquet
from greenlight.judgement.accept import build_baselines
from greenlight.judgement.baseline import baseline_text
from greenlight.judgement.evidence import forecast_file
from greenlight.layout import Layout
from greenlight.run.judging import judge_run
from greenlight.run.stages.diff import diff
from greenlight.run.stages.judge import write_deployment, write_verdict
from greenlight.run.stages.report import report
from tests.judgement.evidence_builder import HORIZON, KRONOS, Run, reseal

JOB = {"stage": "judge", "rules": {}, "published": {}, "environment": {}}
MADE = {"made": "2026-01-02T03:04:05Z", "commit": "0123456789"}
TRIAL_JOB = {
    "precision": "float32",
    "context_length": 128,
    "versions": {"torch": "2.13.0", "numpy": "2.4.6"},
}


def surround(layout: Layout, run: Run) -> None:
    """Add to the evidence what judgement does not read: series, data reports, weights, times, job descriptions."""
    for number, symbol in enumerate(run.symbols):
        times = pd.date_range("2025-01-01", periods=140, freq="D").to_numpy().astype("datetime64[ns]")
        close = 10.0 ** (number % 5 - 2) * (1 + 0.01 * np.sin(np.arange(140) / 5))
        write_parquet(layout.series(symbol), pa.table({"timestamp": times, "close": close}))
        write_json(
            layout.data_report(symbol),
            {
                "source": f"{symbol}.csv",
                "source_sha256": f"{number:064d}",
                "rows": 140,
                "frequency": {"label": "daily"},
                "findings": [],
            },
        )
    for model, variants in run.models.items():
        sources = {"model": ["embedded", None]}
        write_json(layout.weights(model), {"job": {"sources": sources}, "hashes": {"model": "ab" * 32}})
        for variant in variants:
            _add_times(layout, model, variant, run)
            for path in sorted(layout.root.glob(f"*/model={model}/variant={variant}/**/record.json")):
                reseal(path, lambda record: record.update(provenance=MADE, job=TRIAL_JOB))


def _add_times(layout: Layout, model: str, variant: str, run: Run) -> None:
    """Give forecasts their times, and the records the hashes of the new files."""
    changed = {}
    for symbol, windows in run.symbols.items():
        path = layout.forecast(model, variant, symbol)
        if not path.exists():
            continue
        table = pyarrow.parquet.ParquetFile(path).read()
        times = pd.date_range("2025-05-01", periods=windows * HORIZON, freq="D").to_numpy()
        write_parquet(path, table.append_column("timestamp", pa.array(times.astype("datetime64[ns]"))))
        changed[forecast_file(model, variant, symbol)] = sha256_of(path)

    def update(record: dict) -> None:
        for key in ("inputs", "outputs"):
            record[key] = {name: changed.get(name, digest) for name, digest in record[key].items()}

    for path in sorted(layout.root.glob(f"*/model={model}/variant={variant}/**/record.json")):
        reseal(path, update)


def judge_again(layout: Layout, baselines: Path) -> None:
    """Write diff.json, verdict.json, decision.json and deploy.env as the stages do."""
    diff(layout, JOB, argparse.Namespace(baselines=str(baselines)))
    verdict, _, made = write_verdict(layout, JOB, baselines)
    write_deployment(layout, JOB, verdict, made)


def accept_as_baseline(layout: Layout, baselines: Path, **accepted: str) -> None:
    """Store a judged run as the baseline of the next ones."""
    evidence, _, rules, verdict = judge_run(layout, {}, baselines)
    who = {"who": "Ada", "when": "2026-01-01T00:00:00Z", "commit": "abc", "reason": "first"} | accepted
    for name, document in build_baselines(evidence, verdict, rules, **who).items():
        (baselines / name).parent.mkdir(parents=True, exist_ok=True)
        (baselines / name).write_text(baseline_text(document))


def build(folder: Path, run: Run) -> Layout:
    """A judged results folder of a run."""
    layout = Layout(folder / "results")
    run.write(layout.root)
    surround(layout, run)
    judge_again(layout, folder / "baselines")
    return layout


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """A judged and reported run of one small model, to be copied and not to be changed."""
    layout = build(tmp_path_factory.mktemp("plain"), Run(models={"kronos": KRONOS}))
    report(layout, {}, None)
    return layout


@pytest.fixture
def make_results(tmp_path, plain):
    """`make_results(run)` builds a judged results folder of a run; without one, of a plain run that passes."""

    def make(run=None, name="run"):
        if run is not None:
            return build(tmp_path / name, run)
        shutil.copytree(plain.root, tmp_path / name / "results")
        return Layout(tmp_path / name / "results")

    return make


def change_json(path: Path, change) -> None:
    """Change a JSON file that has no seal."""
    value = json.loads(path.read_text())
    change(value)
    write_json(path, value)
