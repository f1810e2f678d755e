"""The ready workflows for CI systems: valid by the systems' own schemas, and true to what a run leaves."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from greenlight.layout import Layout

FOLDER = Path(__file__).parents[2] / "workflow" / "docs" / "ci"
SCHEMAS = {"github.yml": "github-workflows.json", "gitlab.yml": "gitlab-ci.json"}


def schema(name):
    """A schema that check-jsonschema brings; found as a file, because importing the package needs more packages."""
    files = importlib.metadata.files("check-jsonschema") or []
    (found,) = [file for file in files if file.name == name]
    return json.loads(Path(found.locate()).read_text())


def validator(name):
    found = schema(SCHEMAS[name])
    return jsonschema.validators.validator_for(found)(found)


def document(name):
    loaded = yaml.safe_load((FOLDER / name).read_text())
    if True in loaded:  # YAML 1.1 reads the key `on` as a truth value
        loaded["on"] = loaded.pop(True)
    return loaded


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_workflow_is_valid_by_the_schema_of_its_system(name):
    errors = [f"{list(error.absolute_path)}: {error.message}" for error in validator(name).iter_errors(document(name))]
    assert errors == []


def test_the_schemas_refuse_what_is_wrong():
    broken = copy.deepcopy(document("github.yml"))
    broken["jobs"]["gate"]["steps"][0]["usess"] = "a"
    assert list(validator("github.yml").iter_errors(broken))
    broken = copy.deepcopy(document("gitlab.yml"))
    broken["gate"]["cache"][0]["when"] = "sometimes"
    assert list(validator("gitlab.yml").iter_errors(broken))


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_file_that_is_kept_is_one_that_a_run_leaves(name):
    layout = Layout(Path("results"))
    made = {layout.report, layout.report_page, layout.figures, layout.verdict, layout.decision, layout.deploy}
    names = {path.name for path in made | set(layout.notices)}
    text = (FOLDER / name).read_text()
    kept = re.findall(r"(?:\$\{\{ matrix\.results \}\}|\$RESULTS|results-production)/([\w.-]+)", text)
    assert set(kept) <= names
    assert {path.name for path in layout.notices} | {"report.html", "verdict.json"} <= set(kept)


def scripts(name):
    """Every piece of shell in a workflow."""
    found = []

    def walk(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("run", "script", "before_script", "after_script"):
                    found.append(inner if isinstance(inner, str) else "\n".join(inner))
                else:
                    walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document(name))
    return found


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_piece_of_shell_parses(name):
    assert len(scripts(name)) >= 3
    for script in scripts(name):
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, (script, done.stderr)


def step(job, name):
    (found,) = [entry for entry in document("github.yml")["jobs"][job]["steps"] if entry.get("name") == name]
    return found["run"]


def run(folder, script, programs, **environment):
    """Run a step as GitHub does, with programs of our own in place of those that it calls."""
    for program, text in programs.items():
        path = folder / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    environment = {"PATH": path, "RESULTS": "results", "CONFIGURATION": "c.yaml", **environment}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_of_the_gate_is_that_of_the_step(tmp_path, code):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "summary.md").write_text("# the summary\n")
    page = tmp_path / "page.md"
    page.touch()
    programs = {".venv/bin/snakemake": f"echo $@ > arguments; exit {code}"}
    done = run(tmp_path, step("gate", "The gate"), programs, GITHUB_STEP_SUMMARY=str(page))
    assert done.returncode == code
    assert (tmp_path / "arguments").read_text() == "--cores 1 --configfile c.yaml\n"
    assert page.read_text() == "# the summary\n", "nothing was stale, so the gate did not append it"
    run(tmp_path, step("gate", "The gate"), programs, GITHUB_STEP_SUMMARY=str(page))
    assert page.read_text() == "# the summary\n"


@pytest.mark.parametrize("known", ["", "77"])
def test_a_comment_is_made_once_and_then_replaced(tmp_path, known):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "comment.md").write_text("<!-- greenlight-cpu-toto -->\n### Greenlight: FAIL\n")
    programs = {"bin/gh": f'echo "$@" >> calls; case "$*" in *--paginate*) echo {known};; esac'}
    done = run(tmp_path, step("gate", "Comment"), programs, GITHUB_REPOSITORY="o/r", PULL="5", GH_TOKEN="t")
    assert done.returncode == 0, done.stderr
    listing, call = (tmp_path / "calls").read_text().splitlines()
    assert 'startswith("<!-- greenlight-cpu-toto -->")' in listing
    target = "PATCH repos/o/r/issues/comments/77" if known else "POST repos/o/r/issues/5/comments"
    assert call == f"api --method {target} -F body=@results/comment.md --silent"
