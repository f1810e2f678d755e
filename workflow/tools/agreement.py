"""How often the gate alarms where nothing is wrong: whole runs of measure and judge on the shipped models.

    python -m tools.agreement --runs 30 --out agreement.json
    python -m tools.agreement --report agreement.json more.json       a table of all of them

Each run measures upstream, the reference, and the implementations that compute the same on the shipped weights and
prices, with a seed that no other run has but its twin: every second run repeats the one before it and is judged
against that one's accepted baseline. So every alarm is a false one. Trials are forks of one process, which share no
state but torch's import; the evaluation is smaller than the default, so that a run takes seconds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenlight.files import json_text, read_json, write_json, write_text
from greenlight.judgement.accept import build_baselines
from greenlight.judgement.baseline import baseline_text, load_baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import Verdict, judge
from greenlight.layout import Layout
from greenlight.provenance import utc_now
from greenlight.run.children import forecast, latency, numerics, replication
from greenlight.run.job import Job
from greenlight.run.trial import trial_environment
from greenlight_forecasters.toto import upstream as _forks_have_imported_it  # noqa: F401
from tools.quick_run import QuickRun, sizes_of

# What the stages start by name; imported once, before the first fork.
CHILDREN = {child.__name__: child for child in (forecast, latency, numerics, replication)}
CONFIG: dict[str, Any] = {
    "threads": 1,
    "trials": {"repeats": 1},
    "evaluation": {"context_length": 48, "horizon": 12, "windows": 2, "samples": 8, "extra_seconds": 120},
    "rules": {"speed": {"foreign_load": 1.0}},  # runs beside others are counted, too
    "timing": {"processes": 2, "pairs": 10, "control_pairs": 5, "warm_up_calls": 2, "windows": 1},
    "models": {
        "toto": {"variants": ["upstream-eager", "static-eager"]},
        "kronos": {"variants": ["upstream-eager", "static-eager"], "temperature": 1.1, "top_p": 0.98},
    },
}


def forked(
    layout: Layout,
    job: Job,
    module: str,
    request: dict[str, Any],
    *,
    name: str = "",
    cache: Path | None = None,
    at_most: Mapping[str, int] | None = None,
    filled: bool = True,
) -> dict[str, Any]:
    """Run a child of a stage in a fork of this process; its record says how it ended."""
    environment = trial_environment(
        cache or layout.cache(job["model"], job["variant"]), job["threads"], job.get("environment", {})
    )
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(_child, (module, request, environment)) | {"sizes": sizes_of(request), "reduced": ""}


def _child(module: str, request: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    os.environ.update(environment)
    record: dict[str, Any] = {"kind": "ok", "message": "", "attempts": [], "result": None}
    try:
        record["result"] = json.loads(json_text(CHILDREN[module].run(request)))
    except Exception as error:
        record |= {"kind": "other", "message": f"{type(error).__name__}: {error}"}
    return record


def one_run(folder: Path, seed: int, prices: str, baselines: Path) -> tuple[QuickRun, Verdict]:
    """Measure and judge once."""
    places = {"data_folder": prices, "results_folder": str(folder), "baselines_folder": str(baselines)}
    run = QuickRun({**CONFIG, **places, "seed": seed}, forked)
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
    """What a run is remembered by: the gate's word, the choices, and every check's status."""
    return {
        "gate": "pass" if verdict.passed else "fail",
        "reasons": list(verdict.reasons),
        "chosen": {model: decision.chosen for model, decision in verdict.decisions.items()},
        "checks": [
            [check.name, check.model, check.variant, check.status, check.blocking, check.reason]
            for check in verdict.checks
        ],
    }


def measure(runs: int, first_seed: int, prices: str, out: Path) -> None:
    """Run so often, and write what was found after each."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        baselines = Path(folder) / "baselines"
        for number in range(runs):
            started = time.perf_counter()
            if number % 2 == 0:
                shutil.rmtree(baselines, ignore_errors=True)
            results = Path(folder) / "results"
            shutil.rmtree(results, ignore_errors=True)
            run, verdict = one_run(results, first_seed + number // 2, prices, baselines)
            if number % 2 == 0:
                accept(run, baselines)
            seconds = time.perf_counter() - started
            found.append(counts_of(verdict) | {"seed": first_seed + number // 2, "seconds": seconds})
            write_json(out, {"config": CONFIG, "runs": found})
            print(f"run {number + 1}: {found[-1]['gate']}, {found[-1]['chosen']}, {seconds:.0f} s", flush=True)


def table(documents: list[Mapping[str, Any]]) -> str:
    """Markdown: how often each check was judged, and how it ended."""
    runs = [run for document in documents for run in document["runs"]]
    statuses: dict[str, Counter[str]] = {}
    for run in runs:
        for name, _, _, status, blocks, _ in run["checks"]:
            counter = statuses.setdefault(name, Counter())
            counter[status] += 1
            counter["blocks"] += bool(blocks)
    words = ("pass", "warn", "fail", "inconclusive", "blocks")
    lines = ["| Check | judged | " + " | ".join(words) + " |", "|---|---" + "|---" * len(words) + "|"]
    for name, counter in statuses.items():
        judged = sum(counter[word] for word in words[:4])
        if judged:
            lines.append(f"| `{name}` | {judged} | " + " | ".join(str(counter[word]) for word in words) + " |")
    passed = sum(run["gate"] == "pass" for run in runs)
    chosen = Counter(json.dumps(run["chosen"], sort_keys=True) for run in runs)
    lines += ["", f"{passed} of {len(runs)} runs pass, in {sum(run['seconds'] for run in runs):.0f} s. Chosen:"]
    lines += [f"- {count} times {names}" for names, count in chosen.most_common()]
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--prices", default="trainingdata", help="folder of price files")
    parser.add_argument("--out", type=Path, default=Path("agreement.json"))
    parser.add_argument("--report", type=Path, nargs="+", help="print a table of these results")
    arguments = parser.parse_args()
    if not arguments.report:
        measure(arguments.runs, arguments.first_seed, arguments.prices, arguments.out)
    print(table([read_json(path) for path in arguments.report or [arguments.out]]))


if __name__ == "__main__":
    main()
