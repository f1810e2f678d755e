"""The kill matrix: every seeded defect by name, kind and check, with the reason as the gate gives it.

    python -m tests.defects.page       judges the simulated ones, runs own code, writes workflow/docs/defects.md

What the gate says of the real edits of `catalogue.toml`, and from which size on defects are found, is what
`python -m tests.defects.record` found.
"""

from __future__ import annotations

import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from greenlight.files import write_text
from tests.defects.own_code import OWN_CODE
from tests.defects.record import recorded
from tests.defects.simulated import SIMULATED, judged
from tests.defects.sizes import sizes_by_row
from tests.defects.test_own_code import checks_of_plugin

CATALOGUE = tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text())
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
    "predictors",
)


INTRODUCTION = """\
# Defects that were seeded, and what caught them

{all} defects of {kinds} kinds, written by `python -m tests.defects.page` from the catalogue that the tests run. {real}
are *edits* of the code, really run (`tests/defects/catalogue.toml`), {own} are *own code*, edits of somebody's own
plug-in that draws random numbers of its own and has no golden forecasts, really run too (`tests/defects/own_code.py`: 6
symbols of 3 windows, 16 replicates of 16 samples), and {simulated} are put into *simulated* evidence
(`tests/defects/simulated.py`). Tests hold that each is stopped by the check beside it. Reasons are the gate's own
words: of an edit as `python -m tests.defects.record` recorded them when it ran the edit (6 symbols of 1 window, 8
samples), or, before it has, what they must say (*says*); of a simulated one at the size of the test (6 symbols of 5
windows, 32 samples, 40 pairs). Beyond these, `test_defects.py` edits code that all variants share,
bfloat16, compilation and latency.

Where a defect has a size, *found from* is the smallest one, to a fifth, that is found with 90% power: at least 18 of 20
seeds (1 to 20) of evidence simulated with it are stopped by the check (`tests/defects/sizes.py`); one is enough where
nothing is drawn. It is of those 6 symbols of 5 windows, 32 samples, and 40 pairs with 3% jitter. Other sizes depend on
your symbols, windows, samples and pairs: `snakemake --cores 1 power` says it for your configuration, the report for its
run, and [verdict.md](verdict.md) what was simulated."""

DRAWN = """\

## Random numbers of its own

An implementation that draws in another order than the reference (Toto `static`) can't be compared path by path. Found
from, beside the reference's paths, by ranks within each window (`judgement/drawn_windows.py`), 32 paths of 5 windows of
each of 6 symbols in both arms; what concerns all symbols, over all of them (`judgement/drawn_pooled.py`), of 128 paths,
as the probe draws with 16 samples:
"""


@dataclass(frozen=True)
class Entry:
    """A row of the page."""

    name: str
    kind: str
    check: str
    how: str


def entries() -> list[Entry]:
    """All of them, by kind."""
    found = [Entry(name, one["kind"], one["check"], "edit") for name, one in CATALOGUE.items()]
    found += [Entry(name, one.kind, one.check, "own code") for name, one in OWN_CODE.items()]
    found += [Entry(name, one.kind, one.check, "simulated") for name, one in SIMULATED.items()]
    return sorted(found, key=lambda entry: KINDS.index(entry.kind))


def page() -> str:
    """The page in Markdown."""
    found, known = entries(), recorded()
    sizes = sizes_by_row(known["sizes"]["found"])
    counts = {"real": len(CATALOGUE), "own": len(OWN_CODE), "simulated": len(SIMULATED)}
    lines = [INTRODUCTION.format(all=len(found), kinds=len(KINDS), **counts)]
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            rows = [entry for entry in found if entry.kind == kind]
            lines += [
                f"\n## {kind.capitalize()}: {len(rows)}\n",
                "| Defect | Check | How | Reason | Found from |",
                "|---|---|---|---|---|",
            ]
            for number, entry in enumerate(rows):
                if entry.how == "edit":
                    found_then = known["reasons"].get(entry.name)
                    reason = found_then["reason"] if found_then else f"says: {CATALOGUE[entry.name]['words']}"
                elif entry.how == "own code":
                    (place := Path(folder) / f"{kind}{number}").mkdir()
                    reason = checks_of_plugin(place, OWN_CODE[entry.name].text())[entry.check].reason
                else:
                    checks = judged(SIMULATED[entry.name], Path(folder) / f"{kind}{number}")
                    reason = checks[entry.check].reason
                text = " ".join(reason.split()).replace("|", "/")
                lines.append(
                    f"| {entry.name} | `{entry.check}` | {entry.how} | {text} | {sizes.pop(entry.name, '–')} |"
                )
    lines += [DRAWN, *(f"- {name}: {size}" for name, size in sizes.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(PAGE, page())
