"""How often the gate alarms where nothing is wrong: whole runs of measure and judge on the shipped models.

    python -m tools.agreement --runs 30 --compiled        adds 30 runs to workflow/docs/agreement.json; `make alarms`
    python -m tools.agreement --runs 30 --models toto     of one model alone
    python -m tools.agreement --report FILE ...           a table of several files

Each run measures upstream, the reference, and the implementations that compute the same on the shipped weights and
prices, with a seed that no other run has but its twin: every second run repeats the one before it and is judged
against that one's accepted baseline. So every alarm is a false one. Runs are added to a file, so that they may be made
over weeks; the rate of false alarms is told with its exact 95% bound. Trials are forks of one process, which share no
state but torch's import; the evaluation is smaller than the default, so that a run in eager mode takes seconds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greenlight.errors import UserError
from greenlight.files import json_text, read_json, write_json, write_text
from greenlight.judgement.accept import build_baselines
from greenlight.judgement.baseline import baseline_text, load_baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import Verdict, judge
from greenlight.layout import Layout
from greenlight.provenance import git_commit, processor_name, utc_now
from greenlight.run.children import calling, forecast, latency, numerics, replication, warm_up
from greenlight.run.job import Job
from greenlight.run.trial import trial_environment
from greenlight.statistics.intervals import share_bounds
from greenlight_forecasters.toto import upstream as _forks_have_imported_it  # noqa: F401
from tools.quick_run import QuickRun, trial_of

# What the stages start by name; imported once, before the first fork.
CHILDREN = {child.__name__: child for child in (calling, forecast, latency, numerics, replication, warm_up)}
DEFAULT_OUT = Path("workflow/docs/agreement.json")
CONFIG: dict[str, Any] = {
    "threads": 1,
    "trials": {"repeats": 1},
    "evaluation": {
        "context_length": 48,
        "horizon": 12,
        "windows": 2,
        "samples": 8,
        "extra_seconds": 120,
        "call": {"concurrency": 1},  # threads on the published Kronos do raise, which is no false alarm
    },
    "rules": {"speed": {"foreign_load": 1.0}},  # runs beside others are counted, too
    "timing": {"processes": 2, "pairs": 10, "control_pairs": 5, "warm_up_calls": 2, "steady_calls": 100, "windows": 1},
    "models": {
        "toto": {"variants": ["upstream-eager", "static-eager"]},
        "kronos": {"variants": ["upstream-eager", "static-eager"], "temperature": 1.1, "top_p": 0.98},
        "chronos-2": {"variants": ["upstream-eager", "static-eager"]},
    },
}


def forked(
    layout: Layout,
    job: Job,
    module: str,
    request: dict[str, Any],
    cache: Path | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Run a child of a stage in a fork of this process; its record says how it ended."""
    environment = trial_environment(
        cache or layout.cache(job["model"], job["variant"]), job["threads"], job.get("environment", {})
    )
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(_child, (module, request, environment))


def _child(module: str, request: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    os.environ.update(environment)
    try:
        return trial_of(request, json.loads(json_text(CHILDREN[module].run(request))))
    except Exception as error:
        return trial_of(request, None, "other", f"{type(error).__name__}: {error}")


def configuration(models: Sequence[str] = tuple(CONFIG["models"]), compiled: bool = False) -> dict[str, Any]:
    """The configuration of a run of some of the models, with `static-default` of each where `compiled`, too.

    Raises:
        UserError: there is no such model here.
    """
    if unknown := set(models) - CONFIG["models"].keys():
        raise UserError(f"--models {' '.join(sorted(unknown))}: expected some of {', '.join(CONFIG['models'])}")
    chosen: dict[str, Any] = {"toto": None, "kronos": None}  # what a configuration leaves out, the defaults bring back
    for name in models:
        known = CONFIG["models"][name]
        chosen[name] = known | {"variants": [*known["variants"], *["static-default"] * compiled]}
    return {**CONFIG, "models": chosen}


def one_run(
    folder: Path, seed: int, prices: str, baselines: Path, config: Mapping[str, Any]
) -> tuple[QuickRun, Verdict]:
    """Measure and judge once."""
    places = {"data_folder": prices, "results_folder": str(folder), "baselines_folder": str(baselines)}
    run = QuickRun({**config, **places, "seed": seed}, forked)
    run.begin()
    for model, variant in run.plan.variants:
        run.measure(model, variant)
    return run, run.judge()


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
    if made_with != json.loads(json_text(CONFIG)):
        raise UserError(f"{out}: its runs were made with another configuration; name another file by --out")
    return found


def measure(runs: int, config: Mapping[str, Any], prices: str, out: Path, first_seed: int = 1) -> None:
    """Add so many runs to a file, which is written after each.

    Pairs of runs share a seed, and the second is judged against the baseline of the first; one that was interrupted
    after its first run stays so, and the next pair has a seed of its own.
    """
    found = earlier_runs(out)
    seed = max([first_seed - 1, *(run["seed"] for run in found)])
    with tempfile.TemporaryDirectory() as folder:
        baselines = Path(folder) / "baselines"
        for number in range(runs):
            started, load = time.perf_counter(), os.getloadavg()[0]
            if number % 2 == 0:
                seed += 1
                shutil.rmtree(baselines, ignore_errors=True)
            results = Path(folder) / "results"
            shutil.rmtree(results, ignore_errors=True)
            run, verdict = one_run(results, seed, prices, baselines, config)
            if number % 2 == 0:
                accept(run, baselines)
            seconds = time.perf_counter() - started
            about = {"made": utc_now(), "commit": git_commit(Path.cwd()), "processor": processor_name()}
            about |= {"seed": seed, "second": number % 2 == 1, "seconds": seconds, "load_before": load}
            about |= {"variants": [" ".join(pair) for pair in run.plan.variants]}
            found.append(counts_of(verdict) | about)
            write_json(out, {"config": CONFIG, "runs": found})
            print(f"run {len(found)}: {found[-1]['gate']}, {found[-1]['chosen']}, {seconds:.0f} s", flush=True)


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
    undecided = [run for run in runs if run["gate"] != "pass" and not alarmed(run)]
    lines += ["", rate_words(len(alarms), len(runs), "whole runs in which nothing differs gave a false alarm")]
    lines.append(rate_words(len(undecided), len(runs), "were left open, which blocks: a check could not say"))
    measured = Counter(", ".join(run["variants"]) for run in runs)
    lines += ["", "Runs of:", *(f"- {count} times {names}" for names, count in measured.most_common())]
    lines += [f"In {sum(run['seconds'] for run in runs):.0f} s. Chosen:"]
    lines += [f"- {count} times {names}" for names, count in chosen.most_common()]
    lines += [f"- seed {run['seed']}: {reason}" for run in [*alarms, *undecided] for reason in run["reasons"]]
    return "\n".join(lines)


def alarmed(run: Mapping[str, Any]) -> bool:
    """Whether a run was stopped by a check that says that something differs, not by one that can't say."""
    return run["gate"] != "pass" and any(status == "fail" for _, _, _, status, _ in run["blocking"])


def rate_words(count: int, of: int, did: str) -> str:
    """A count with its rate and the exact one-sided 95% bound of it."""
    upper = share_bounds(count, of, 0.05)[1] if of else 1.0
    return f"{count} of {of} {did}: {count / max(1, of):.1%}, at most {upper:.1%} at 95% confidence."


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="runs to add")
    parser.add_argument("--models", nargs="+", default=list(CONFIG["models"]), help="of which models; default all")
    parser.add_argument("--compiled", action="store_true", help="compiled variants too, each from an empty cache")
    parser.add_argument("--first-seed", type=int, default=1, help="seed of the first pair of a new file")
    parser.add_argument("--prices", default="trainingdata", help="folder of price files")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="file that runs are added to")
    parser.add_argument("--report", type=Path, nargs="+", help="print a table of these results")
    arguments = parser.parse_args()
    try:
        if not arguments.report:
            config = configuration(arguments.models, arguments.compiled)
            measure(arguments.runs, config, arguments.prices, arguments.out, arguments.first_seed)
        print(table([read_json(path) for path in arguments.report or [arguments.out]]))
    except UserError as error:
        sys.exit(f"greenlight: {error}")


if __name__ == "__main__":
    main()
