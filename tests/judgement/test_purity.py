"""Judgement is pure: no torch, no clock, no chance."""

from __future__ import annotations

import os
import subprocess
import sys

from greenlight.files import json_text
from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.evidence_builder import KRONOS, Run

CHILD = """
import sys
from pathlib import Path
from greenlight.files import json_text
from greenlight.judgement.accept import build_baselines
from greenlight.judgement.baseline import load_baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules

folder = Path(sys.argv[1])
expected = load_expected(folder / "expected.json")
verdict = judge(load_evidence(folder, expected), Rules(), load_baselines(folder / "none", expected))
foreign = ("torch", "greenlight_forecasters", "greenlight.watch", "greenlight.trials", "snakemake")
heavy = [name for name in foreign if name in sys.modules]
assert not heavy, heavy
sys.stdout.write(json_text(verdict.to_dict()))
"""


def test_the_same_evidence_gives_the_same_bytes_in_any_process_and_folder_without_torch(tmp_path):
    texts = []
    for name, seed in (("here", "1"), ("there", "2")):
        folder = Run(models={"kronos": KRONOS}).write(tmp_path / name)
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder)],
            capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert child.returncode == 0, child.stderr.decode()[-2000:]
        texts.append(child.stdout.decode())
    assert len(set(texts)) == 1 and '"gate": "pass"' in texts[0]


def test_judging_changes_neither_evidence_nor_files(tmp_path):
    folder = Run(models={"kronos": KRONOS}).write(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    evidence = load_evidence(folder, load_expected(folder / "expected.json"))

    first, second = (json_text(judge(evidence, Rules(), Baselines()).to_dict()) for _ in range(2))
    assert first == second
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
