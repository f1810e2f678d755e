"""Baselines: the accepted evidence of an earlier run, readable in a diff, one file a model and one a platform.

    config/baselines/accuracy/<model>.json      an `AccuracyBaseline`
    config/baselines/speed/<platform>.json      a `SpeedBaseline`
    config/baselines/accepted.json              {"format": 1, "files": {"accuracy/toto.json": "2026-11-20T10:00:00Z"}}
        when each was accepted: one that is listed and gone was deleted, which is refused. Who means it to be absent
        deletes its line; that stands in a diff.

A file whose content hash does not hold (edited by hand, cut off) is refused, and so is one of another model or
platform: refused is never the same as passed. One made with other weights or settings can't be compared, which blocks
too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from greenlight.files import read_json, sha256_of
from greenlight.judgement.expected import Expected, first_problem
from greenlight.judgement.seal import broken_seal
from greenlight.measures.judged import ERRORS

COMPARED = tuple(ERRORS)
ACCURACY_FORMAT = 2


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Accepted(_Document):
    """Who accepted a run, when (UTC), at which commit, and why; forced where evidence was incomplete or failed."""

    who: str
    when: str
    commit: str
    reason: str
    forced: bool


class BaselineSymbol(_Document):
    """Windows and data of a symbol when it was accepted."""

    windows: int = Field(ge=1)
    data_hash: str


NonNegative = Annotated[FiniteFloat, Field(ge=0)]


class AccuracyBaseline(_Document):
    """What a model's variants scored; `variants` holds, by variant, error and symbol, one value a window."""

    kind: Literal["accuracy"]
    format: Literal[2]
    model: str
    weights_hash: str
    settings_hash: str
    horizon: int
    samples: int
    reference: str
    symbols: dict[str, BaselineSymbol] = Field(min_length=1)
    variants: dict[str, dict[str, dict[str, list[NonNegative]]]]
    incomplete: list[str] = []
    accepted: Accepted
    content_sha256: str


class BaselineRatio(_Document):
    """Median log ratio of latency, variant over reference, with its bounds."""

    estimate: FiniteFloat
    lower: FiniteFloat
    upper: FiniteFloat
    n: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> BaselineRatio:
        if not self.lower <= self.estimate <= self.upper:
            raise ValueError(f"the estimate {self.estimate} is not within its bounds")
        return self


class BaselineSpeed(_Document):
    """Latency of a variant when it was accepted; seconds."""

    log_ratio: BaselineRatio
    variant_median_seconds: FiniteFloat = Field(gt=0)
    variant_p99_seconds: FiniteFloat = Field(gt=0)
    reference_median_seconds: FiniteFloat = Field(gt=0)
    cold_start_seconds: FiniteFloat | None = None
    warm_start_seconds: FiniteFloat | None = None


class BaselineSpeedModel(_Document):
    """Latencies of one model's variants."""

    weights_hash: str
    settings_hash: str
    variants: dict[str, BaselineSpeed]


class SpeedBaseline(_Document):
    """How fast variants were on a platform, which `platform` describes; by its "id" it is known."""

    kind: Literal["speed"]
    format: Literal[1]
    platform: dict[str, Any]
    models: dict[str, BaselineSpeedModel]
    accepted: Accepted
    content_sha256: str


@dataclass(frozen=True)
class Refused:
    """A baseline file that can't be trusted, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Baselines:
    """All baselines that concern a run.

    Attributes:
        accuracy: by model: the baseline, a refusal, or absent where nothing was accepted yet.
        speed: that of this platform; None where nothing was accepted yet.
        files: SHA-256 of each file by name, such as `accuracy/toto.json`.
    """

    accuracy: Mapping[str, AccuracyBaseline | Refused] = field(default_factory=dict)
    speed: SpeedBaseline | Refused | None = None
    files: Mapping[str, str] = field(default_factory=dict)


ACCEPTED = "accepted.json"


def accepted_files(folder: Path) -> dict[str, str] | None:
    """When each baseline was accepted, by its file; None where the list is not readable, empty where there is none."""
    try:
        raw = read_json(folder / ACCEPTED)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        return None
    files = raw.get("files") if isinstance(raw, dict) and raw.get("format") == 1 else None
    return files if isinstance(files, dict) and all(isinstance(when, str) for when in files.values()) else None


def _deleted(folder: Path, name: str) -> Refused | None:
    """A refusal where a baseline that is not there was accepted once."""
    listed = accepted_files(folder)
    if listed is None:
        return Refused(name, f"it is not there, and {ACCEPTED} is not readable, which says whether it should be")
    if name not in listed:
        return None
    return Refused(
        name,
        f"it was accepted on {listed[name]}, and is gone; restore it from git, accept a run anew, or delete its line "
        f"from {ACCEPTED} to say that there is to be none",
    )


def accuracy_file(model: str) -> str:
    """Name of a model's accuracy baseline, relative to the baselines' folder."""
    return f"accuracy/{model}.json"


def speed_file(platform_id: str) -> str:
    """Name of a platform's speed baseline; what can't stand in a file name becomes a dash."""
    return f"speed/{re.sub(r'[^A-Za-z0-9._-]+', '-', platform_id).strip('-.') or 'unnamed'}.json"


def load_baselines(folder: Path, expected: Expected) -> Baselines:
    """Read every accuracy baseline and that of this platform's speed; bad files become refusals.

    Accuracy baselines of models that are no longer expected are read too: a model that vanished is a finding.
    """
    folder = Path(folder)
    names = {path.stem for path in folder.glob("accuracy/*.json")} | set(expected.models)
    accuracy: dict[str, AccuracyBaseline | Refused] = {}
    files: dict[str, str] = {}
    for model in sorted(names):
        name = accuracy_file(model)
        found = _read(folder, name, AccuracyBaseline, files)
        if isinstance(found, AccuracyBaseline) and found.model != model:
            found = Refused(name, f"it is the baseline of {found.model!r}")
        if isinstance(found, AccuracyBaseline):
            found = _uneven(name, found) or found
        if found is not None:
            accuracy[model] = found
    speed = None
    if expected.platform_id:
        name = speed_file(expected.platform_id)
        speed = _read(folder, name, SpeedBaseline, files)
        if isinstance(speed, SpeedBaseline) and speed.platform.get("id") != expected.platform_id:
            speed = Refused(name, f"it is the baseline of the platform {speed.platform.get('id')!r}")
    return Baselines(accuracy, speed, files)


def _read(folder: Path, name: str, kind: type[_Document], files: dict[str, str]) -> Any:
    """A baseline, a refusal, or None where there is no file and none was accepted."""
    path = folder / name
    try:
        files[name] = sha256_of(path)
        raw = read_json(path)
    except FileNotFoundError:
        return _deleted(folder, name)
    except (OSError, ValueError, RecursionError):
        return Refused(name, "it is not readable as JSON (cut off or damaged)")
    if not isinstance(raw, dict):
        return Refused(name, "it is not a JSON object")
    broken = broken_seal(raw)
    if broken is not None:
        return Refused(name, f"{broken}; restore it from git, or accept a run anew")
    if kind is AccuracyBaseline and raw.get("format") == 1:
        return Refused(name, "it is of an older format, which has no RMSE; accept a run anew")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        return Refused(name, first_problem(error))


def _uneven(name: str, baseline: AccuracyBaseline) -> Refused | None:
    """A refusal where a variant's rows are not those of the baseline's own symbols and windows."""
    windows = {symbol: entry.windows for symbol, entry in baseline.symbols.items()}
    for variant, errors in baseline.variants.items():
        for error in dict.fromkeys((*COMPARED, *errors)):
            if {symbol: len(values) for symbol, values in errors.get(error, {}).items()} != windows:
                return Refused(name, f"the rows of {variant}, {error}, are not those of its symbols")
    return None


def rounded(values: Iterable[float]) -> np.ndarray:
    """Values to 12 significant digits, as baselines store them, so that the same run compares as equal."""
    return np.array([float(f"{value:.12g}") for value in values])


def baseline_text(document: Mapping[str, Any]) -> str:
    """JSON for people and diffs: sorted keys, two spaces, and each list of numbers on one line."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    number = r"-?\d[\d.eE+-]*"
    flat = re.sub(rf"\[\n\s*({number}(?:,\n\s*{number})*)\n\s*\]", _one_line, text)
    return flat + "\n"


def _one_line(match: re.Match[str]) -> str:
    return "[" + ", ".join(part.strip() for part in match.group(1).split(",")) + "]"
