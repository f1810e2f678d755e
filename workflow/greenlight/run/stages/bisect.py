"""bisect: the first commit at which a check of the gate no longer holds, of this project or of a model's code.

Every commit is run by the whole gate in a clone, with its results kept; git says which comes next. What is known of a
commit is kept too, so that a search that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from greenlight.errors import UserError, say
from greenlight.files import read_json, write_json
from greenlight.layout import Layout
from greenlight.provenance import digest
from greenlight.report.reading import Reader, at
from greenlight.report.variants import gate_word, variant_row
from greenlight.run.command import Answer, run_target
from greenlight.run.elsewhere import (
    UNCOMMITTED,
    clone_of,
    commit_of,
    copies_config,
    git,
    nested_config,
    run_there,
    within_run,
)
from greenlight.settings import Settings, load_settings
from greenlight.target_settings import BisectSettings

# What git is told of a commit: an answer that is none, such as an inconclusive one, is skipped.
ANSWERS = {"pass": "good", "fail": "bad"}
# What the searched copy of a model's code is called as an implementation.
COPY = "bisected"
_FIRST = re.compile(r"^([0-9a-f]{40}) is the first bad commit", re.MULTILINE)


def bisect(config: dict[str, Any], files: list[str]) -> str:
    """Search; what was found."""
    settings = load_settings(config, files)
    asked = settings.bisect
    _check(asked, settings)
    own = Path(git(Path.cwd(), "rev-parse", "--show-toplevel"))
    searched = own
    if asked.repository is not None:
        place = Path(asked.repository).expanduser()
        if not place.is_dir():
            raise UserError(f"bisect.repository: there is no folder {place}; expected a git checkout of a model's code")
        searched = Path(git(place, "rev-parse", "--show-toplevel"))
    ends = {end: commit_of(searched, str(getattr(asked, end)), f"bisect.{end}") for end in ("good", "bad")}
    layout = Layout(Path(settings.results_folder))
    with within_run(layout), contextlib.ExitStack() as stack:
        clone = stack.enter_context(clone_of(searched, ends["bad"]))
        gate, theirs = clone, config
        if searched != own:
            gate = stack.enter_context(clone_of(own, commit_of(own, UNCOMMITTED, "bisect")))
            theirs = copies_config(config, str(asked.model), {COPY: clone})
            load_settings(theirs, [])
        question = _Question(theirs, settings, layout, own, clone, gate)
        question.recall(config)
        return search(clone, ends, question)


def _check(asked: BisectSettings, settings: Settings) -> None:
    if asked.good is None or asked.bad is None:
        raise UserError(
            "bisect: expected a commit at which the check holds and a later one at which it does not, such as --config "
            f"bisect='{{good: HEAD~20, bad: HEAD}}', found good: {asked.good}, bad: {asked.bad}"
        )
    models = [name for name, _ in settings.models.items()]
    if asked.model is not None and asked.model not in models:
        raise UserError(f"bisect.model: {asked.model!r}, expected one of {', '.join(models)}")
    if asked.model is None and (asked.variant is not None or asked.repository is not None):
        raise UserError("bisect.model: which model is meant? bisect.variant and bisect.repository need it")


class _Question:
    """What is asked of a commit, with the answers that are known from before."""

    def __init__(
        self, config: dict[str, Any], settings: Settings, layout: Layout, own: Path, clone: Path, gate: Path
    ) -> None:
        self.config, self.asked, self.layout = config, settings.bisect, layout
        self.own, self.clone, self.gate = own, clone, gate
        self.file = layout.elsewhere("bisect", "answers.json")
        self.key, self.known, self.before = "", dict[str, str](), dict[str, Any]()

    def recall(self, config: dict[str, Any]) -> None:
        """Read the answers to the same question under a configuration, the clone's own folders left out."""
        asked = self.asked.model_dump(mode="json", exclude={"good", "bad"})
        configured = nested_config(config, self.own, self.layout.root)
        self.key = digest({"asked": asked, "config": configured, "gate": self._gate()})
        try:
            found = read_json(self.file)
        except (OSError, ValueError):
            return
        if isinstance(found, dict):
            self.before, self.known = found, found.get(self.key, {})

    def _gate(self) -> str:
        """The content of the gate where it is not what is searched."""
        return "" if self.gate == self.clone else git(self.gate, "rev-parse", "HEAD^{tree}")

    def results(self, commit: str) -> Path:
        """Where the results of a commit are kept."""
        return self.layout.elsewhere("bisect", commit[:12])

    def __call__(self, commit: str) -> str:
        """pass, fail, inconclusive, or that there was no answer."""
        if commit in self.known:
            return self.known[commit]
        git(self.clone, "checkout", "--quiet", "--force", "--detach", commit)
        say(f"the whole gate at {commit[:10]}")
        results = self.results(commit)
        Layout(results).verdict.unlink(missing_ok=True)  # only this run may answer, not one that it could not begin
        code = run_there(self.gate, nested_config(self.config, self.own, results))
        answer = answer_of(Layout(results), self.asked) if code in (0, 1) else "no verdict"
        say(f"{commit[:10]}: {answer}")
        if answer in (*ANSWERS, "inconclusive"):  # a run that was stopped has no verdict
            self.known[commit] = answer
            write_json(self.file, self.before | {self.key: self.known})
        return answer


def answer_of(layout: Layout, asked: BisectSettings) -> str:
    """What a verdict says of a check: fail if it fails anywhere, pass only if it passes everywhere it was asked for."""
    reader = Reader(layout.root)
    verdict = reader.json(layout.verdict, sealed=True)
    if not verdict:
        return "no verdict"
    if asked.check is None:
        return _together(_verdicts(verdict, asked))
    return _together(
        str(at(check, "status"))
        for check in at(verdict, "checks", kind=list, default=[])
        if at(check, "name") == asked.check and asked.model in (None, at(check, "model"))
        if _is_asked(str(at(check, "variant", default="")), asked)
    )


def _verdicts(verdict: dict[str, Any], asked: BisectSettings) -> list[str]:
    """Of the gate, of a model, or of the variants that are meant."""
    if asked.model is None:
        return [gate_word(verdict)]
    variants = at(verdict, "models", asked.model, "variants", kind=dict, default={})
    if asked.variant is None and asked.repository is None:
        return [str(at(verdict, "models", asked.model, "gate"))]
    return [variant_row(verdict, asked.model, name, "").verdict for name in variants if _is_asked(name, asked)]


def _is_asked(variant: str, asked: BisectSettings) -> bool:
    if asked.variant is None and asked.repository is not None:
        return variant.startswith(f"{COPY}-")
    return asked.variant in (None, variant)


def _together(statuses: Iterable[str]) -> str:
    """fail if any does, pass only if all do; what is not applicable is not asked."""
    found = set(statuses) - {"not-applicable"}
    if "fail" in found:
        return "fail"
    if found and found <= {"pass", "warn"}:
        return "pass"
    return "inconclusive" if found else "no such check"


def search(clone: Path, ends: dict[str, str], test: Any) -> str:
    """Let git search between two commits of a clone, whose answers are asked first."""
    asked = {end: test(commit) for end, commit in ends.items()}
    for end, answer in asked.items():
        if ANSWERS.get(answer) != end:
            wanted = "pass" if end == "good" else "fail"
            raise UserError(
                f"bisect.{end}: at {ends[end][:10]} the answer is {answer!r}, expected {wanted!r}; its results are in "
                f"{test.results(ends[end])}. Name another commit, or another check"
            )
    git(clone, "checkout", "--quiet", "--force", "--detach", ends["bad"])
    said = git(clone, "bisect", "start", ends["bad"], ends["good"])
    tried: list[str] = []
    while True:
        if found := _FIRST.search(said):
            return _found(clone, found[1], len(tried), test)
        commit = git(clone, "rev-parse", "HEAD")
        tried.append(commit)
        answer = test(commit)
        try:
            said = git(clone, "bisect", ANSWERS.get(answer, "skip"), commit)
        except UserError as error:  # git ends with an error where only skipped ones are left
            last = f"{commit[:10]} ({answer})"
            return Answer(f"Not found: the commits that are left gave no answer, the last one {last}. {error}")


def _found(clone: Path, commit: str, asked: int, test: Any) -> str:
    about = git(clone, "log", "-1", "--format=%h %as %an: %s", commit)
    return "\n".join(
        [
            f"The first commit at which it does not hold: {about}",
            f"  {asked} commits between the two were asked; the results of each are in {test.results(commit).parent}",
            f"  its report: {Layout(test.results(commit)).report_page}",
        ]
    )


if __name__ == "__main__":
    run_target(__doc__, bisect)
