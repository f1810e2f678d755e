"""Archived runs as a table, a row a run and model, each next to the run before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greenlight.report.archive import read_archived
from greenlight.report.reading import at
from greenlight.report.variants import VariantRow, variant_row


@dataclass(frozen=True)
class ModelRun:
    """One model in one archived run; `row` is that of the variant that was judged, None where none passed."""

    folder: str
    time: str
    commit: str
    verdict: str
    variant: str
    row: VariantRow | None

    @property
    def mae_percent(self) -> float | None:
        """MAE in percent of price."""
        return self.row.mae_percent.value if self.row and self.row.mae_percent else None

    @property
    def speedup(self) -> float | None:
        """Speedup over the reference; 1 where the reference itself was judged."""
        if self.row is None:
            return None
        if self.row.is_reference:
            return 1.0
        return self.row.speedup.value if self.row.speedup else None

    @property
    def median_seconds(self) -> float | None:
        """p50 of one call in seconds."""
        return self.row.median_seconds if self.row else None


@dataclass(frozen=True)
class Line:
    """A run with its changes against the run before that has the figure, as shares."""

    run: ModelRun
    mae_change: float | None
    speedup_change: float | None
    median_change: float | None


@dataclass(frozen=True)
class History:
    """All archived runs.

    Attributes:
        models: by model, its runs, oldest first.
        broken: (folder, what is wrong) of archived runs that can't be trusted.
        runs: number of folders that can.
    """

    models: dict[str, list[ModelRun]]
    broken: list[tuple[str, str]]
    runs: int

    def lines(self, model: str) -> list[Line]:
        """The table of a model, newest first."""
        runs = self.models[model]
        return [
            Line(run, *(_change(runs[:place], run, name) for name in ("mae_percent", "speedup", "median_seconds")))
            for place, run in enumerate(runs)
        ][::-1]


def _change(before: Sequence[ModelRun], run: ModelRun, name: str) -> float | None:
    now = getattr(run, name)
    then = next((value for other in reversed(before) if (value := getattr(other, name)) is not None), None)
    return None if now is None or not then else now / then - 1


def read_history(archive: Path) -> History:
    """Read every archived run, oldest first; a folder that can't be trusted is listed, not used."""
    models: dict[str, list[ModelRun]] = {}
    broken, runs = [], []
    for folder in sorted(archive.glob("*")) if archive.is_dir() else []:
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        try:
            runs.append((folder.name, read_archived(folder)))
        except ValueError as error:
            broken.append((folder.name, str(error)))
    runs.sort(key=lambda run: (str(run[1]["manifest"].get("time")), len(run[0]), run[0]))
    for name, found in runs:
        manifest, verdict = found["manifest"], found["verdict"]
        for model, entry in at(verdict, "models", kind=dict, default={}).items():
            variant = at(entry, "decision", "judged", kind=str, default="")
            reference = at(found["expected"], "models", model, "reference", kind=str)
            row = variant_row(verdict, model, variant, reference) if variant else None
            words = (str(manifest.get(key, "")) for key in ("time", "commit", "verdict"))
            models.setdefault(model, []).append(ModelRun(name, *words, variant, row))
    return History(dict(sorted(models.items())), broken, len(runs))
