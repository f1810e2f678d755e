"""The rules that say what is done about a problem in a CSV, and the findings that say what was done."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

LINES_SHOWN = 20
# Rules that lose rows; and so few rows that a tenth of them says nothing.
_LOSING = ("drop-row", "keep-first", "keep-last")
_FEW = 5


class RepairRules(BaseModel):
    """One rule a problem, `data.repair` in the configuration; `refuse` stops the run and names the lines.

    The defaults repair nothing but the order of rows: a clean export passes, the rest is the user's choice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    unparseable_dates: Literal["refuse", "drop-row"] = "refuse"
    """A date that is empty, not a date, or ambiguous."""
    ragged_rows: Literal["refuse", "drop-row"] = "refuse"
    """A row with fewer or more cells than the header, such as a truncated last line."""
    empty_cells: Literal["refuse", "drop-row", "forward-fill"] = "refuse"
    """An empty price; forward-fill puts the close of the row before it in its place."""
    non_numeric_cells: Literal["refuse", "drop-row"] = "refuse"
    """A price that is not a number."""
    invalid_volume: Literal["refuse", "set-unknown"] = "refuse"
    """A volume that is negative or not a number; an empty one is unknown."""
    row_order: Literal["sort", "refuse"] = "sort"
    """Rows in no order of time; oldest first and newest first are no problem."""
    identical_rows: Literal["refuse", "keep-first"] = "refuse"
    """A time that occurs more than once, with the same values each time."""
    duplicate_times: Literal["refuse", "keep-first", "keep-last"] = "refuse"
    """A time that occurs more than once, with different values; first and last in the file."""
    non_positive_prices: Literal["refuse", "drop-row"] = "refuse"
    """A price of 0 or below."""
    high_below_low: Literal["refuse", "drop-row", "swap"] = "refuse"
    """A high below its low; swap takes the one for the other."""
    outside_range: Literal["report", "refuse", "drop-row", "widen"] = "report"
    """An open or close outside low to high, as some exports have; widen moves low or high."""
    gaps: Literal["report", "refuse", "forward-fill"] = "report"
    """Missing rows within the series' own week; holidays are such gaps. forward-fill adds rows at the close before,
    with volume 0."""
    missing_prices: Literal["refuse", "use-close"] = "refuse"
    """No column for open, high or low; use-close puts the close in its place."""
    adjusted_prices: Literal["ignore", "use"] = "ignore"
    """Adjusted columns beside plain ones; use takes them, or scales by Adj Close / Close."""


@dataclass(frozen=True)
class Finding:
    """Something about a file that the user should know.

    Attributes:
        kind: name of the rule in RepairRules, or of a note.
        count: number of rows concerned.
        lines: the first of their line numbers in the file, 1-based, at most LINES_SHOWN.
        detail: what was found.
        action: what was done about it; the rule's value where a rule applies.
    """

    kind: str
    count: int
    lines: list[int]
    detail: str
    action: str


@dataclass
class Findings:
    """The findings of one file, and whether it is refused.

    Attributes:
        rules: the rules in force.
        rows: rows below the header; no rule is offered that would drop or merge more than a tenth of them.
        found: findings in the order in which they were made.
        refused: what refuses the file, a line each.
    """

    rules: RepairRules
    rows: int = 0
    found: list[Finding] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def note(self, kind: str, detail: str, action: str, lines: Iterable[int] = ()) -> Finding:
        """Record something that no rule is asked about."""
        listed = list(lines)
        first = [int(line) for line in heapq.nsmallest(LINES_SHOWN, listed)]
        finding = Finding(kind, len(listed), first, detail, action)
        self.found.append(finding)
        return finding

    def settle(self, kind: str, lines: Iterable[int], detail: str, remedy: str = "") -> str:
        """Record a problem and return the rule for it; a refusal is raised later, with all the others.

        Args:
            remedy: what mends it, where it is not the rule of its kind.
        """
        rule = getattr(self.rules, kind)
        if rule == "refuse":
            self.refuse(kind, lines, detail, remedy)
        else:
            self.note(kind, detail, rule, lines)
        return rule

    def refuse(self, kind: str, lines: Iterable[int], detail: str, remedy: str = "") -> None:
        """Record a problem that refuses the file, whatever the rule of its kind is."""
        finding = self.note(kind, detail, "refuse", lines)
        where = f"{lines_text(finding.lines, finding.count)}: " if finding.lines else ""
        self.refused.append(f"{where}{detail}. {remedy or self._rules_for(finding)}")

    def refusal(self) -> str | None:
        """The refused problems as text, one a line, or None where there are none."""
        return "\n".join(f"  {line}" for line in self.refused) or None

    def _rules_for(self, finding: Finding) -> str:
        known = get_args(RepairRules.model_fields[finding.kind].annotation)
        choices = [rule for rule in known if rule not in ("refuse", getattr(self.rules, finding.kind))]
        if finding.count > max(self.rows / 10, _FEW):
            choices = [rule for rule in choices if rule not in _LOSING]
        if not choices:
            return f"Mend the file; these are {finding.count} of {self.rows} rows, too many to drop"
        return f"Mend the file, or set data.repair.{finding.kind} to {' or '.join(choices)}"


def lines_text(lines: list[int], count: int) -> str:
    """Line numbers in words, such as `line 7` or `lines 3, 7-9 and 30 more`."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    more = f" and {count - len(lines)} more" if count > len(lines) else ""
    return f"line{'s' if count > 1 else ''} {text}{more}"
