"""What depends on a copy of the published code that the configuration names, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from greenlight.api import LoadOptions
from greenlight.errors import UserError
from greenlight.plugins import load_forecaster
from greenlight.run.jobs import Plan
from greenlight.settings import load_settings, make_settings
from greenlight_forecasters.kronos.config import Settings as ModelSettings
from greenlight_forecasters.kronos.config import parse
from greenlight_forecasters.kronos.plugin import KronosSettings


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("kronos", "module"):
        (tmp_path / "model" / f"{name}.py").write_text("")
    return tmp_path


def jobs(folder):
    """Job descriptions of a run of Kronos over one file of prices (any file will do), by name."""
    variants = ["upstream-eager", "static-eager", "static-default", *(["fork-eager", "fork-default"] if folder else [])]
    own = {"variants": variants} | ({"code": {"fork": folder}} if folder else {})
    return dict(Plan(make_settings({"models": {"kronos": own}}), {"A": Path(__file__)}, "cpu", "cpu").all_jobs())


def test_only_what_runs_it_is_stale_when_its_files_change(folder):
    before = jobs(str(folder))
    (folder / "model" / "module.py").write_text("CHANGED = True")
    after = jobs(str(folder))
    own = {name for name in before if before[name]["code"] != after[name]["code"]}
    modes = {f"{stage}/kronos/fork-{mode}" for stage in ("time", "probe") for mode in ("eager", "default")}
    assert own >= modes | {"compile/kronos/fork-default", "predict/kronos/fork-eager/0", "replicate/kronos"}
    assert all("fork" in name or name == "replicate/kronos" for name in own)


def test_a_copy_makes_nothing_else_stale(folder):
    without, beside = jobs(None), jobs(str(folder))
    trials = {
        name for name in without if name.split("/")[0] in ("weights", "clear", "compile", "predict", "probe", "time")
    }
    assert len(trials) > 8 and all(without[name] == beside[name] for name in trials)


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises((UserError, ValidationError), match=r"models\.kronos\.code\.fork: .*kronos\.py"):
        jobs("no-such-folder")


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"published_code": "x"}, "write code: {fork: folder}"),
        ({"code": {"fork": "{folder}"}, "reference": "fork-eager"}, "runs a copy of 'upstream'"),
        ({"code": {"static": "{folder}"}, "reference": "upstream-eager"}, "'static' can't be the name of a copy"),
    ],
)
def test_what_a_copy_can_t_be(folder, own, words):
    code = {name: value.format(folder=folder) for name, value in own.get("code", {}).items()}
    variants = ["upstream-eager", *(f"{name}-eager" for name in code)]
    with pytest.raises(UserError, match=words):
        load_settings({"models": {"kronos": own | {"variants": variants} | ({"code": code} if code else {})}}, [])


def test_what_is_set_reaches_the_model():
    settings = KronosSettings(windows_per_batch=256, series_per_batch=30, capacity=512)
    own = parse(ModelSettings, settings.own(), "test")
    assert (own.windows_at_once, own.series_per_batch, own.capacity) == (256, 30, 512)
    unset = parse(ModelSettings, KronosSettings().own(), "test")
    assert (unset.windows_at_once, unset.series_per_batch, unset.capacity) == (8, None, None)


def toto(**own):
    """Job descriptions of a run of Toto over one file of prices, by name."""
    models = {"toto": {"variants": ["upstream-eager", "static-eager", "static-default"]} | own}
    return dict(Plan(make_settings({"models": models}), {"A": Path(__file__)}, "cpu", "cpu").all_jobs())


def at_once(job, implementation):
    """What a job's forecaster computes at once."""
    sizes = load_forecaster("toto", implementation, LoadOptions("embedded", settings=job["settings"])).sizes()
    return {name: size for name, size in sizes.items() if name.endswith("_per_batch")}


def test_each_implementation_of_toto_has_its_own_sizes():
    jobs = toto()
    assert at_once(jobs["predict/toto/upstream-eager/0"], "upstream") == {"samples_per_batch": 32}
    own = {"windows_per_batch": 16, "samples_per_batch": 256}
    assert at_once(jobs["compile/toto/static-default"], "static") == own
    assert at_once(jobs["time/toto/static-default"], "static") == own
    assert jobs["compile/toto/static-default"]["settings"] == {"samples_per_batch": 32}, "baselines were made with this"
    chosen = toto(samples_per_batch=8, static={"windows_per_batch": 4, "samples_per_batch": 64})
    assert at_once(chosen["probe/toto/static-eager"], "upstream") == {"samples_per_batch": 8}
    assert at_once(chosen["probe/toto/static-eager"], "static") == {"windows_per_batch": 4, "samples_per_batch": 64}


def test_what_static_computes_at_once_makes_its_own_jobs_stale_only():
    before, after = toto(), toto(static={"windows_per_batch": 4})
    changed = {name for name in before if before[name] != after[name] and "model" in before[name]}
    assert "compile/toto/static-default" in changed and "predict/toto/static-eager/0" in changed
    assert "predict/toto/upstream-eager/0" not in changed
