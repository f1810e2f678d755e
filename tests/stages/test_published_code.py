"""What depends on the published code that the configuration names, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from greenlight.errors import UserError
from greenlight.run.jobs import Plan
from greenlight.settings import make_settings
from greenlight_forecasters.kronos.config import Settings as ModelSettings
from greenlight_forecasters.kronos.config import parse
from greenlight_forecasters.kronos.plugin import KronosSettings


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("kronos", "module"):
        (tmp_path / "model" / f"{name}.py").write_text("")
    return tmp_path


def jobs(published_code):
    """Job descriptions of a run of Kronos over one file of prices (any file will do), by name."""
    settings = make_settings({"models": {"kronos": {"published_code": published_code}}})
    return dict(Plan(settings, {"A": Path(__file__)}, "cpu", "cpu").all_jobs())


def test_only_what_runs_it_is_stale_when_its_files_change(folder):
    before = jobs(str(folder))
    (folder / "model" / "module.py").write_text("CHANGED = True")
    after = jobs(str(folder))
    own = {name for name in before if before[name]["code"] != after[name]["code"]}
    beside = {f"{stage}/kronos/static-{mode}" for stage in ("time", "probe") for mode in ("eager", "default")}
    upstream = {f"{stage}/kronos/upstream-eager" for stage in ("probe", "repeat")}
    assert own == beside | upstream | {"predict/kronos/upstream-eager/0", "replicate/kronos"}
    unchanged = {name for name in before if before[name] == after[name]}
    assert {"compile/kronos/static-default", "predict/kronos/static-default/0", "weights/kronos"} <= unchanged
    expected = [plan["expect"]["models"]["kronos"]["settings"] for plan in (before, after)]
    assert expected[0] != expected[1], "a baseline made with other code can't be compared"


def test_without_it_nothing_depends_on_it():
    assert "published_code" not in KronosSettings().own()
    assert not any("published_code" in str(job) for job in jobs(None).values())


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises((UserError, ValidationError), match=r"models\.kronos\.published_code: .*kronos\.py"):
        jobs("no-such-folder")


def test_what_is_set_reaches_the_model():
    settings = KronosSettings(windows_per_batch=256, series_per_batch=30, capacity=512)
    own = parse(ModelSettings, settings.own(), "test")
    assert (own.windows_per_batch, own.series_per_batch, own.capacity) == (256, 30, 512)
    unset = parse(ModelSettings, KronosSettings().own(), "test")
    assert (unset.windows_per_batch, unset.series_per_batch, unset.capacity) == (8, None, None)
