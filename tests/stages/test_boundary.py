"""Links and special files in a results folder: nothing outside is written, emptied or deleted, nothing hangs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from greenlight.code import Code
from greenlight.errors import UserError
from greenlight.files import read_json, write_json
from greenlight.layout import Layout
from greenlight.run.boundary import check_paths, check_results
from greenlight.run.handover import PACKAGE
from greenlight.run.ledger import read_entry
from greenlight.run.locking import claim_run, run_at_work
from greenlight.run.table import ROWS
from tests.workflow.project import make_project


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    (folder / "inductor").mkdir(parents=True)
    (folder / "inductor" / "mine").write_text("mine")
    (folder / "file").write_text("mine")
    return folder


def whole(outside):
    return (outside / "file").read_text() == (outside / "inductor" / "mine").read_text() == "mine"


PLACES = [
    "jobs",
    "compile",
    "compile/model=toto",
    "compile/model=toto/variant=static-default/cache",
    "trials",
    "deploy",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_folder_that_leads_out_is_refused_by_name(tmp_path, outside, place):
    link = tmp_path / "results" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    for check in (lambda: check_results(tmp_path / "results"), lambda: check_paths(tmp_path / "results", [link / "x"])):
        with pytest.raises(UserError, match=rf"{place} is a link to .*outside, outside of the results folder.*Remove"):
            check()


def test_links_within_and_a_results_folder_that_is_a_link_are_fine(tmp_path):
    real = tmp_path / "disk"
    (real / "forecasts").mkdir(parents=True)
    (real / "other").symlink_to("forecasts")
    (tmp_path / "results").symlink_to(real)
    check_results(tmp_path / "results")
    check_paths(tmp_path / "results", [tmp_path / "results" / "other" / "x", tmp_path / "results" / "new" / "y"])


def special(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        before = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
        os.chdir(before)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_special_files_are_refused_and_never_read(tmp_path, kind):
    layout = Layout(tmp_path / "results")
    entry = layout.entry("gate")
    entry.parent.mkdir(parents=True)
    special(entry, kind)
    with pytest.raises(UserError, match=r"gate\.json is (a named pipe|a socket|a link to /dev/zero)"):
        check_results(layout.root)
    assert read_entry(layout, "gate") is None
    with pytest.raises((ValueError, OSError)):
        read_json(entry)


@pytest.mark.parametrize("name", [".run.lock", ".jobs.lock"])
def test_a_lock_truncates_nothing_that_a_link_points_to(tmp_path, outside, name):
    layout = Layout(tmp_path / "results")
    layout.root.mkdir()
    (layout.root / name).symlink_to(outside / "file")
    with pytest.raises(UserError, match=rf"{name} is a link"):
        claim_run(layout)
    assert whole(outside)
    if name == ".run.lock":
        with pytest.raises(UserError, match="is a link"):
            run_at_work(layout)


def test_a_file_that_is_replaced_spares_what_a_link_points_to(tmp_path, outside):
    link = tmp_path / "verdict.json"
    link.symlink_to(outside / "file")
    write_json(link, {"gate": "fail"})
    assert whole(outside) and not link.is_symlink()


def test_files_have_the_permissions_that_umask_leaves(tmp_path):
    for mask in (0o077, 0o002):
        before = os.umask(mask)
        try:
            write_json(tmp_path / f"{mask}.json", {})
        finally:
            os.umask(before)
        assert (tmp_path / f"{mask}.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_the_workflow_refuses_a_link_and_hangs_at_no_pipe(tmp_path, outside):
    project = make_project(tmp_path / "project")
    (project.folder / "results").mkdir()
    (project.folder / "results" / "compile").symlink_to(outside)
    done = project.snakemake(timeout=60)
    assert done.returncode == 2 and "results/compile is a link to" in done.stdout and "Traceback" not in done.stdout
    assert whole(outside)
    (project.folder / "results" / "compile").unlink()
    os.mkfifo(project.folder / "prices" / "PIPE.csv")
    done = project.snakemake(timeout=60)
    assert done.returncode == 2 and "PIPE.csv: no regular file" in done.stdout


def test_a_stage_refuses_a_link_that_came_after_planning(tmp_path, outside):
    layout = Layout(tmp_path / "results")
    job = {"stage": "clear", "model": "toto", "variant": "static-default", "code": "0"}
    code = Code(ROWS["clear"].modules)
    own = {"0": {"code": code.plain(), "contents": code.contents()}}
    outputs = ["compile/model=toto/variant=static-default/cleared.json"]
    jobs = {"clear/toto/static-default": {"job": job, "upstream": [], "outputs": outputs}}
    plan = {"jobs": jobs, "package": str(PACKAGE), "code": own}
    write_json(layout.plan, plan)
    cache = layout.cache("toto", "static-default")
    cache.parent.mkdir(parents=True)
    cache.symlink_to(outside)
    command = [sys.executable, "-m", "greenlight.run.stages.clear", "--results", str(layout.root)]
    command += ["--job", "clear/toto/static-default"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "cache is a link to" in done.stderr and whole(outside), done.stderr
