"""The kill matrix: every seeded defect by name, kind and check, with the reason as the gate gives it.

    python -m tests.defects.page       judges the simulated ones and writes workflow/docs/defects.md

What the gate says of the real edits of `catalogue.toml` is asserted by `test_defects.py`; the page has the words.
"""

from __future__ import annotations

import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from greenlight.files import write_text
from tests.defects.simulated import SIMULATED, judged

PAGE = Path(__file__).parents[2] / "workflow" / "docs" / "defects.md"
KINDS = (
    "numerics",
    "cache",
    "sampling",
    "paths",
    "tails",
    "one symbol",
    "shared code",
    "horizon and batch",
    "timing",
    "compile",
    "evidence",
    "environment",
    "torch's own bugs",
)


INTRODUCTION = """\
# Defects that were seeded, and what caught them

{all} defects of {kinds} kinds, written by `python -m tests.defects.page` from the catalogue that the tests run. {real}
are *edits* of the code, really run (`tests/defects/catalogue.toml`), and {simulated} are put into *simulated* evidence
(`tests/defects/simulated.py`). Tests hold that each is stopped by the check beside it. The reason of a simulated one is
the gate's own, at the size of the test: 6 symbols of 5 windows, 32 samples, 40 pairs; of an edit it is what the reason
must say. Beyond these, `test_defects.py` edits code that all variants share, bfloat16, compilation and latency.

What sizes are found with 90% power depends on your symbols, windows, samples and pairs: `snakemake --cores 1 power`
says it for your configuration, the report for its run, and [verdict.md](verdict.md) what was simulated."""


@dataclass(frozen=True)
class Entry:
    """A row of the page; words: what the reason of a real edit must say, empty for a simulated one."""

    name: str
    kind: str
    check: str
    words: str
    real: bool


def entries() -> list[Entry]:
    """All of them, by kind."""
    catalogue = tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text())
    found = [Entry(name, one["kind"], one["check"], one["words"], True) for name, one in catalogue.items()]
    found += [Entry(name, one.kind, one.check, "", False) for name, one in SIMULATED.items()]
    return sorted(found, key=lambda entry: KINDS.index(entry.kind))


def page() -> str:
    """The page in Markdown."""
    found = entries()
    real = sum(entry.real for entry in found)
    lines = [INTRODUCTION.format(all=len(found), kinds=len(KINDS), real=real, simulated=len(found) - real)]
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            rows = [entry for entry in found if entry.kind == kind]
            lines += [
                f"\n## {kind.capitalize()}: {len(rows)}\n",
                "| Defect | Check | How | Reason |",
                "|---|---|---|---|",
            ]
            for number, entry in enumerate(rows):
                reason = f"says: {entry.words}" if entry.words else "–"
                if not entry.real:
                    checks = judged(SIMULATED[entry.name], Path(folder) / f"{kind}{number}")
                    reason = checks[entry.check].reason
                text = " ".join(reason.split()).replace("|", "/")
                how = "edit" if entry.real else "simulated"
                lines.append(f"| {entry.name} | `{entry.check}` | {how} | {text} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(PAGE, page())
