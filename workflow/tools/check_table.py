"""The list of checks in the docs, from the registry.

python -m tools.check_table       writes it between the marks in workflow/docs/verdict.md
"""

from __future__ import annotations

from pathlib import Path

from greenlight.files import write_text
from greenlight.judgement.registry import CHECKS

PAGE = Path(__file__).parents[1] / "docs" / "verdict.md"
BEGIN, END = "<!-- the list of checks: python -m tools.check_table -->", "<!-- end of the list -->"


def table() -> str:
    """A Markdown table, a row a check, in the order in which checks are reported."""
    lines = ["| Check | Asks | Rests on | Unit of figure and limit | By default |", "|---|---|---|---|---|"]
    for row in CHECKS:
        stages = "all stages" if len(row.stages) > 4 else ", ".join(row.stages)
        lines.append(f"| `{row.name}` | {row.asks} | {stages} | {row.unit or '–'} | `{row.severity}` |")
    return "\n".join(lines)


def with_table(page: str) -> str:
    """A page with the table of today between its marks; ValueError where it has no marks."""
    head, _, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE.name} has no marks {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8")))
