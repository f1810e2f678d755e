"""The verdict's checks as rows of a report, and those that say the same told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from greenlight.report.markup import anchor
from greenlight.report.reading import at


@dataclass(frozen=True)
class CheckRow:
    """One check as verdict.json has it; see `judgement.checks.base.Check`.

    Attributes:
        id: by which the page links to it; subject: whom it concerns, in words.
    """

    id: str
    model: str
    variant: str
    subject: str
    name: str
    status: str
    severity: str
    figure: float | str | None
    limit: float | str | None
    reason: str
    blocking: bool


def _row(check: Mapping[str, Any]) -> CheckRow:
    """A check as a row; what it lacks is empty."""
    model, variant = (str(check.get(key) or "") for key in ("model", "variant"))
    name, status, severity = (str(check.get(key, "")) for key in ("name", "status", "severity"))
    figure, limit = (at(check, key, kind=(int, float, str)) for key in ("figure", "limit"))
    subject = " ".join(filter(None, (model, variant))) or "the run"
    own, blocking = anchor("check", model, variant, check.get("name")), check.get("blocking") is True
    reason = str(check.get("reason", ""))
    return CheckRow(own, model, variant, subject, name, status, severity, figure, limit, reason, blocking)


def check_rows(checks: Iterable[Mapping[str, Any]]) -> Iterator[CheckRow]:
    """Checks as rows, each with an id of its own."""
    seen: Counter[str] = Counter()
    for check in checks:
        row = _row(check)
        seen[row.id] += 1
        yield row if seen[row.id] == 1 else replace(row, id=f"{row.id}-{seen[row.id]}")


def together(checks: Iterable[CheckRow]) -> list[CheckRow]:
    """Checks, those of one subject that only lack evidence told in one row: they have one cause, told elsewhere."""
    rows: list[CheckRow] = []
    lacking: dict[tuple[str, str], int] = {}
    for check in checks:
        key = (check.subject, check.status)
        if not check.reason.startswith("no evidence"):
            rows.append(check)
        elif key in lacking:
            first = rows[lacking[key]]
            rows[lacking[key]] = replace(first, name=f"{first.name}, {check.name}", reason="no evidence")
        else:
            lacking[key] = len(rows)
            rows.append(check)
    return rows


def alike(checks: Iterable[CheckRow]) -> list[CheckRow]:
    """Checks of the same name that say the same of several subjects told in one row that names them all.

    So are those that pass, whatever their figures.
    """
    rows: dict[tuple[str, str, str], CheckRow] = {}
    for check in checks:
        same = rows.get(key := (check.name, check.status, "" if check.status == "pass" else check.reason))
        if same:
            reason = check.reason if check.reason == same.reason else "each within its limit"
            check = replace(check, subject=f"{same.subject}, {check.subject}", reason=reason)
        rows[key] = check
    return list(rows.values())
