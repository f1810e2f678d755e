"""Projects for workflow tests: one that has run, copies of it, and fresh ones."""

from __future__ import annotations

import pytest

from tests.workflow.project import copy_of, make_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A project after one whole run; tests that change it work on a copy."""
    project = make_project(tmp_path_factory.mktemp("finished") / "project")
    project.first_run = project.snakemake()
    return project


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished project, results and Snakemake's records included."""
    return copy_of(finished, tmp_path / "copy")


@pytest.fixture
def fresh(tmp_path):
    """A project that has not run yet."""
    return make_project(tmp_path / "project")
