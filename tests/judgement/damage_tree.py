"""A good evidence tree whose files can be damaged and put right again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from greenlight.files import sha256_of
from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.evidence_builder import TOTO, Effects, Run, reseal

DEPLOYED = "static-default"
MODELS = {"toto": {name: TOTO[name] for name in ("upstream-eager", "static-eager", DEPLOYED)}}
# What the deployed variant rests on: all of its own, its partner's and the reference's but their latencies.
UNNEEDED = ("time/model=toto/variant=static-eager", "probe/model=toto/variant=upstream-eager", "expected.json")
# One seed leaves open whether the deployed variant is worse; further seeds show that it is not.
# So many paths that part are for a configuration to allow.
RULES = Rules(accuracy={"windows_differing": 0.2})
FLIPPED = {"SYM0": 1.15, "SYM1": 0.85, "SYM2": 1.15, "SYM3": 0.85}
EFFECTS = {("toto", DEPLOYED): Effects(latency=0.7, flipped=FLIPPED, replicated=(5, 0.0, 0.01))}


class Tree:
    """A good tree that can be damaged and put right again."""

    def __init__(self, folder: Path, other: Path) -> None:
        self.folder, self.other = folder, other
        self.good = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        self.needed = [path for path in self.good if not self.name(path).startswith(UNNEEDED)]

    def name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def restore(self) -> None:
        for path, content in self.good.items():
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)

    def verdict(self):
        expected = load_expected(self.folder / "expected.json")
        return judge(load_evidence(self.folder, expected), RULES, Baselines())

    def files(self, ending: str) -> list[Path]:
        return [path for path in self.needed if path.name.endswith(ending)]


def good_tree(tmp_path_factory) -> Tree:
    """A tree that passes, and beside it that of another run, for stale files."""
    folder, other = tmp_path_factory.mktemp("good"), tmp_path_factory.mktemp("other")
    Run(models=MODELS, deployed={"toto": DEPLOYED}, effects=dict(EFFECTS)).write(folder)

    def other_keys(manifest):
        for entry in manifest["models"]["toto"]["variants"].values():
            for job in entry["jobs"].values():
                job["key"] += " of another run"

    Run(models=MODELS, deployed={"toto": DEPLOYED}, seed=2, adjust=other_keys, effects=dict(EFFECTS)).write(other)
    built = Tree(folder, other)
    verdict = built.verdict()
    assert verdict.passed, verdict.reasons
    (check,) = [c for c in verdict.checks if (c.name, c.variant) == ("mae-not-worse", DEPLOYED)]
    assert check.details["seeds"] == 16
    return built


def write_consistently(tree: Tree, table: pa.Table, path: Path) -> None:
    """Write a table as a job that went wrong would have: with a record that fits it."""
    pq.write_table(table, path)

    def update(record):
        record["outputs"][tree.name(path)] = sha256_of(path)

    reseal(path.with_name("record.json"), update)
