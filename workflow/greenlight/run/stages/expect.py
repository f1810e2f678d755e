"""expect: every row that the evidence must have, so that judgement walks these and not what happens to lie there."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from greenlight.data.returns import rows_for
from greenlight.data.stored import load_series
from greenlight.data.windows import cut_windows
from greenlight.errors import UserError
from greenlight.files import read_json, write_json
from greenlight.judgement.expected import Expected
from greenlight.layout import Layout
from greenlight.provenance import digest
from greenlight.run.command import run_stage
from greenlight.run.job import Job
from greenlight.trials.call_settings import CallSettings

TIMED = ("pairs", "control_pairs", "looks", "warm_up_calls")


def expect(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Write the manifest; UserError where a symbol has too few rows that no model was trained on."""
    trained_until = {model: read_json(layout.weights(model))["trained_until"] for model in job["models"]}
    symbols = {symbol: _symbol(layout, job, symbol, trained_until) for symbol in sorted(job["data"])}
    evaluation = job["evaluation"]
    shared = {k: evaluation[k] for k in ("context_length", "horizon", "samples")} | {"seed": job["seed"]}
    call, usual = CallSettings.model_validate(evaluation["call"]), CallSettings()
    if own := call.process.beside_precision():
        shared["process"] = own
    shared |= {} if call.target == usual.target else {"target": call.target}
    shared |= {} if call.input == usual.input else {"input": call.input}
    shared |= {} if call.point == usual.point else {"point": call.point_forecast}
    manifest = {
        "format": 1,
        "models": {model: _model(layout, job, model) for model in job["models"]},
        "symbols": symbols,
        **shared,
        "calls": {"windows_per_call": evaluation["windows_per_call"], "timed_windows": job["timing"]["windows"]},
        "repeats": job["repeats"],
        "precision": call.process.precision,
        "settings_hash": digest(shared),
        "platform": _platform(job),
    }
    Expected.model_validate(manifest)
    write_json(layout.expected, manifest)


def _symbol(layout: Layout, job: Job, symbol: str, trained_until: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Number of windows and data hash of a symbol."""
    evaluation = job["evaluation"]
    timestamps, values, *_ = load_series(layout.series(symbol))
    counts = {}
    for model in job["models"]:
        until = trained_until[model].get(symbol)
        counts[model] = len(
            cut_windows(
                symbol,
                timestamps,
                values,
                context_length=rows_for(evaluation["context_length"], evaluation["call"]["input"]),
                horizon=evaluation["horizon"],
                count=evaluation["windows"],
                not_before=np.datetime64(until) if until else None,
            )
        )
    if min(counts.values()) < evaluation["windows"]:
        model = min(counts, key=counts.__getitem__)
        raise UserError(
            f"symbol {symbol}: {len(values)} rows give {counts[model]} windows for {model}, expected "
            f"evaluation.windows {evaluation['windows']} of {evaluation['horizon']} rows after a context of "
            f"{evaluation['context_length']} rows (rows that the model was trained on are no targets). Add rows, "
            "leave the symbol out of `symbols`, or lower evaluation.windows"
        )
    return {"windows": evaluation["windows"], "data_hash": job["data"][symbol]}


def _model(layout: Layout, job: Job, model: str) -> dict[str, Any]:
    entry = job["models"][model]
    asked = {name: entry[name] for name in ("by_symbol", "missing") if entry[name]}
    return {
        **{name: entry[name] for name in ("reference", "deployed", "levels", "random", "crossing")},
        "settings_hash": digest(entry["settings"] | asked),
        **asked,
        **({"random_weights": entry["random_weights"]} if entry["random_weights"] else {}),
        "weights_hash": digest(read_json(layout.weights(model))["hashes"]),
        "variants": {
            variant: {
                "coupled_with_reference": entry["draws_as_reference"][variant],
                "alone": entry["alone"][variant],
                "same_as": entry["same_as"][variant],
                "jobs": _jobs(job, model, variant),
            }
            for variant in entry["variants"]
        },
    }


def _jobs(job: Job, model: str, variant: str) -> dict[str, Any]:
    """What is asked of each planned job of a variant, the model's own among them, with its key."""
    found: dict[str, Any] = {}
    if f"probe/{model}/{variant}" not in job["before"]:
        return found  # another one is measured in its place
    for name, key in job["before"].items():
        stage, *own = name.split("/")
        of_model = own == [model] and (stage != "replicate" or variant in job["models"][model]["paired"])
        if of_model or own[:2] == [model, variant]:
            shard = int(own[2]) if len(own) > 2 else None
            label = stage if shard is None else f"{stage}/{shard:04d}"
            found[label] = {"key": key, **_asked(job, stage, model, variant, shard)}
    return found


def _asked(job: Job, stage: str, model: str, variant: str, shard: int | None) -> dict[str, Any]:
    evaluation, timing = job["evaluation"], job["timing"]
    match stage:
        case "predict":
            return {"symbols": job["shards"][shard]}
        case "probe":
            most, entry = evaluation["windows"] * len(job["shards"][0]), job["models"][model]
            drawn = {
                "drawn_windows": min(evaluation["replicate_windows"], most),
                "replicates": evaluation["replicates"],
            }
            return {
                "windows": min(evaluation["probe_windows"], most),
                "looks": evaluation["looks"],
                "threads": job["threads_of_calls"],
                "golden": entry["golden"][variant],
                "beyond": entry["beyond"],
                "independent": entry["independent"] if variant == entry["reference"] else None,
                **(drawn if entry["drawn"][variant] else {}),
            }
        case "call":
            return {"call": job["called"]}
        case "repeat":
            return {"trials": job["models"][model]["repeats"][variant]}
        case "time":
            return {"trials": timing["processes"], **{k: timing[k] for k in TIMED}}
        case "replicate":
            return {"looks": evaluation["looks"]}
    return {}


def _platform(job: Job) -> dict[str, Any]:
    """The machine that speed baselines belong to."""
    torch = job["versions"]["torch"]
    device = "cpu" if job["device"] == "cpu" else "cuda"
    name = "".join(c if c.isalnum() else "-" for c in job["device_name"].lower()).strip("-")
    return {
        "id": f"{device}-{name}-torch{torch}-{job['threads']}threads",
        "device": job["device"],
        "device_name": job["device_name"],
        "torch": torch,
        "threads": job["threads"],
    }


if __name__ == "__main__":
    run_stage("List every row that the evidence must have.", expect)
