"""An archive of runs with planned figures, as `archive` leaves it, without making the runs."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.files import sha256_of, write_json, write_text
from greenlight.judgement.seal import seal

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
FIGURES = {"mae_percent": 1.5, "speedup": 4.0, "median_seconds": 0.05, "cold": 20.0, "peak_memory": 5e8}


def variant_entry(figures: Mapping[str, float]) -> dict[str, Any]:
    """The part of a verdict that has a variant's figures."""
    return {
        "verdict": "pass",
        "accuracy": {"overall": {"mae_percent": {"value": figures["mae_percent"], "lower": None, "upper": None}}},
        "speed": {
            "speedup": {"value": figures["speedup"], "lower": None, "upper": None},
            "variant_seconds": {"median": figures["median_seconds"], "p99": 2 * figures["median_seconds"]},
        },
        "cold_start_seconds": figures["cold"],
        "peak_memory_bytes": int(figures["peak_memory"]),
    }


def archive_figures(
    archive: Path,
    number: int,
    variants: Mapping[str, Mapping[str, float]],
    machine: str = "machine-a",
    **manifest: Any,
) -> Path:
    """One archived run of the model `kronos` at commit `c<number>`, a day after the one before."""
    when = (START + datetime.timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
    folder = archive / f"{when.replace('-', '').replace(':', '')}-c{number}-pass"
    entries = {name: variant_entry(figures) for name, figures in variants.items()}
    decision = {"judged": list(variants)[-1], "chosen": list(variants)[-1]}
    models = {"kronos": {"gate": "pass", "decision": decision, "variants": entries}}
    verdict = {"format": 1, "gate": "pass", "reasons": [], "models": models, "checks": []}
    write_json(folder / "verdict.json", seal(verdict), durable=False)
    expected = {
        "models": {"kronos": {"reference": "upstream-eager", "weights_hash": "w"}},
        "platform": {"id": machine},
        "symbols": {"SYM0": {"windows": 5, "data_hash": "d"}},
        "settings_hash": "s",
    } | manifest
    write_json(folder / "expected.json", expected, durable=False)
    write_text(folder / "report.html", f"<!doctype html><title>c{number}</title>", durable=False)
    files = {path.name: sha256_of(path) for path in folder.iterdir()}
    about = {"format": 1, "time": when, "commit": f"c{number}", "verdict": "pass", "key": "k", "files": files}
    write_json(folder / "archive.json", seal(about | {"left_out": []}), durable=False)
    return folder


def noisy(rng: np.random.Generator, share: float = 0.02, **factors: float) -> dict[str, float]:
    """Figures with measuring noise, each times its factor; MAE is seeded and repeats to the last digit."""
    values = {name: value * factors.get(name, 1.0) for name, value in FIGURES.items()}
    return {n: v if n == "mae_percent" else v * float(np.exp(share * rng.standard_normal())) for n, v in values.items()}
