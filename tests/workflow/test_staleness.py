"""After an edit, exactly the jobs that use what was edited are stale: what `why` says against a table.

The project has not run: a stand-in for each output, entered in the ledger under the plan, is enough to plan on. Where
words are held against the table too, `snakemake -n` is, which must run what `why` names.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import subprocess
import sys
import time

import pytest
import yaml
from snakemake.utils import update_config

from greenlight.provenance import moment
from greenlight.run.ledger import enter
from greenlight.run.planning import make_plan
from greenlight.run.seals import remember
from greenlight.run.staleness import outputs_of
from greenlight.run.table import ROWS
from tests.workflow.edits import (
    PACKAGE,
    accept_a_baseline,
    add_code,
    change_last_row,
    change_weights,
    configure,
    edit_text,
    fresh_clone,
    fresh_clone_and_metric,
    install,
    interrupt_a_trial,
    move_module,
    other_compiler,
    results,
    results_from_the_future,
    rewrite_same_bytes,
    shadow,
    symbol,
    touch_everything,
    unfinished_for_snakemake,
    unknown_variable,
)
from tests.workflow.project import SMALL, make_project

pytestmark = pytest.mark.slow

VARIANTS = {model: settings["variants"] for model, settings in SMALL["models"].items()}


def predicted(model, *shards):
    return {f"predict/{model}/{variant}/{shard}" for variant in VARIANTS[model] for shard in shards or (0, 1)}


def measured(model):
    """Probing of every variant of a model, timing of those that are timed, repeats of the one with too few trials."""
    timed = {f"time/{model}/{variant}" for variant in VARIANTS[model] if variant != "upstream-eager"}
    return {f"probe/{model}/{variant}" for variant in VARIANTS[model]} | timed | {f"repeat/{model}/upstream-eager"}


PREPARED = {"prepare/0", "prepare/1"}
COMPILED = {"clear/toto/static-default", "compile/toto/static-default"}
REPORTED = {"report", "archive", "gate"}
JUDGED = {"diff", "judge"} | REPORTED
REPLICATED = {"replicate/toto"}  # of Kronos, one variant alone is examined
TOTO = {"score/toto", "expect"} | REPLICATED | JUDGED
KRONOS = {"score/kronos", "expect"} | JUDGED
SCORED = TOTO | KRONOS
TOTO_RUNS = predicted("toto") | measured("toto") | TOTO
KRONOS_RUNS = predicted("kronos") | measured("kronos") | KRONOS
RUNS = TOTO_RUNS | KRONOS_RUNS
PROBED = {name for name in measured("toto") | measured("kronos") if name.startswith("probe/")}
CALLED = {name.replace("probe", "call", 1) for name in PROBED}  # in other shapes, where the configuration asks for them
REPEATED = {"repeat/toto/upstream-eager", "repeat/kronos/upstream-eager"}
FIRST_SHARD = {"prepare/0"} | predicted("toto", 0) | predicted("kronos", 0) | measured("toto") | measured("kronos")
SECOND_SHARD = {"prepare/1"} | predicted("toto", 1) | predicted("kronos", 1)


CACHE = "0123456789abcdef" * 4  # of the stand-in for a compile cache
FORECASTS = "forecasts/model=kronos/variant=upstream-eager/symbol=SIM_00002/part-0.parquet"
NEW_VARIANT = {"predict/toto/upstream-default/0", "predict/toto/upstream-default/1"} | {
    f"{stage}/toto/upstream-default" for stage in ("clear", "compile", "probe", "time")
}
EDITS = {
    "nothing": (lambda project: None, set()),
    "every file touched": (touch_everything, set()),
    "a fresh clone with results copied in": (fresh_clone, set()),
    "a fresh clone, and a metric": (fresh_clone_and_metric, SCORED),
    "a job that only Snakemake takes for unfinished": (unfinished_for_snakemake, set()),
    "results from the future, and a metric": (results_from_the_future, SCORED),
    "a comment": (edit_text(PACKAGE + "files.py", "import json", "import json  # a comment"), set()),
    "a docstring": (edit_text(PACKAGE + "files.py", '"""Write UTF-8', '"""Writes UTF-8'), set()),
    "layout of the code": (edit_text(PACKAGE + "variants.py", "MODES = (", "MODES = \\\n    ("), set()),
    "how the workflow plans": (add_code("greenlight/run/jobs.py"), set()),
    "how stages follow each other": (add_code("greenlight/run/table.py"), set()),
    "same bytes, new time": (rewrite_same_bytes, set()),
    "an unknown environment variable": (unknown_variable, set()),
    "the KV cache of one model": (add_code("greenlight_forecasters/toto/repair.py"), COMPILED | TOTO_RUNS),
    "the network of the other": (add_code("greenlight_forecasters/kronos/network.py"), KRONOS_RUNS),
    "how forecasts are tabled": (add_code("greenlight/measures/forecasts.py"), COMPILED | RUNS),
    "a metric": (add_code("greenlight/measures/accuracy.py"), SCORED),
    "how checks decide": (add_code("greenlight/judgement/decision.py"), JUDGED),
    "a check's threshold": (configure("rules", "accuracy", margin=0.02), REPLICATED | {"expect"} | JUDGED),
    "another check's threshold": (configure("rules", "accuracy", naive_ratio=1.4), JUDGED),
    "how comparisons decide": (add_code("greenlight/judgement/comparison.py"), REPLICATED | {"expect"} | JUDGED),
    "how much time there is for replicates": (
        configure("evaluation", extra_seconds=10),
        {"probe/toto/static-eager", "expect"} | REPLICATED | JUDGED,
    ),
    "a module moved": (move_module, JUDGED - {"diff"}),
    "an accepted baseline": (accept_a_baseline, JUDGED),
    "the report's template": (edit_text(PACKAGE + "report/templates/report.md.jinja", "#", "##"), REPORTED),
    "the template of another page": (edit_text(PACKAGE + "report/templates/history.md.jinja", "#", "##"), set()),
    "the archive": (add_code("greenlight/run/stages/archive.py"), {"archive", "gate"}),
    "a symbol's last row, first shard": (change_last_row("SIM_00000"), FIRST_SHARD | SCORED),
    "a symbol's last row, second shard": (change_last_row("SIM_00002"), SECOND_SHARD | SCORED),
    "new bytes, older time": (change_last_row("SIM_00002", older=True), SECOND_SHARD | SCORED),
    "a symbol added": (symbol("added"), SECOND_SHARD | SCORED),
    "a symbol renamed": (symbol("renamed"), SECOND_SHARD | SCORED),
    # One shard less is one trial less of each variant, which repeats fill up.
    "a symbol removed": (symbol("removed"), SCORED | REPEATED | {"repeat/toto/static-eager"}),
    "how prices are read": (add_code("greenlight/data/reader.py"), PREPARED | RUNS),
    "a repair rule": (configure("data", "repair", gaps="forward-fill"), PREPARED | RUNS),
    "weights": (change_weights("toto"), {"weights/toto"} | COMPILED | TOTO_RUNS),
    "a file over 1 MB, older time": (change_weights("kronos", older=True), {"weights/kronos"} | KRONOS_RUNS),
    "the torch version": (install("torch", "2.99.0"), COMPILED | RUNS),
    "the version of a package of one model": (install("toto-ts", "9.9.9"), COMPILED | TOTO_RUNS),
    "the published code of one model, edited where `import` finds it": (
        shadow("toto", "model/attention.py"),
        {f"predict/toto/upstream-eager/{shard}" for shard in (0, 1)} | measured("toto") | TOTO,
    ),
    "the version of a package of the report": (install("jinja2", "9.9.9"), REPORTED),
    "the C++ compiler": (
        other_compiler,
        COMPILED | {name for name in predicted("toto") | measured("toto") if "static-default" in name} | TOTO,
    ),
    "threads": (configure(threads=2), COMPILED | RUNS),
    "the seed": (configure(seed=8), COMPILED | RUNS),
    "context length": (configure("evaluation", context_length=40), PREPARED | COMPILED | RUNS),
    "two swapped settings": (configure("evaluation", samples=2, windows_per_call=8), COMPILED | RUNS),
    "a setting of one model": (configure("models", "kronos", temperature=0.9), KRONOS_RUNS),
    "one variant added": (
        configure("models", "toto", variants=[*VARIANTS["toto"], "upstream-default"]),
        NEW_VARIANT | TOTO,
    ),
    "pairs of a timing": (
        configure("timing", pairs=17),
        {name for name in measured("toto") if name.startswith("time/")} | {"expect"} | JUDGED,
    ),
    "a state of torch that calls are made in": (
        configure("evaluation", call={"process": {"inference_mode": True}}),
        COMPILED | RUNS,
    ),
    "which price is forecast": (configure("evaluation", call={"target": "open"}), COMPILED | RUNS),
    "what production makes of a forecast": (configure("evaluation", call={"point": "mean"}), SCORED),
    "how many threads call": (configure("evaluation", call={"concurrency": 3}), PROBED | {"expect"} | JUDGED),
    "the shapes of calls": (
        configure("evaluation", call={"shapes": {"batches": [1, 4]}}),
        CALLED | {"expect"} | JUDGED,
    ),
    "windows that are probed": (
        configure("evaluation", probe_windows=1),
        PROBED | {"expect"} | JUDGED,
    ),
    "the deployed variant": (configure("models", "toto", deployed="static-default"), {"expect"} | JUDGED),
    "a deleted series": (results("data/symbol=SIM_00002/series.parquet", "deleted"), SECOND_SHARD | SCORED),
    "a deleted forecast": (
        results(FORECASTS, "deleted"),
        {"predict/kronos/upstream-eager/1", "score/kronos"} | JUDGED,
    ),
    "a truncated forecast": (
        results(FORECASTS, "truncated"),
        {"predict/kronos/upstream-eager/1", "score/kronos"} | JUDGED,
    ),
    "truncated latency pairs": (
        results("time/model=toto/variant=static-eager/pairs.parquet", "truncated"),
        {"time/toto/static-eager"} | JUDGED,
    ),
    "a deleted compile cache": (
        results("compile/model=toto/variant=static-default/cache", "deleted"),
        {"compile/toto/static-default", "score/toto"}
        | REPLICATED
        | {name for name in predicted("toto") | measured("toto") if "static-default" in name}
        | JUDGED,
    ),
    "a truncated record of replicates": (
        results("replicate/model=toto/variant=static-default/record.json", "truncated"),
        REPLICATED | JUDGED,
    ),
    "a deleted report": (results("report.md", "deleted"), REPORTED),
    "a deleted figure": (results("figures/toto-latency.svg", "deleted"), REPORTED),
}
# Where `why` is held against `snakemake -n` too: a process more each.
IN_WORDS = {
    "nothing": "",
    "a fresh clone, and a metric": "score/toto\n    module greenlight.measures.accuracy has changed",
    "new bytes, older time": "prepare/1\n    symbols.SIM_00002 was ",
    "the torch version": "versions.torch was '",
    "two swapped settings": "    samples was 8, is 2\n",
    "the published code of one model, edited where `import` finds it": "file toto/model/attention.py has changed",
    "a deleted compile cache": "compile/model=toto/variant=static-default/cache is gone",
    "a deleted figure": "figures/toto-latency.svg is gone",
    "a truncated forecast": f"predict/kronos/upstream-eager/1\n    {FORECASTS} is not what the job wrote",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A project in which all is done, and in which edits are made and undone."""
    project = make_project(tmp_path_factory.mktemp("stale") / "project")
    project.variables = {}
    with contextlib.chdir(project.folder):
        pretend(project)
    assert project.stale() == {}
    return project


def pretend(project):
    """Leave something for each output, and enter it in the ledger, as if the jobs had run."""
    plan, layout = make_plan(merged(project), ["small.json"])
    remember(CACHE)
    for name, job in plan.all_jobs():
        outputs = outputs_of(layout, job)
        for path in outputs:
            file = path / "toto-latency.svg" if path.name in ("cache", "figures") else path
            file.parent.mkdir(parents=True, exist_ok=True)
            made = {"cache": {"sha256": CACHE}} if job["stage"] == "compile" else f"{name}: {path.name}"
            file.write_text(json.dumps([made] * 20 if isinstance(made, str) else made))
        enter(layout, name, job, outputs, plan.upstream(name), modules=plan.modules(job), started=moment())


def merged(project):
    """The configuration as Snakemake merges it."""
    config = yaml.safe_load((project.folder / "config/config.yaml").read_text())
    update_config(config, json.loads((project.folder / "small.json").read_text()))
    return config


@pytest.fixture
def undone(table):
    """The project, whose files are as before afterwards."""
    table.variables = {}
    before = {file: file.read_bytes() for file in _files(table)}
    yield table
    for file in _files(table):
        if file not in before:
            file.unlink()
            if file.parent.suffix == ".dist-info":
                file.parent.rmdir()
    for file, content in before.items():
        if not file.exists() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _files(project):
    left = {".snakemake", "trials", "archive", "__pycache__"}
    return [file for file in project.folder.rglob("*") if file.is_file() and not left.intersection(file.parts)]


def words(project):
    """What `why` says, by the command that its rule runs."""
    asked = ("--config", json.dumps(merged(project)), "--files", "small.json")
    done = project.look("greenlight.run.stages.why", *asked, environment=project.variables)
    assert done.returncode == 0, done.stdout
    return done.stdout


def named(text):
    return {name for name, stage in re.findall(r"^((\w+)(?:/\S+)?)$", text, re.MULTILINE) if stage in ROWS}


def would_run(project):
    """Names of the jobs that `snakemake -n` would run."""
    done = project.look("--printshellcmds", environment=getattr(project, "variables", {}))
    assert done.returncode == 0, done.stdout
    return set(re.findall(r"python -m greenlight\.run\.stages\.\w+ --results results --job (\S+)", done.stdout))


@pytest.mark.parametrize("name", EDITS)
def test_exactly_what_uses_it_is_stale(undone, name):
    edit, expected = EDITS[name]
    edit(undone)
    said = words(undone)
    assert named(said) == expected
    if name in IN_WORDS:
        assert IN_WORDS[name] in said
        assert would_run(undone) == expected


PLANNING = """
import json
import sys
from greenlight.run.handover import write_plan
from greenlight.run.planning import make_plan
from greenlight.run.staleness import outputs_of

plan, layout = make_plan(json.loads(sys.argv[1]), ["small.json"])
write_plan(plan, layout, {name: outputs_of(layout, job) for name, job in plan.all_jobs()})
"""


def test_a_record_from_an_interrupted_trial_counts_for_nothing(copied):
    """The record of the run before still lies there."""
    before = would_run(copied)
    # As a run of this copy does: a stage refuses code of another place than the plan's.
    command = [sys.executable, "-c", PLANNING, json.dumps(merged(copied))]
    subprocess.run(command, cwd=copied.folder, env=copied.environment(), check=True)
    interrupt_a_trial(copied)
    assert would_run(copied) == before | {"probe/kronos/upstream-eager"} | JUDGED


def test_looking_writes_nothing(table):
    """Where nothing has changed, `snakemake -n` leaves the results as they are."""
    time.sleep(2.5)  # what was undone just now is hashed, and noted, again
    table.stale()  # an edit of another test was undone, which is a change too
    before = {file: file.stat().st_mtime_ns for file in (table.folder / "results").rglob("*") if file.is_file()}
    table.stale()
    after = {file: file.stat().st_mtime_ns for file in (table.folder / "results").rglob("*") if file.is_file()}
    changed = {file.name for file in after if before.get(file) != after[file]}
    assert changed == set()


def test_looking_while_a_run_is_at_work_disturbs_nothing(undone):
    """Jobs whose outputs were older than an input, such as the mark, would fail."""
    mark = undone.folder / "results/jobs/stale"
    add_code("greenlight/measures/accuracy.py")(undone)
    undone.stale()
    before = mark.read_bytes(), mark.stat().st_mtime_ns
    with (undone.folder / "results/.run.lock").open("a") as run:
        fcntl.flock(run, fcntl.LOCK_EX)
        undone.stale()
        assert (mark.read_bytes(), mark.stat().st_mtime_ns) == before
    undone.stale()
    assert mark.read_bytes() != before[0]


def test_what_follows_a_forced_rule_runs_too(table):
    done = table.look("--forcerun", "score_kronos")
    assert done.returncode == 0, done.stdout
    for rule in ("diff", "judge", "report", "archive", "gate"):
        assert re.search(rf"^{rule} +1$", done.stdout, re.MULTILINE), done.stdout
    assert not re.search(r"^predict_0 ", done.stdout, re.MULTILINE)
