"""CUDA-graph readiness of every implementation, predicted on a CPU from FX graphs alone: no GPU and no C++ compiler.

    python -m tools.readiness                  the embedded checkpoints, about a minute
    python -m tools.readiness --models toto --context 512 --horizons 30 96

Prints Markdown. The verification report says the same of the variants that it compiled, on the graphs that they run.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from greenlight.api import LoadOptions
from greenlight.data.windows import practice_windows
from greenlight.plugins import load_forecaster, model_of
from greenlight.provenance import package_versions
from greenlight.watch.readiness import ReadinessRecorder

SETTINGS = {
    "toto": {"samples_per_batch": 4},
    "kronos": {
        "tokenizer": "embedded",
        "tokenizer_revision": None,
        "max_context": 512,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 0.9,
    },
}
SAMPLES = 4


def predicted(model: str, implementation: str, context_length: int, horizons: Sequence[int]) -> dict[str, Any]:
    """The readiness record of an implementation with the embedded checkpoint, over forecasts of some horizons."""
    torch.compiler.reset()
    forecaster = load_forecaster(model, implementation, LoadOptions("embedded", settings=SETTINGS[model]))
    forecaster.compile("reduce-overhead")
    with ReadinessRecorder(kernels=False) as recorder:
        for horizon in horizons:
            forecaster.forecast(practice_windows(1, context_length, horizon, seed=0), SAMPLES, 0)
    return recorder.record()


def section(name: str, record: dict[str, Any]) -> Iterator[str]:
    """One implementation as Markdown lines: the answer, then every node and input that stands against it."""
    answer = {True: "ready", False: "**not ready**", None: f"not known: {record['note']}"}[record["ready"]]
    nodes, mutated = record["nodes"], record["mutated_inputs"]
    counts = f"{record['graphs']} graphs, {len(nodes)} nodes, {len(mutated)} mutated inputs that are not static"
    yield from (f"## {name}: {answer}", "", f"{counts}.", "")
    if record["ready"] is False and record["note"]:
        yield from (_without_folders(record["note"]), "")
    if nodes or mutated:
        yield from ("| what | where | source | why |", "|---|---|---|---|")
        for one in nodes:
            yield f"| `{one['operation']}` | {_place(one)} | {_source(one)} | {_short(one['reason'])} |"
        for one in mutated:
            yield f"| mutated input `{one['name']}` | {_place(one)} | {_source(one)} | its address may change |"
        yield ""


def _without_folders(note: str) -> str:
    """A note with its files shortened, each reason on a line."""
    return "\n".join(f"- {re.sub(r'/[^ :]*/', '', part)}" for part in note.split("; "))


def _place(one: dict[str, Any]) -> str:
    return f"{'/'.join(Path(one['file']).parts[-3:])}:{one['line']}"


def _source(one: dict[str, Any]) -> str:
    try:
        line = Path(one["file"]).read_text(encoding="utf-8").splitlines()[one["line"] - 1]
    except (OSError, IndexError):
        return ""
    return f"`{line.strip()}`".replace("|", "\\|")


def _short(reason: str) -> str:
    return reason.split(". ")[0].split(": Dynamo")[0].replace("|", "\\|")[:120]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--context", type=int, default=96, help="rows that a model sees")
    parser.add_argument("--horizons", type=int, nargs="+", default=[16, 40], help="rows that it forecasts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    versions = ", ".join(f"{k} {v}" for k, v in package_versions(("torch", "toto-ts", "numpy")).items())
    horizons = " and ".join(map(str, arguments.horizons))
    print(f"{versions}; embedded checkpoints, context {arguments.context}, horizons {horizons}.\n")
    for model in arguments.models:
        for implementation in model_of(model).implementations:
            print(f"greenlight: {model} {implementation}", file=sys.stderr, flush=True)
            record = predicted(model, implementation, arguments.context, arguments.horizons)
            print("\n".join(section(f"{model} {implementation}", record)), flush=True)


if __name__ == "__main__":
    main()
