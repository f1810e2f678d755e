"""Code by content: other people's packages and folders wherever they lie, and what of a run they make stale."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from greenlight.code import (
    MOST_FILES,
    Code,
    check_code_run,
    code_run,
    contents_of_folder,
    contents_of_package,
    places_of,
    portable,
    resolved,
)
from greenlight.errors import NotAsPlanned
from greenlight.run.handover import PACKAGE, check_code
from greenlight.run.jobs import Plan
from greenlight.run.ledger import code_changes
from greenlight.settings import make_settings


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `somebodys` of two files on the path."""
    folder = tmp_path / "site" / "somebodys"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "inner" / "model.py").write_text("VALUE = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder


def test_a_package_is_found_and_not_imported(package):
    assert places_of("somebodys") == [package]
    assert places_of("somebodys.inner") == [package / "inner"]
    assert places_of("somebodys.inner.model") == [package / "inner" / "model.py"]
    assert places_of("nobodys") == places_of("somebodys.outer") == []
    assert "somebodys" not in sys.modules


def test_the_working_directory_comes_first_as_in_a_trial(package, tmp_path, monkeypatch):
    shadow = tmp_path / "here" / "somebodys"
    shutil.copytree(package, shadow)
    monkeypatch.chdir(tmp_path / "here")
    importlib.invalidate_caches()
    assert places_of("somebodys") == [shadow]


def test_every_file_counts_by_its_content_but_bytecode_and_what_is_hidden(package):
    before = contents_of_package("somebodys")
    assert set(before) == {"somebodys/__init__.py", "somebodys/inner/model.py"}
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "model.py").write_text("x")
    (package / "model.pyc").write_text("x")
    (package / ".git").mkdir()
    (package / ".git" / "HEAD").write_text("x")
    assert contents_of_package("somebodys") == before
    (package / "inner" / "model.py").write_text("VALUE = 2")
    (package / "kernel.so").write_text("x")
    changes = code_changes(before, contents_of_package("somebodys"))
    assert changes == ["file somebodys/inner/model.py has changed", "file somebodys/kernel.so is run now"]


def test_what_links_lead_to_counts(package, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "more.py").write_text("VALUE = 1")
    (package / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(package)  # a circle ends
    before = contents_of_package("somebodys")
    (tmp_path / "elsewhere" / "more.py").write_text("VALUE = 2")
    assert code_changes(before, contents_of_package("somebodys")) == ["file somebodys/linked/more.py has changed"]


def test_a_large_package_is_known_as_a_whole(package):
    for number in range(MOST_FILES):
        (package / f"part{number}.py").write_text("")
    before = contents_of_folder(package, "somebodys")
    assert len(before) == 1
    (package / "part7.py").write_text("VALUE = 2")
    assert contents_of_folder(package, "somebodys") != before


def test_a_package_that_is_not_installed_is_known_as_absent(package):
    assert contents_of_package("nobodys") == {"package nobodys": "absent"}


def test_a_path_in_a_package_is_written_so_that_another_machine_finds_it(package, tmp_path, monkeypatch):
    text = portable(package / "inner", "somebodys")
    assert text == "somebodys:inner" and resolved(text) == package / "inner"
    monkeypatch.chdir(tmp_path)
    assert resolved(portable(tmp_path / "weights", "somebodys")) == Path("weights")


@pytest.fixture
def toto(tmp_path, monkeypatch):
    """The published package, copied to a folder in front of the installed one, as PYTHONPATH puts it."""
    (installed,) = places_of("toto")
    shutil.copytree(installed, tmp_path / "vendored" / "toto")
    monkeypatch.syspath_prepend(str(tmp_path / "vendored"))
    return tmp_path / "vendored" / "toto"


def test_an_edit_of_the_published_package_makes_just_what_runs_it_stale(toto):
    def plan():
        variants = ["upstream-eager", "static-eager", "static-default"]
        models, evaluation = {"toto": {"variants": variants}, "kronos": {}}, {"call": {"calls": 30}}
        settings = make_settings({"models": models, "evaluation": evaluation})
        return Plan(settings, {"A": Path(__file__)}, "cpu", "cpu")

    first = plan()
    before = dict(first.all_jobs())
    with (toto / "model" / "attention.py").open("a") as file:
        file.write("# nothing but a comment: whose code is not ours is not read, only hashed\n")
    second = plan()
    after = dict(second.all_jobs())
    own = {name for name in before if before[name]["code"] != after[name]["code"]}
    runs_it = {f"{stage}/toto/static-{mode}" for stage in ("time", "probe", "call") for mode in ("eager", "default")}
    upstream = {f"{stage}/toto/upstream-eager" for stage in ("probe", "call", "repeat")}
    upstream.add("predict/toto/upstream-eager/0")
    assert own == runs_it | upstream
    probes = (first.modules(before["probe/toto/static-eager"]), second.modules(after["probe/toto/static-eager"]))
    assert code_changes(*probes) == ["file toto/model/attention.py has changed"]


def test_a_job_refuses_code_that_changed_since_the_run_was_planned(package):
    code = Code(("greenlight.files",), packages=("somebodys",))
    plan = {"package": str(PACKAGE), "code": code.plain(), "modules": code.contents()}
    check_code(plan)
    (package / "inner" / "model.py").write_text("VALUE = 2")
    with pytest.raises(NotAsPlanned, match=r"^file somebodys/inner/model\.py has changed since the run was planned"):
        check_code(plan)


def test_a_trial_refuses_a_package_that_was_imported_from_elsewhere(package, tmp_path, monkeypatch):
    (package / "__init__.py").write_text("")
    shutil.copytree(package, tmp_path / "other" / "somebodys")
    with monkeypatch.context() as first:
        first.syspath_prepend(str(tmp_path / "other"))
        importlib.import_module("somebodys")
    try:
        with pytest.raises(NotAsPlanned, match=rf"imported from {tmp_path}/other/somebodys.* planned was {package}"):
            check_code_run(code_run(["somebodys"], {}), {})
    finally:
        del sys.modules["somebodys"]


def test_a_trial_refuses_other_code_than_its_stage_found(package, tmp_path, monkeypatch):
    found = code_run(["somebodys"], {"fork": str(package / "inner")})
    assert found["somebodys"]["path"] == str(package)
    check_code_run(found, {"fork": str(package / "inner")})
    shutil.copytree(package, tmp_path / "other" / "somebodys")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    with pytest.raises(NotAsPlanned, match=rf"would run {tmp_path}/other/somebodys .* planned was {package}"):
        check_code_run(found, {"fork": str(package / "inner")})


def test_a_job_refuses_another_package_than_the_run_was_planned_by(tmp_path):
    code = Code(("greenlight.files",))
    plan = {"package": str(tmp_path / "greenlight"), "code": code.plain(), "modules": code.contents()}
    with pytest.raises(NotAsPlanned, match=rf"from {PACKAGE}, but the run was planned by the one in {tmp_path}"):
        check_code(plan)
