"""Faults made at random from a seed, each tried in this process: what a user, a disk or a stranger may leave behind.

A case ends as `fine` (it went on as if nothing were), `said` (one clear message, or a verdict that does not pass), or
`not so` (a traceback, a hang, a wrong pass): the last is what a campaign looks for.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import string
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.errors import UserError
from greenlight.judgement.baseline import load_baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from greenlight.layout import Layout
from greenlight.run.boundary import check_paths, check_results
from greenlight.run.deployment import Deployment, deploy_text
from greenlight.run.jobs import Plan
from greenlight.run.ledger import read_entry
from greenlight.run.stages.gate import summary
from greenlight.settings import load_settings
from tests.judgement.damage_tree import Tree, good_tree
from tests.workflow.project import ROOT, SMALL

STRANGE = [
    None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", " ", "~", ".", "-x", "../..", "{word}", "a\nb",
    "\x1b[31m", "ß" * 300, "$(touch harm)", [], {}, [[]], {"x": {}}, "1", "all", "static-default",
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a case ended, and what was tried, for the table."""

    kind: str
    ended: str
    tried: str


def attempt(kind: str, tried: str, run: Callable[[], str]) -> Outcome:
    """Run a case, which returns `fine`, `said` or what is not so."""
    try:
        ended = run()
    except UserError as error:
        ended = "said" if str(error).strip() and "Traceback" not in str(error) else "an empty message"
    except Exception as error:  # whatever it is, it is what a campaign looks for
        ended = f"{type(error).__name__}: {error}"
    return Outcome(kind, ended if ended in ("fine", "said") else f"not so: {ended}", tried)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, (dict, list)) and value:
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from _places(value[key], (*path, key))


def mutated(value: Any, chance: random.Random) -> tuple[Any, str]:
    """A copy of a JSON value with one thing changed, and what that was."""
    copy = deepcopy(value)
    *parents, last = chance.choice(list(_places(copy)))
    inner = copy
    for key in parents:
        inner = inner[key]
    how = chance.choice(["set", "set", "drop", "add"])
    where = ".".join(map(str, (*parents, last)))
    if how == "drop":
        del inner[last]
        return copy, f"{where} dropped"
    strange = chance.choice(STRANGE)
    if how == "add" and isinstance(inner, dict):
        inner[f"{last}x"] = strange
        return copy, f"{where}x added as {strange!r}"
    inner[last] = strange
    return copy, f"{where} set to {strange!r}"


def damaged(content: bytes, chance: random.Random) -> tuple[bytes, str]:
    """Bytes that are cut off, doubled, overwritten or emptied, and how."""
    how = chance.choice(["cut", "flip", "zeros", "empty", "doubled", "noise"])
    place = chance.randrange(max(1, len(content)))
    if how == "cut":
        return content[:place], f"cut off at byte {place}"
    if how == "flip" and content:
        return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :], (
            f"a bit turned at byte {place}"
        )
    if how == "zeros":
        return content[:place] + bytes(len(content) - place), f"zeros from byte {place}"
    if how == "doubled":
        return content * 2, "doubled"
    if how == "noise":
        return chance.randbytes(200), "noise in its place"
    return b"", "emptied"


class Faults:
    """Cases of every kind; one object a campaign, because a good tree of evidence takes a second to make."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.number = 0
        self.tree: Tree = good_tree(self)  # it asks for folders as pytest's factory gives them
        assert self.tree.verdict().passed
        self.kinds = {
            "configuration": self.configuration,
            "price file": self.price_file,
            "evidence": self.evidence,
            "ledger": self.ledger,
            "baseline": self.baseline,
            "link": self.link,
            "verdict": self.verdict,
            "deploy.env": self.deploy,
        }

    def mktemp(self, name: str) -> Path:
        """A new folder."""
        self.number += 1
        folder = self.folder / f"{name}{self.number}"
        folder.mkdir(parents=True)
        return folder

    def configuration(self) -> Outcome:
        """A configuration with something strange in it: planned, or refused in words."""
        config, tried = mutated(SMALL, self.chance)

        def run() -> str:
            settings = load_settings(config, ["small.json"])
            list(Plan(settings, {"A": Path(__file__)}, "cpu", "cpu").all_jobs())
            return "fine"

        return attempt("configuration", tried, run)

    def price_file(self) -> Outcome:
        """A damaged export: read, or refused in words."""
        good = self.chance.choice(sorted((ROOT / "trainingdata").glob("*.csv")))
        head = b"".join(good.read_bytes().splitlines(keepends=True)[:200])
        content, tried = damaged(head, self.chance)
        file = self.mktemp("prices") / "X.csv"
        file.write_bytes(content)

        def run() -> str:
            read_series(file, RepairRules(), 10)
            return "fine"

        return attempt("price file", f"{good.name} {tried}", run)

    def evidence(self) -> Outcome:
        """A damaged file of evidence: never a pass."""
        path = self.chance.choice(self.tree.needed)
        content, tried = damaged(path.read_bytes(), self.chance)
        if gone := self.chance.random() < 0.1:
            path.unlink()
        else:
            path.write_bytes(content)

        def run() -> str:
            same = not gone and content == self.tree.good[path]
            passed = self.tree.verdict().passed
            return "fine" if passed and same else "a wrong pass" if passed else "said"

        try:
            return attempt("evidence", f"{self.tree.name(path)} {'gone' if gone else tried}", run)
        finally:
            self.tree.restore()

    def ledger(self) -> Outcome:
        """A damaged entry of the ledger: the job is stale."""
        layout = Layout(self.mktemp("ledger"))
        entry = layout.entry("gate")
        entry.parent.mkdir(parents=True)
        good = json.dumps({"job": {"stage": "gate"}, "outputs": {}, "upstream": {}, "modules": {}}).encode()
        content, tried = damaged(good, self.chance)
        entry.write_bytes(content)
        return attempt("ledger", tried, lambda: "fine" if read_entry(layout, "gate") else "said")

    def baseline(self) -> Outcome:
        """A changed baseline, of another schema or damaged: judged without a traceback, or refused in words."""
        good = self.chance.choice(sorted((ROOT / "config" / "baselines").rglob("*.json")))
        folder = self.mktemp("baselines")
        target = folder / good.relative_to(ROOT / "config" / "baselines")
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.chance.random() < 0.5:
            document, tried = mutated(json.loads(good.read_text()), self.chance)
            target.write_text(json.dumps(document))
        else:
            content, tried = damaged(good.read_bytes(), self.chance)
            target.write_bytes(content)

        def run() -> str:
            expected = load_expected(self.tree.folder / "expected.json")
            stored = load_baselines(folder, expected)
            judge(load_evidence(self.tree.folder, expected), Rules(), stored)
            return "said"

        return attempt("baseline", f"{good.name} {tried}", run)

    def link(self) -> Outcome:
        """A link or pipe somewhere in a results folder: refused, and what it points to is whole."""
        outside = self.mktemp("outside")
        (outside / "file").write_text("mine")
        root = self.mktemp("results")
        parts = self.chance.choice(["jobs", "compile/model=toto", "trials/x/y", "deploy", ".run.lock", "verdict.json"])
        place = root / parts
        place.parent.mkdir(parents=True, exist_ok=True)
        kind = self.chance.choice(["folder", "file", "pipe", "device", "loop"])
        if kind == "pipe":
            os.mkfifo(place)
        else:
            targets = {"folder": outside, "file": outside / "file", "device": Path("/dev/zero"), "loop": place}
            place.symlink_to(targets[kind])

        def run() -> str:
            for check in (lambda: check_results(root), lambda: check_paths(root, [place / "x"])):
                try:
                    check()
                except UserError:
                    continue
                if kind != "loop":
                    return "followed"
            return "said" if (outside / "file").read_text() == "mine" else "what it points to was changed"

        return attempt("link", f"{kind} at {parts}", run)

    def verdict(self) -> Outcome:
        """A changed verdict: the gate does not pass."""
        layout = Layout(self.mktemp("gate"))
        content = json.dumps(
            {"gate": "pass", "reasons": [], "models": {"toto": {"gate": "pass"}}, "checks": []}
        ).encode()
        content, tried = damaged(content, self.chance) if self.chance.random() < 0.7 else (content, "without a seal")
        layout.verdict.write_bytes(content)
        return attempt("verdict", tried, lambda: "a wrong pass" if summary(layout)[0] else "said")

    def deploy(self) -> Outcome:
        """A failed verdict with strange reasons and folders: sourced, it turns all off and runs nothing."""
        folder = self.mktemp("deploy")
        letters = string.printable + "'\"`$\\\x1b\u202e€"
        reason = "".join(self.chance.choices(letters, k=60)) + "$(touch harm)`touch harm`\ntouch harm"
        chosen = {"toto": "upstream-default", "chronos-2": None}
        place = folder / reason.replace("/", "").replace("\0", "")[:80]
        text = deploy_text(Deployment("fail", chosen, "now", "abc", reasons=[reason], bundle=place))
        (folder / "deploy.env").write_text(text)

        def run() -> str:
            done = subprocess.run(
                ["sh", "-c", '. ./deploy.env; echo "$TOTO_COMPILE$TOTO_DISABLE_COMPILE $GREENLIGHT_VERDICT"'],
                cwd=folder, env={"PATH": os.environ["PATH"], "TOTO_COMPILE": "1"},
                capture_output=True, text=True, timeout=20,
            )  # fmt: skip
            if (folder / "harm").exists():
                return "code of a reason was run"
            return "said" if done.stdout == "01 fail\n" else f"sourced to {done.stdout!r} {done.stderr!r}"

        return attempt("deploy.env", repr(reason[:30]), run)

    def run(self, cases: int) -> Iterator[Outcome]:
        """So many cases, each kind in turn."""
        names = list(self.kinds)
        for number in range(cases):
            yield self.kinds[names[number % len(names)]]()
            for left in self.folder.glob("[dloprbg]*[0-9]"):
                if left not in (self.tree.folder, self.tree.other) and not left.name.startswith(("good", "other")):
                    shutil.rmtree(left, ignore_errors=True)
