"""Turning a judged run into the baseline of the next ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.errors import UserError
from greenlight.files import json_text
from greenlight.judgement.baseline import (
    ACCURACY_FORMAT,
    AccuracyBaseline,
    Refused,
    SpeedBaseline,
    accepted_files,
    accuracy_file,
    rounded,
    speed_file,
)
from greenlight.judgement.evidence import Evidence
from greenlight.judgement.judge import Verdict
from greenlight.judgement.rules import Rules
from greenlight.judgement.seal import seal
from greenlight.judgement.speed import speed_of
from greenlight.judgement.tables import Scores
from greenlight.statistics.intervals import Interval

Document = dict[str, Any]
# Changes of an error below this share are what another order of sums makes, and are counted only.
ROUNDING = 1e-4
NAMED = 5


def build_baselines(
    evidence: Evidence,
    verdict: Verdict,
    rules: Rules,
    *,
    who: str,
    when: str,
    commit: str,
    reason: str,
    forced: bool = False,
) -> dict[str, Document]:
    """Baseline documents by file name (`accuracy/toto.json`), sealed, to be written with `baseline_text`.

    Args:
        when: UTC, such as 2026-11-20T10:00:00Z.
        forced: accept a run whose evidence is incomplete or whose gate failed; needs a reason.

    Raises:
        UserError: nobody, no reason, or an incomplete or failed run that is not forced.
    """
    faults = refusals(evidence, verdict)
    if not who.strip():
        raise UserError("a baseline needs the name of who accepts it; set accept.who (or git's user.name)")
    if not reason.strip():
        raise UserError("a baseline needs a reason; set accept.reason to one sentence")
    if faults and not forced:
        listed = "\n".join(f"  - {fault}" for fault in faults[:10])
        more = f"\n  and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise UserError(
            f"this run can't be accepted as it is:\n{listed}{more}\n"
            "Mend it and run again, or set accept.force to true with the reason in accept.reason."
        )
    accepted = {"who": who, "when": when, "commit": commit, "reason": reason, "forced": bool(faults)}
    documents = current_documents(evidence, rules)
    if not documents:
        raise UserError("nothing can be accepted: no variant has complete scores")
    return {name: seal({**document, "accepted": accepted}) for name, document in documents.items()}


def accepted_text(folder: Path, documents: Mapping[str, Document]) -> str:
    """The list of accepted files with some new ones, as `baseline.accepted_files` reads it."""
    new = {name: document["accepted"]["when"] for name, document in documents.items()}
    listed = accepted_files(folder) or {}
    return json_text({"format": 1, "files": {**listed, **new}})


def current_documents(evidence: Evidence, rules: Rules) -> dict[str, Document]:
    """This run's figures as baseline documents by file name, before anyone has accepted or sealed them."""
    documents = {}
    for model in evidence.expected.models:
        document = _accuracy(evidence, model)
        if document["variants"]:
            documents[accuracy_file(model)] = document
    if evidence.expected.platform_id:
        document = _speed(evidence, rules)
        if any(entry["variants"] for entry in document["models"].values()):
            documents[speed_file(evidence.expected.platform_id)] = document
    return documents


def refusals(evidence: Evidence, verdict: Verdict) -> list[str]:
    """Why a run should not become the baseline: a failed gate, incomplete evidence; empty where it may."""
    faults = [f"the gate failed: {reason}" for reason in verdict.reasons]
    faults += [f"{p.model}/{p.variant}: {p.file}: {p.message}" for p in evidence.problems]
    return faults


def _accuracy(evidence: Evidence, model: str) -> Document:
    expected = evidence.expected
    entry = expected.models[model]
    variants, incomplete = {}, []
    for variant, found in evidence.of_model(model).items():
        if not found.expected.jobs:
            continue
        if found.problems or found.scores is None or not found.scores.complete:
            first = found.problems[0].message if found.problems else "no scores"
            incomplete.append(f"{variant}: {first}")
            continue
        variants[variant] = {error: _by_symbol(evidence, found.scores, error) for error in expected.errors}
    return {
        "kind": "accuracy",
        "format": ACCURACY_FORMAT,
        "model": model,
        "weights_hash": entry.weights_hash,
        "settings_hash": expected.settings_of(model),
        "horizon": expected.horizon,
        "samples": expected.samples,
        "reference": entry.reference,
        "symbols": {name: symbol.model_dump() for name, symbol in expected.symbols.items()},
        "variants": variants,
        "incomplete": incomplete,
    }


def _by_symbol(evidence: Evidence, scores: Scores, error: str) -> dict[str, list[float]]:
    values, start = {}, 0
    for symbol, entry in evidence.expected.symbols.items():
        values[symbol] = rounded(scores.metrics[error][start : start + entry.windows]).tolist()
        start += entry.windows
    return values


def _speed(evidence: Evidence, rules: Rules) -> Document:
    models: Document = {}
    for model, entry in evidence.expected.models.items():
        variants = {}
        for variant, found in evidence.of_model(model).items():
            speed = speed_of(found, rules)
            if speed is None or found.problems or not all(map(math.isfinite, _bounds(speed.ratio))):
                continue
            compiled, predicted = found.results("compile"), found.results("predict")
            variants[variant] = {
                "log_ratio": speed.ratio.__dict__,
                "variant_median_seconds": speed.variant["median"],
                "variant_p99_seconds": speed.variant["p99"],
                "reference_median_seconds": speed.reference["median"],
                "cold_start_seconds": max((r.cold_seconds for r in compiled), default=None),
                "warm_start_seconds": max((r.load_seconds + r.first_call_seconds for r in predicted), default=None),
            }
        hashes = {"weights_hash": entry.weights_hash, "settings_hash": evidence.expected.settings_of(model)}
        models[model] = {**hashes, "variants": variants}
    return {"kind": "speed", "format": 1, "platform": evidence.expected.platform, "models": models}


def _bounds(interval: Interval) -> tuple[float, float]:
    return interval.lower, interval.upper


def describe_changes(old: AccuracyBaseline | SpeedBaseline | Refused | None, new: Mapping[str, Any]) -> list[str]:
    """What accepting would change, a line each; an empty list where only who and when differ."""
    if old is None:
        return [f"there is no {new['kind']} baseline yet"]
    if isinstance(old, Refused):
        return [f"the {new['kind']} baseline is replaced: {old.reason}"]
    if isinstance(old, AccuracyBaseline):
        return _accuracy_changes(old, new)
    return _speed_changes(old, new)


def _accuracy_changes(old: AccuracyBaseline, new: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{name.replace('_', ' ')}: {getattr(old, name)} -> {new[name]}"
        for name in ("weights_hash", "settings_hash", "horizon", "samples", "reference")
        if getattr(old, name) != new[name]
    ]
    lines += _set_changes("symbol", set(old.symbols), set(new["symbols"]))
    lines += _set_changes("variant", set(old.variants), set(new["variants"]))
    for symbol in sorted(set(old.symbols) & set(new["symbols"])):
        then, now = old.symbols[symbol].model_dump(), new["symbols"][symbol]
        if then != now:
            lines.append(f"symbol {symbol}: {then['windows']} -> {now['windows']} windows" + _other_data(then, now))
    shared = sorted(set(old.symbols) & set(new["symbols"]))
    rounded_only = []
    for variant in sorted(set(old.variants) & set(new["variants"])):
        for error in (error for error in new["variants"][variant] if error in old.variants[variant]):
            moves = [
                _move(symbol, old.variants[variant][error][symbol], new["variants"][variant][error][symbol])
                for symbol in shared
            ]
            moved = sorted((move for move in moves if move.share > ROUNDING), key=lambda move: -move.share)
            rounded_only += [move.share for move in moves if 0 < move.share <= ROUNDING]
            if moved:
                named = ", ".join(f"{m.symbol} {_relative(m.then, m.now)}" for m in moved[:NAMED])
                more = f"{len(moved)} of {len(shared)} symbols moved, the most " if len(shared) > 1 else ""
                lines.append(f"{variant}, {error}: {more}{named}")
    if rounded_only:
        count = f"{len(rounded_only)} errors of symbols" if len(rounded_only) > 1 else "1 error of a symbol"
        lines.append(f"{count} moved by rounding only, by at most {100 * max(rounded_only):.1e}%")
    return lines


@dataclass(frozen=True)
class _Move:
    """An error of a symbol then and now, on average, and the largest change of a window as a share of the average."""

    symbol: str
    then: float
    now: float
    share: float


def _move(symbol: str, then: Sequence[float], now: Sequence[float]) -> _Move:
    both = min(len(then), len(now))
    before, after = np.array(then[:both]), np.array(now[:both])
    change = float(np.abs(after - before).max())
    average = float(before.mean())
    share = change / average if average else math.inf if change else 0.0
    return _Move(symbol, average, float(after.mean()), share)


def _speed_changes(old: SpeedBaseline, new: Mapping[str, Any]) -> list[str]:
    lines = _set_changes("model", set(old.models), set(new["models"]))
    for model in sorted(set(old.models) & set(new["models"])):
        then, now = old.models[model].variants, new["models"][model]["variants"]
        lines += _set_changes(f"{model} variant", set(then), set(now))
        for variant in sorted(set(then) & set(now)):
            ratios = then[variant].log_ratio.estimate, now[variant]["log_ratio"]["estimate"]
            before, after = (f"{math.exp(-ratio):.3g}" for ratio in ratios)
            if before != after:
                lines.append(f"{model} {variant}: speedup {before} -> {after}")
    return lines


def _set_changes(what: str, old: set[str], new: set[str]) -> list[str]:
    added = [f"{what} {name}: new" for name in sorted(new - old)]
    return added + [f"{what} {name}: no longer there" for name in sorted(old - new)]


def _other_data(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return ", other data" if then["data_hash"] != now["data_hash"] else ""


def _relative(then: float, now: float) -> str:
    change = f"{100 * (now / then - 1):+.3g}%" if then else "from zero"
    return f"{then:.6g} -> {now:.6g} ({change})"
