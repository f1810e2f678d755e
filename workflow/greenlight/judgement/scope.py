"""The scope of a verdict: what the calls that it rests on asked for. Beyond it nothing was shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from greenlight.data.returns import AS_PRICES
from greenlight.judgement.checks.base import Check
from greenlight.judgement.evidence import VariantEvidence
from greenlight.judgement.expected import Expected
from greenlight.measures.points import MEDIAN, point_words
from greenlight.process import process_of, stated_process
from greenlight.variants import Variant


def scope_of(expected: Expected, model: str, used: Mapping[str, int]) -> dict[str, Any]:
    """What forecasts of a model were made of: {"context_length", "horizon", "samples", "windows": [in a call, …]}.

    A model that gives quantiles draws no samples, and its scope names none.

    Args:
        used: windows in a call where memory allowed fewer than planned; may lack names, or be empty.
    """
    planned = expected.calls
    calls = sorted({min(size, used.get(name, size)) for name, size in planned.items()})
    samples = {} if expected.models[model].levels else {"samples": expected.samples}
    target = {} if expected.target == "close" else {"target": expected.target}
    point = {} if expected.point == MEDIAN else {"point": expected.point}
    target |= {} if expected.input == AS_PRICES else {"input": expected.input}
    sizes = {"context_length": expected.context_length, "horizon": expected.horizon, **samples, "windows": calls}
    own = expected.models[model].by_symbol
    missing = {"missing": share} if (share := expected.models[model].missing) else {}
    return sizes | target | point | missing | ({"by_symbol": own} if own else {})


def sizes_of(found: Mapping[str, VariantEvidence], variant: str) -> dict[str, int]:
    """Windows in a call of a variant's forecasts, by name: the fewest of its shards, as its trials stated them."""
    entry = found[variant]
    if entry.expected.same_as is not None and not entry.expected.jobs:
        entry = found[entry.expected.same_as]
    sizes: dict[str, int] = {}
    for job in entry.expected.predict_jobs():
        for trial in entry.records[job].document.trials if job in entry.records else ():
            sizes |= {name: min(size, sizes.get(name, size)) for name, size in trial.sizes.items()}
    return sizes


def swept_by(found: VariantEvidence, checks: Iterable[Check]) -> dict[str, Any]:
    """What calls as production makes them add to the scope: {"swept": [[context, horizon, batch, samples], …],
    "threads": number}, each only where its check passes.
    """
    passed = {check.name for check in checks if check.status == "pass"}
    jobs = found.expected.jobs
    swept = {"swept": [list(shape) for shape in jobs["call"].call.shapes]} if "shapes-stable" in passed else {}
    return swept | ({"threads": jobs["probe"].threads} if "concurrent-calls" in passed else {})


def process_of_calls(expected: Expected, variant: str) -> dict[str, Any]:
    """{"process": what differs from torch's own state in the calls of a variant}; empty where nothing does."""
    stated = process_of(expected.process, Variant.parse(variant).precision).stated()
    return {"process": stated} if stated else {}


def scope_words(scope: Mapping[str, Any]) -> str:
    """A scope in words."""
    calls = " or ".join(map(str, scope["windows"]))
    samples = f"{scope['samples']} samples, " if "samples" in scope else ""
    words = (
        f"contexts of {scope['context_length']} rows, horizon {scope['horizon']}, {samples}{calls} windows in a call"
    )
    words += f"; of the {scope['target']} price" if "target" in scope else ""
    words += f"; the model is given {str(scope['input']).replace('-', ' ')}, not prices" if "input" in scope else ""
    words += f"; MAE of the {point_words(str(scope['point']))}" if "point" in scope else ""
    words += f"; {100 * float(scope['missing']):g}% of the rows of a context missing" if "missing" in scope else ""
    if isinstance(own := scope.get("by_symbol"), Mapping):
        what = sorted({str(name) for settings in own.values() if isinstance(settings, Mapping) for name in settings})
        words += f"; {' and '.join(what)} of their own for {', '.join(map(str, list(own)[:5]))}"
        words += f" and {len(own) - 5} more symbols" if len(own) > 5 else ""
    if shapes := [shape for shape in scope.get("swept") or () if isinstance(shape, list) and len(shape) == 4]:
        names = ("contexts", "horizons", "windows in a call", "samples")
        ends = [
            f"{name} {min(sizes)} to {max(sizes)}" for name, sizes in zip(names, zip(*shapes, strict=True), strict=True)
        ]
        words += f"; numerics and recompiles in {len(shapes)} shapes ({', '.join(ends)})"
    words += f"; called from {scope['threads']} threads at once" if "threads" in scope else ""
    if isinstance(scope.get("process"), Mapping):
        words += f"; {stated_process(scope['process']).words()}"
    return words
