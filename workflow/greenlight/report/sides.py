"""The two sides of `compare`: what each run left, read from its results folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from greenlight.files import read_parquet
from greenlight.judgement.a_against_b import ERROR_COLUMNS, Name
from greenlight.judgement.registry import NAMES
from greenlight.layout import Layout
from greenlight.measures.judged import OF_RETURNS
from greenlight.report.reading import Reader, at
from greenlight.report.variants import VariantRow, gate_word, variant_row

_BANDS = ("q10", "q50", "q90", "mean")


@dataclass
class Side:
    """One of the two.

    Attributes:
        name: `a` or `b`; label: what was named, and its hash.
        layout: its results.
        own: by the name that both share, (model, variant), the variant in its results.
        rows: what its verdict says, by the shared name.
        checks: names of the checks that stop it, with their status; those that rest on time are left out.
        asked: by the shared name and check, whether it failed each time it was asked again.
        seconds: by the shared name, the median seconds of a call in each round.
        problems: what could not be read of its results, a sentence each.
    """

    name: str
    label: str
    layout: Layout
    own: Mapping[Name, str]
    rows: dict[Name, VariantRow] = field(default_factory=dict)
    checks: dict[Name, dict[str, str]] = field(default_factory=dict)
    asked: dict[tuple[Name, str], list[bool]] = field(default_factory=dict)
    seconds: dict[Name, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def read_verdict(self) -> bool:
        """Read what its gate found, before rounds take the verdict back; whether it is one that can be trusted."""
        reader = Reader(self.layout.root)
        verdict = reader.json(self.layout.verdict, sealed=True)
        expected = reader.json(self.layout.expected)
        for (model, shared), own in self.own.items():
            reference = at(expected, "models", model, "reference", kind=str, default="")
            self.rows[model, shared] = variant_row(verdict, model, own, reference)
            self.checks[model, shared] = _blocking(verdict, model, own)
        self.problems = [f"{self.name}: {problem}" for problem in reader.problems]
        return bool(verdict) and gate_word(verdict) != "unknown"

    def read_again(self, checks: Iterable[tuple[Name, str]]) -> bool:
        """Add how these checks ended in a verdict that was made again; whether it is one that can be trusted."""
        verdict = Reader(self.layout.root).json(self.layout.verdict, sealed=True)
        for name, check in checks:
            failed = _blocking(verdict, name[0], self.own[name]).get(check) == "fail"
            self.asked.setdefault((name, check), []).append(failed)
        return bool(verdict)

    def read_round(self) -> None:
        """Add the medians of what was just timed, the reference's over all pairs; NaN where there are none."""
        references: dict[str, list[np.ndarray]] = {}
        for (model, shared), own in self.own.items():
            if (path := self.layout.pairs(model, own)).is_file():
                table = read_parquet(path)
                kept = ~table.column("control").to_numpy(zero_copy_only=False).astype(bool)
                arms = [table.column(f"{arm}_seconds").to_numpy()[kept] for arm in ("variant", "reference")]
                self.seconds.setdefault((model, shared), []).append(_median(arms[0]))
                references.setdefault(model, []).append(arms[1])
        for (model, shared), row in self.rows.items():
            if row.is_reference and model in references:
                self.seconds.setdefault((model, shared), []).append(_median(np.concatenate(references[model])))

    def scores(self, name: Name) -> tuple[dict[str, np.ndarray], list[tuple[str, int]]] | None:
        """ERROR_COLUMNS, and errors of returns if there are any, by window; and the windows, sorted. None if none."""
        path = self.layout.window_scores(name[0], self.own[name])
        if not path.is_file():
            return None
        table = read_parquet(path).sort_by([("symbol", "ascending"), ("window", "ascending")])
        places = zip(table.column("symbol").to_pylist(), table.column("window").to_pylist(), strict=True)
        of_returns = [name for name in OF_RETURNS if name in table.column_names]  # an older commit has none
        columns = [*ERROR_COLUMNS, *(name for name in of_returns if not table.column(name).null_count)]
        return {name: table.column(name).to_numpy().astype(float) for name in columns}, list(places)

    def forecast(self, name: Name, symbol: str) -> Any:
        """The table of forecasts of a symbol; None where there is none."""
        path = self.layout.forecast(name[0], self.own[name], symbol)
        return read_parquet(path).sort_by([("window", "ascending"), ("step", "ascending")]) if path.is_file() else None


def _blocking(verdict: Any, model: str, variant: str) -> dict[str, str]:
    """Status by name of the checks that stop a variant, and that no pair of calls in turn answers better."""
    return {
        str(check["name"]): str(at(check, "status"))
        for check in at(verdict, "checks", kind=list, default=[])
        if (at(check, "model"), at(check, "variant")) == (model, variant)
        if at(check, "blocking") is True
        if (name := str(at(check, "name"))) not in NAMES or NAMES[name].other != "machine"
    }


def _median(seconds: np.ndarray) -> float:
    return float(np.median(seconds)) if len(seconds) else np.nan


def forecasts_differ(a: Side, b: Side, name: Name, symbols: list[str]) -> tuple[float, str] | None:
    """(largest difference of a quantile or mean, as a share of the price, and where); None where one is missing."""
    largest, where = 0.0, ""
    for symbol in symbols:
        tables = [side.forecast(name, symbol) for side in (a, b)]
        if any(table is None for table in tables) or tables[0].num_rows != tables[1].num_rows:
            return None
        price = np.abs(tables[0].column("actual").to_numpy()) + 1e-300
        for column in _BANDS:
            first, second = (table.column(column).to_numpy() for table in tables)
            differs = np.abs(second - first) / price
            if not np.isfinite(differs).all():
                return None
            if differs.size and differs.max() > largest:
                row = int(differs.argmax())
                windows, steps = (tables[0].column(key).to_pylist() for key in ("window", "step"))
                largest, where = float(differs[row]), f"{symbol}, window {windows[row]}, step {steps[row]}, {column}"
    return largest, where
