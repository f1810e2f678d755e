"""compare: a against b, two commits, environments or folders of code, run and timed in turn in one sitting; exit code
0 only if b is shown to be no worse.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.errors import UserError, say
from greenlight.files import write_json, write_text
from greenlight.judgement.a_against_b import Errors, judge_asked, judge_errors, judge_latency
from greenlight.judgement.registry import NAMES
from greenlight.judgement.rules import Rules
from greenlight.layout import Layout
from greenlight.provenance import utc_now
from greenlight.report.comparison import Compared, compare_html, compare_markdown, conclude, newly_stopping
from greenlight.report.sides import Side, forecasts_differ
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
from greenlight.target_settings import SideSettings
from greenlight.variants import Variant

Run = Callable[..., int]
_NEEDED = "from importlib.metadata import version; version('snakemake'), version('torch')"
# How often a check that chance may decide is asked again, at least: fewer could show no difference at the gate's rate.
_AGAIN = 5


def compare(config: dict[str, Any], files: list[str]) -> str:
    """Run both sides, judge, write the pages; what to print."""
    settings = load_settings(config, files)
    asked, layout = settings.compare, Layout(Path(settings.results_folder))
    if asked.a is None or asked.b is None:
        raise UserError(
            "compare: expected two commits or two folders, such as --config compare='{a: HEAD~3, b: HEAD}', found "
            f"a: {asked.a}, b: {asked.b}"
        )
    repository = Path(git(Path.cwd(), "rev-parse", "--show-toplevel"))
    named = {
        name: side if isinstance(side, SideSettings) else SideSettings(python=sys.executable, commit=side)
        for name, side in (("a", asked.a), ("b", asked.b))
    }
    folders = {name: Path(side.commit).expanduser() for name, side in named.items()}
    among = sum(folder.is_dir() for folder in folders.values())
    if among and not (isinstance(asked.a, str) and isinstance(asked.b, str) and among == 2):
        raise UserError(
            f"compare: {named['a'].commit} and {named['b'].commit}: one is a folder and the other is not; name two of "
            "a kind"
        )
    with within_run(layout):
        if among == 2:
            compared = _folders(config, settings, layout, repository, folders)
        else:
            compared = _commits(config, settings, layout, repository, named)
    page, text, figures = layout.comparison
    write_text(page, compare_html(compared))
    write_text(text, compare_markdown(compared))
    write_json(figures, compared.to_dict())
    said = "\n".join([compared.headline, *(f"  {line}" for line in compared.lines), f"  The whole page: {page}"])
    return said if compared.status == "pass" else Answer(said)


def _commits(
    config: dict[str, Any], settings: Settings, layout: Layout, repository: Path, named: Mapping[str, SideSettings]
) -> Compared:
    commits = {name: commit_of(repository, side.commit, f"compare.{name}") for name, side in named.items()}
    pythons = {name: _python_of(side.python, f"compare.{name}.python") for name, side in named.items()}
    shared = {(model, variant): variant for model, own in settings.models.items() for variant in own.variants}
    with contextlib.ExitStack() as stack:
        sides, runs = [], []
        for name, commit in commits.items():
            clone = stack.enter_context(clone_of(repository, commit))
            results = layout.elsewhere("compare", f"{name}-{commit[:12]}")
            label = f"{named[name].commit} ({commit[:10]})"
            if pythons["a"] != pythons["b"]:
                label += f" in {pythons[name]}"
            side = Side(name, label, Layout(results.resolve()), shared)
            sides.append(side)
            runs.append((side, _there(clone, nested_config(config, repository, results), pythons[name])))
        _run_whole(runs)
        ask_again(settings, sides, runs)
        for number in _rounds_of(settings, dict(settings.models.items())):
            for side, run in runs if number % 2 == 0 else runs[::-1]:
                _round(number, settings.compare.rounds, [side], side.label, run)
    return judge_sides(sides, settings.rules)


def _folders(
    config: dict[str, Any], settings: Settings, layout: Layout, repository: Path, folders: dict[str, Path]
) -> Compared:
    model = settings.compare.model or _only_model_with_copies(settings)
    both = copies_config(config, model, folders)
    load_settings(both, [])
    results = layout.elsewhere("compare", "folders")
    modes = list(dict.fromkeys(Variant.parse(name).mode for name in both["models"][model]["variants"]))
    sides = [
        Side(name, str(folder), Layout(results.resolve()), {(model, mode): f"{name}-{mode}" for mode in modes})
        for name, folder in folders.items()
    ]
    with clone_of(repository, commit_of(repository, UNCOMMITTED, "compare")) as clone:
        run = _there(clone, nested_config(both, repository, results))
        _run_whole([(sides[0], run)])
        sides[1].read_verdict()
        ask_again(settings, sides, [(None, run)])
        for number in range(settings.compare.rounds):
            _round(number, settings.compare.rounds, sides, "both folders", run)
    return judge_sides(sides, settings.rules)


def _only_model_with_copies(settings: Settings) -> str:
    able = [name for name, own in settings.models.items() if hasattr(own, "code")]
    if len(able) != 1:
        raise UserError(
            f"compare.model: which model's code do the folders hold? Expected one of {', '.join(able) or 'none here'}"
        )
    return able[0]


def _python_of(text: str, key: str) -> str:
    """The python of an environment that can run the gate; a link to it stays one, which is what makes it that one."""
    python = str(Path(text).expanduser().absolute())
    try:
        done = subprocess.run([python, "-c", _NEEDED], capture_output=True, text=True)
    except OSError as error:
        raise UserError(f"{key}: {python} can't be run ({error.strerror}); expected an environment's python") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{key}: {python} has not what the gate needs ({said}); install the packages of envs/ there")
    return python


def _there(clone: Path, config: dict[str, Any], python: str = sys.executable) -> Run:
    return lambda *arguments: run_there(clone, config, *arguments, python=python)


def _run_whole(runs: list[tuple[Side, Run]]) -> None:
    """Each side's whole gate, whatever it finds."""
    for side, run in runs:
        say(f"the whole gate of {side.name}: {side.label}")
        side.layout.verdict.unlink(missing_ok=True)  # only this run may answer, not one that it could not begin
        code = run()
        if code not in (0, 1) or not side.read_verdict():
            raise UserError(
                f"compare.{side.name}: {side.label} could not be run with this configuration (exit code {code}); what "
                "it said stands above. Compare commits that know the same configuration"
            )


def _rounds_of(settings: Settings, models: Mapping[str, Any]) -> range:
    """The rounds of timing; none where a reference stands alone, which the gate times beside variants only."""
    timed = any(len(own.variants) > 1 for own in models.values())
    if not timed:
        say("no variant stands beside a reference, so that nothing is timed: name one, such as upstream-default")
    return range(settings.compare.rounds if timed else 0)


def ask_again(settings: Settings, sides: list[Side], runs: Sequence[tuple[Side | None, Run]]) -> None:
    """Ask what fails in b and not in a, and may do so by chance, of both again and again, in turn.

    Args:
        runs: with the side that each holds; None: it holds both.
    """
    a, b = sides
    failing = [(name, check) for name in a.own for check in newly_stopping(a, b, name)["fail"]]
    checks = [(name, check) for name, check in failing if check in NAMES and NAMES[check].other == "chance"]
    stages = sorted({next((s for s in ("probe", "call") if s in NAMES[check].stages), "time") for _, check in checks})
    times = max(_AGAIN, settings.compare.rounds) if checks else 0
    for number in range(times):
        for side, run in runs if number % 2 == 0 else runs[::-1]:
            where = side.label if side else "both folders"
            say(f"asking again, {number + 1} of {times}: {', '.join(check for _, check in checks)} of {where}")
            code = run("--forcerun", *stages, "--until", "judge")
            if code or not all(own.read_again(checks) for own in ([side] if side else sides)):
                raise UserError(f"compare: {where} could not be run again (exit code {code}); see above")


def _round(number: int, rounds: int, sides: list[Side], label: str, run: Run) -> None:
    say(f"round {number + 1} of {rounds}: timing {label}")
    if code := run("--forcerun", "time", "--until", "time"):  # a variant that fails is no failure of the stage
        raise UserError(f"compare: round {number + 1} of {label} could not be run (exit code {code}); see above")
    for side in sides:
        side.read_round()


def judge_sides(sides: list[Side], rules: Rules) -> Compared:
    """The comparison of two sides whose verdicts and rounds are read."""
    a, b = sides
    seconds = {}
    for name in a.own:
        own = [np.array(side.seconds.get(name, []), dtype=float) for side in sides]
        if own[0].shape == own[1].shape and len(own[0]) > 2 and np.isfinite(own).all():
            seconds[name] = (own[0], own[1])
    latency = judge_latency(seconds, rules)
    errors: dict[tuple[str, str], Errors] = {}
    differences = {}
    for model in dict.fromkeys(model for model, _ in a.own):
        scores = {}
        for name in (name for name in a.own if name[0] == model):
            found = [side.scores(name) for side in sides]
            if found[0] is not None and found[1] is not None and found[0][1] == found[1][1]:
                scores[name[1]], windows = (found[0][0], found[1][0]), Counter(symbol for symbol, _ in found[0][1])
                differences[name] = forecasts_differ(a, b, name, list(windows))
        if scores:
            judged = judge_errors(scores, windows, rules)
            errors |= {(model, variant): found for variant, found in judged.items()}
    asked = {key: judge_asked(key[1], a.asked[key], again, rules) for key, again in b.asked.items()}
    return conclude(sides, latency, errors, differences, asked, utc_now())


if __name__ == "__main__":
    run_target(__doc__, compare)
