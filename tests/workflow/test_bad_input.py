"""A user's mistake: one clear message, an exit code that is not 0, nothing run and nothing lost."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from tests.workflow.project import SMALL, make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("bad") / "project")


def refused(project, *arguments):
    done = project.look(*arguments)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("greenlight: ")]
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "evalution=1"], ["evalution", "did you mean 'evaluation'"]),
        (["--config", "symbols=SIM_00009"], ["SIM_00009", "SIM_00000"]),
        (["--config", "symbols=../x"], ["../x"]),
        (["--config", "symbols=a/b"], ["a/b"]),
        (["--config", "symbols=<b>"], ["<b>"]),
        (["--config", "data_folder=nowhere"], ["nowhere"]),
        (["--config", "results_folder=Snakefile"], ["results_folder", "Snakefile"]),
        (["--config", "results_folder=/proc/nowhere"], ["results_folder", "/proc"]),
    ],
)
def test_one_clear_message(project, arguments, words):
    line = refused(project, *arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tto": {"variants": ["upstream-eager"]}}, ["models.tto", "'toto'"]),
        ({"toto": {"variants": ["upstream-eager", "static-fast"]}}, ["static-fast"]),
        ({"toto": {"variants": ["upstream-eager"], "source": "no/folder/here"}}, ["no/folder/here"]),
        ({"toto": {"variants": ["upstream-eager"], "source": "Datadog/Toto-Open-Base-1.0"}}, ["revision"]),
    ],
)
def test_models_that_can_not_be_meant(project, change, words):
    config = deepcopy(SMALL)
    config["models"] |= change
    (project.folder / "small.json").write_text(json.dumps(config))
    try:
        line = refused(project)
    finally:
        project.configure(SMALL)
    for word in words:
        assert word in line


def test_a_price_file_that_is_refused_stops_the_run_with_its_line(fresh):
    file = fresh.folder / "prices" / "SIM_00001.csv"
    lines = file.read_text().splitlines()
    lines[10] = lines[10].replace(lines[10].split(",")[1], "-5", 1)
    file.write_text("\n".join(lines) + "\n")
    done = fresh.sooner()
    assert done.returncode != 0
    # Snakemake's own last lines come before it or after it.
    said = done.stdout[done.stdout.rindex("\ngreenlight: ") :]
    assert "SIM_00001.csv" in said and "11" in said and "non_positive_prices" in said, done.stdout
    assert "Traceback" not in done.stdout
    assert not (fresh.folder / "results/compile").exists()


def test_weights_that_are_neither_here_nor_to_be_had(fresh):
    config = deepcopy(SMALL)
    config["models"]["toto"] |= {"source": "Datadog/Toto-Open-Base-1.0", "revision": "0" * 40}
    fresh.configure(config)
    done = fresh.sooner(environment={"HF_HUB_OFFLINE": "1"})
    assert done.returncode != 0
    assert "hf download Datadog/Toto-Open-Base-1.0" in done.stdout
    assert "Traceback" not in done.stdout
