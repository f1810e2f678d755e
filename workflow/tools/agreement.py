"""How often the gate alarms where nothing is wrong: whole runs of measure and judge on the shipped models.

    python -m tools.agreement --runs 30 --compiled          adds 30 runs to workflow/docs/agreement.json; `make alarms`
    python -m tools.agreement --models toto --out FILE      of one model alone, to another file
    python -m tools.agreement --gather FILE ...             adds what other processes or machines left in files
    python -m tools.agreement --report FILE ...             a table of several files

Each run measures upstream, the reference, and the implementations that compute the same on the shipped weights and
prices, with a seed that no other run has but its twin: every second run repeats the one before it and is judged
against that one's accepted baseline. So every alarm is a false one. Runs are added to a file, so that they may be made
over weeks, and by several processes at once, each with a file of its own; the rate of false alarms is told with its
exact 95% bound. Trials are forks of one process, which share no state but imports and what was compiled (`forks`); the
evaluation is smaller than the default, so that a run takes seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greenlight.errors import UserError
from greenlight.files import json_text, read_json, write_text
from greenlight.judgement.accept import build_baselines
from greenlight.judgement.baseline import baseline_text, load_baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import Verdict, judge
from greenlight.provenance import git_commit, package_versions, processor_name, utc_now
from greenlight.run.trial import Runner
from greenlight.statistics.intervals import share_bounds
from tools.quick_run import QuickRun

DEFAULT_OUT = Path("workflow/docs/agreement.json")
KEEP = Path(tempfile.gettempdir()) / "greenlight-alarms"
# Load averages below it are of a machine that does nothing else.
QUIET_LOAD = 1.0
# Between seeds of runs: a run's further forecasts have the seeds after its own, which no other run may share.
APART = 1000
# Toto forecasts 8 rows at once, so that its horizon takes two steps; Kronos pays for each row.
HORIZONS = {"toto": 9, "kronos": 6, "chronos-2": 6}
CONFIG: dict[str, Any] = {
    "threads": 1,
    "trials": {"repeats": 1},
    "evaluation": {
        "context_length": 32,
        "windows": 2,
        "samples": 8,
        "call": {"concurrency": 1},  # threads on the published Kronos do raise, which is no false alarm
    },
    "rules": {"speed": {"foreign_load": 1.0}},  # runs beside others are counted, too
    "timing": {"processes": 2, "pairs": 10, "control_pairs": 5, "warm_up_calls": 2},
    "models": {
        "toto": {"variants": ["upstream-eager", "static-eager"]},
        "kronos": {"variants": ["upstream-eager", "static-eager"], "temperature": 1.1, "top_p": 0.98},
        "chronos-2": {"variants": ["upstream-eager", "static-eager"]},
    },
}
# What a file of runs says that they were made with.
MADE_WITH = {**CONFIG, "horizons": HORIZONS}


def configuration(model: str, compiled: bool = False) -> dict[str, Any]:
    """The configuration of a run of a model, with `static-default` where `compiled`, too.

    Raises:
        UserError: there is no such model here.
    """
    if model not in HORIZONS:
        raise UserError(f"--models {model}: expected some of {', '.join(HORIZONS)}")
    own = CONFIG["models"][model]
    own = own | {"variants": [*own["variants"], *["static-default"] * compiled]}
    evaluation = {**CONFIG["evaluation"], "horizon": HORIZONS[model]}
    # What a configuration leaves out, the defaults bring back.
    return {**CONFIG, "evaluation": evaluation, "models": {"toto": None, "kronos": None, model: own}}


def one_run(
    folder: Path, seed: int, prices: str, baselines: Path, config: Mapping[str, Any], run: Runner
) -> tuple[QuickRun, Verdict]:
    """Measure and judge once."""
    places = {"data_folder": prices, "results_folder": str(folder), "baselines_folder": str(baselines)}
    quick = QuickRun({**config, **places, "seed": seed}, run)
    quick.begin()
    for model, variant in quick.plan.variants:
        quick.measure(model, variant)
    return quick, quick.judge()


def accept(run: QuickRun, baselines: Path) -> None:
    """Store a run's evidence as the baseline of the next, whatever its verdict."""
    expected = load_expected(run.layout.expected)
    evidence, rules = load_evidence(run.layout.root, expected), run.plan.settings.rules
    verdict = judge(evidence, rules, load_baselines(baselines, expected))
    about = {"who": "agreement", "when": utc_now(), "commit": "", "reason": "benchmark", "forced": True}
    for name, document in build_baselines(evidence, verdict, rules, **about).items():
        write_text(baselines / name, baseline_text(document))


def counts_of(verdict: Verdict) -> dict[str, Any]:
    """What a run is remembered by: the gate's word, the choices, how often each check ended how, and what blocked."""
    checks: dict[str, Counter[str]] = {}
    for check in verdict.checks:
        checks.setdefault(check.name, Counter())[check.status] += 1
    blocking = [[c.name, c.model, c.variant, c.status, c.reason] for c in verdict.checks if c.blocking]
    return {
        "gate": "pass" if verdict.passed else "fail",
        "reasons": list(verdict.reasons),
        "chosen": {model: decision.chosen for model, decision in verdict.decisions.items()},
        "checks": {name: dict(counter) for name, counter in checks.items()},
        "blocking": blocking,
    }


def earlier_runs(out: Path) -> list[dict[str, Any]]:
    """The runs that a file holds, to which more are added; none where there is no file.

    Raises:
        UserError: it is not readable, or its runs were made with another configuration.
    """
    if not out.exists():
        return []
    try:
        document = read_json(out)
        found, made_with = list(document["runs"]), document["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{out}: this is no file of runs ({error}); name another by --out") from error
    if made_with != json.loads(json_text(MADE_WITH)):
        raise UserError(f"{out}: its runs were made with another configuration; name another file by --out")
    return found


def _write(out: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """A file of runs, a line each, so that what was added shows in a diff."""
    lines = ",\n".join(json.dumps(run, sort_keys=True) for run in runs)
    write_text(out, f'{{"config": {json.dumps(MADE_WITH, sort_keys=True)},\n"runs": [\n{lines}\n]}}\n')


def measure(
    runs: int,
    configurations: Sequence[Mapping[str, Any]],
    prices: str,
    out: Path,
    *,
    first_seed: int | None = None,
    keep: Path | None = None,
    until: float = math.inf,
    show_after: float = 0,
) -> None:
    """Add so many runs to a file, which is written after each; two of each configuration in turn.

    The two share a seed, and the second is judged against the baseline of the first; one that was interrupted
    after its first run stays so, and the next pair has a seed of its own.

    Args:
        first_seed: of a new file; None: a random one, so that files that are made side by side hold other runs.
        keep: the results of a run that gave an alarm go below it.
        until: no run begins after this `time.monotonic`.
        show_after: see `Forks`.
    """
    seeds = [run["seed"] for run in earlier_runs(out)]
    from tools.forks import Forks  # imports torch, which tables of runs need not

    seed = max(seeds) if seeds else (secrets.randbelow(2**40) if first_seed is None else first_seed - APART)
    with tempfile.TemporaryDirectory() as folder:
        forks = Forks(
            Path(folder), lambda what: print(f"  {utc_now()} {what}", file=sys.stderr, flush=True), show_after
        )
        baselines, results = Path(folder) / "baselines", Path(folder) / "results"
        for number in range(runs):
            if time.monotonic() > until:
                break
            second = number % 2 == 1
            seed += 0 if second else APART
            config = configurations[number // 2 % len(configurations)]
            for old in (results, *([] if second else [baselines])):
                shutil.rmtree(old, ignore_errors=True)
            about: dict[str, Any] = {"seed": seed, "second": second} | _now()
            forks.cold.clear()
            run, verdict = one_run(results, seed, prices, baselines, config, forks)
            if not second:
                accept(run, baselines)
            spent = {name: value - about[name] for name, value in _seconds().items()}
            made = {"variants": [" ".join(pair) for pair in run.plan.variants], "compiled_cold": list(forks.cold)}
            found = [*earlier_runs(out), counts_of(verdict) | about | spent | made]
            _write(out, found)
            print(_line(len(found), found[-1]), flush=True)
            if keep and alarmed(found[-1]):
                kept = keep / f"{out.stem}-{seed}-{number}"
                shutil.copytree(results, kept, ignore=shutil.ignore_patterns("cache"), dirs_exist_ok=True)


def _seconds() -> dict[str, float]:
    """Of the wall, and of work by this process and its children that ended."""
    return {"seconds": time.perf_counter(), "cpu_seconds": sum(os.times()[:4])}


def _now() -> dict[str, Any]:
    """Where and when a run is made."""
    where = {"commit": git_commit(Path.cwd()), "processor": processor_name(), "versions": package_versions(("torch",))}
    return {"made": utc_now(), "load_before": os.getloadavg()[0], **where, **_seconds()}


def _line(number: int, run: Mapping[str, Any]) -> str:
    line = f"run {number}: {run['gate']}, {run['chosen']}, {run['seconds']:.0f} s, {run['cpu_seconds']:.0f} s of work"
    return "\n".join([line, *(f"  {name} {of}: {status}: {why}" for name, _, of, status, why in run["blocking"])])


def gather(files: Sequence[Path], out: Path) -> None:
    """Add the runs of several files to one.

    Raises:
        UserError: one of them can't be read or was made with another configuration, or two hold the same run.
    """
    found: dict[str, dict[str, Any]] = {}
    for file in (out, *files):
        if file != out and not file.is_file():
            raise UserError(f"{file}: there is no such file of runs")
        for run in earlier_runs(file):
            name = f"seed {run['seed']}, {'second' if run['second'] else 'first'} run of {', '.join(run['variants'])}"
            if name in found:
                raise UserError(f"{file}: {name}, is in another file, too; leave one of them out")
            found[name] = run
    _write(out, list(found.values()))


def table(documents: list[Mapping[str, Any]]) -> str:
    """Markdown: the rate of false alarms, how often each check was judged and how it ended, and every alarm."""
    runs = [run for document in documents for run in document["runs"]]
    statuses: dict[str, Counter[str]] = {}
    for run in runs:
        for name, counter in run["checks"].items():
            statuses.setdefault(name, Counter()).update(counter)
        for name, *_ in run["blocking"]:
            statuses[name]["blocks"] += 1
    words = ("pass", "warn", "fail", "inconclusive", "blocks")
    lines = ["| Check | judged | " + " | ".join(words) + " |", "|---|---" + "|---" * len(words) + "|"]
    for name, counter in statuses.items():
        judged = sum(counter[word] for word in words[:4])
        if judged:
            lines.append(f"| `{name}` | {judged} | " + " | ".join(str(counter[word]) for word in words) + " |")
    chosen = Counter(json.dumps(run["chosen"], sort_keys=True) for run in runs)
    alarms = [run for run in runs if alarmed(run)]
    undecided = [run for run in runs if run["blocking"] and not alarmed(run)]
    lines += ["", rate_words(len(alarms), len(runs), "whole runs in which nothing differs gave a false alarm")]
    # A run and its repetition forecast the same, so that they are no two chances of what does not hang on time.
    seeds, of_alarms = (len({(run["seed"], *run["variants"]) for run in some}) for some in (runs, alarms))
    lines.append(rate_words(of_alarms, seeds, "seeds did, where a run and its repetition count once"))
    lines.append(rate_words(len(undecided), len(runs), "were left open: a check that could not say blocked a variant"))
    quiet = [run for run in runs if run["load_before"] < QUIET_LOAD]
    few = sum(map(alarmed, quiet))
    lines.append(
        f"{len(quiet)} began while less than {QUIET_LOAD:g} processes were at work, {few} of them with an alarm."
    )
    measured = Counter(", ".join(run["variants"]) for run in runs)
    lines += ["", "Runs of:", *(f"- {count} times {names}" for names, count in measured.most_common())]
    cold, work = sum(bool(run["compiled_cold"]) for run in runs), sum(run["cpu_seconds"] for run in runs)
    lines.append(f"In {work:.0f} s of work; {cold} runs compiled from an empty cache. Chosen:")
    lines += [f"- {count} times {names}" for names, count in chosen.most_common()]
    lines += [
        f"- seed {run['seed']}: {name} of {model} {variant or ''} {status}: {reason}"
        for run in [*alarms, *undecided]
        for name, model, variant, status, reason in run["blocking"]
    ]
    return "\n".join(lines)


def alarmed(run: Mapping[str, Any]) -> bool:
    """Whether a check that stops a variant says that something differs, even where the gate passed by another."""
    return any(status == "fail" for _, _, _, status, _ in run["blocking"])


def rate_words(count: int, of: int, did: str) -> str:
    """A count with its rate and the exact one-sided 95% bound of it."""
    upper = share_bounds(count, of, 0.05)[1] if of else 1.0
    return f"{count} of {of} {did}: {count / max(1, of):.1%}, at most {upper:.1%} at 95% confidence."


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="runs to add")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run after so many; default no limit")
    parser.add_argument("--models", nargs="+", default=list(HORIZONS), help="one after the other; default all")
    parser.add_argument("--compiled", action="store_true", help="compiled variants too")
    parser.add_argument("--first-seed", type=int, help="seed of the first pair of a new file; default a random one")
    parser.add_argument("--prices", default="trainingdata", help="folder of price files")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="file that runs are added to")
    parser.add_argument("--keep", type=Path, default=KEEP, help="folder for the results of runs that gave an alarm")
    parser.add_argument("--show-after", type=float, default=0, help="show the stack of what runs for so many seconds")
    parser.add_argument("--gather", type=Path, nargs="+", help="add the runs of these files to --out, and measure none")
    parser.add_argument("--report", type=Path, nargs="+", help="print a table of these files")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    try:
        if arguments.gather:
            gather(arguments.gather, arguments.out)
        elif not arguments.report:
            configurations = [configuration(model, arguments.compiled) for model in arguments.models]
            own = {name: getattr(arguments, name) for name in ("prices", "out", "first_seed", "keep", "show_after")}
            measure(arguments.runs, configurations, until=until, **own)
        print(table([read_json(path) for path in arguments.report or [arguments.out]]))
    except UserError as error:
        sys.exit(f"greenlight: {error}")


if __name__ == "__main__":
    main()
