"""The sweep's trials: a size and process each, whose record is kept and used again only for the same job."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from greenlight.run.planning import make_plan
from greenlight.run.stages.sweep import measure, sizes_of
from tests.workflow.project import SMALL

SWEEP = {"windows": [1, 3], "contexts": [], "horizons": [], "samples": [], "processes": 1, "calls": 4}


def config_of(project, **sweep):
    own = {"data_folder": str(project.folder / "prices"), "results_folder": str(project.folder / "results")}
    models = {"kronos": {"variants": ["upstream-eager"]}, "toto": None}
    return SMALL | own | {"models": models, "sweep": SWEEP | sweep}


@pytest.mark.slow
def test_each_size_is_measured_once_and_again_only_where_the_job_is_another(fresh):
    done = fresh.sooner("results/weights/model=kronos/record.json")
    assert done.returncode == 0, done.stdout

    def points(**sweep):
        plan, layout = make_plan(config_of(fresh, **sweep), [])
        found = list(measure(plan, layout, [("kronos", "upstream-eager")]))
        kept = sorted(layout.stage("sweep", "kronos", "upstream-eager").glob("*.json"))
        return found, {path.name: path.read_bytes() for path in kept}

    found, kept = points()
    assert [(own.axis, own.value, own.problem) for own in found] == [("windows", 1, ""), ("windows", 3, "")]
    assert all(own.seconds.n == 4 and own.seconds.lower <= own.seconds.estimate <= own.seconds.upper for own in found)
    assert all(own.memory > 2**27 and own.first_call > 0 for own in found)
    assert list(kept) == ["windows-1-0.json", "windows-3-0.json"]
    again, same = points()
    assert again == found and same == kept
    (fresh.folder / "results/sweep/model=kronos/variant=upstream-eager/windows-1-0.json").write_text("{}")
    _, changed = points()
    assert {name for name in kept if changed[name] != kept[name]} == {"windows-1-0.json"}


def test_sizes_that_are_not_named_lie_around_the_configured_ones(fresh):
    plan, _ = make_plan(config_of(fresh, contexts=None, horizons=None, samples=[4]), [])
    assert sizes_of(plan) == [
        ("windows", 1), ("windows", 3),
        ("contexts", 16), ("contexts", 32), ("contexts", 64),
        ("horizons", 6), ("horizons", 12), ("horizons", 24),
        ("samples", 4),
    ]  # fmt: skip


def test_without_a_run_it_says_what_to_do_first(fresh):
    command = [sys.executable, "-m", "greenlight.run.stages.sweep", "--config", json.dumps(config_of(fresh))]
    done = subprocess.run(command, cwd=fresh.folder, capture_output=True, text=True)
    assert done.returncode == 2 and "run `snakemake --cores 1` first" in done.stderr and "Traceback" not in done.stderr
