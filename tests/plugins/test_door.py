"""The door: how models are found, what is said of a plug-in that can't be used, and what its author must not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenlight.api import DECILES, Forecast
from greenlight.errors import UserError
from greenlight.plugins import installed_plugins, model_of
from greenlight.run.jobs import Plan
from greenlight.run.ledger import code_changes
from greenlight.settings import load_settings

DRIFT = Path(__file__).parent / "drift.py"


@pytest.fixture
def plugin(tmp_path):
    """Writes a plug-in's file, the example unless a text is given, and gives its configuration under a model's name."""

    def write(text=None, name="drift-1", **settings):
        file = tmp_path / f"{name.replace('-', '_')}_{len(list(tmp_path.iterdir()))}.py"
        file.write_text(DRIFT.read_text() if text is None else text)
        return {"models": {name: {"plugin": f"{file}:MODEL"} | settings}}

    return write


def message(config):
    with pytest.raises(UserError) as caught:
        load_settings(config, ["gate.yaml"])
    return str(caught.value)


def test_ours_come_in_by_the_door():
    assert {"toto", "kronos"} <= set(installed_plugins())
    assert all(model_of(name).name == name for name in installed_plugins())


def test_a_file_brings_a_model_with_settings_of_its_own(plugin):
    settings = load_settings(plugin(damping=0.25), ["gate.yaml"])
    ((name, own),) = settings.models.items()
    assert (name, own.damping, own.reference) == ("drift-1", 0.25, "plain-eager")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dampng": 0.2}, ["models.drift-1.dampng: unknown key (did you mean 'damping'?)"]),
        ({"damping": 2}, ["models.drift-1.damping:", "less than or equal to 1", "found 2"]),
        ({"variants": ["plain-eagr"]}, ["models.drift-1.variants: unknown variant 'plain-eagr'", "'plain-eager'?"]),
        ({"variants": ["plain-eager", "plain-max-autotune"]}, ["unknown variant 'plain-max-autotune'"]),
        ({"source": "weights"}, ["models.drift-1.source: the model has no weights, but its source is 'weights'"]),
        ({"deployed": "plain-reduce-overhead"}, ["models.drift-1.deployed: 'plain-reduce-overhead' is not among"]),
    ],
)
def test_its_settings_are_refused_in_the_words_of_ours(plugin, settings, words):
    said = message(plugin(**settings))
    assert "gate.yaml" in said
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no MODEL in it"),
        ("MODEL = 3", "is int, expected a greenlight.api.Model"),
        ("import torch_that_is_not_there", "can't be imported (ModuleNotFoundError: No module named"),
        ("MODEL = ", "can't be imported (SyntaxError"),
        (DRIFT.read_text().replace('name="drift-1"', 'name="drift-2"'), "is the plug-in of 'drift-2'"),
        (DRIFT.read_text().replace('{"plain": Imp', '{"Plain_1": Imp'), "'Plain_1' can't be the name"),
    ],
)
def test_a_file_that_can_t_be_used_is_named_with_the_reason(plugin, text, words):
    config = plugin(text)
    said = message(config)
    assert words in said and config["models"]["drift-1"]["plugin"].rpartition(":")[0] in said


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("gate/none.py:MODEL", "there is no file gate/none.py"),
        ("gate/none.py", "expected path/to/file.py:NAME"),
        ("no_such_package.gate:MODEL", "no_such_package.gate can't be imported"),
    ],
)
def test_a_plug_in_that_is_not_there_is_named(plugin, words):
    said = message({"models": {"drift-1": {"plugin": plugin}}})
    assert "models.drift-1.plugin" in said and words in said


def test_a_model_that_there_is_not_is_told_with_the_way_to_bring_one():
    said = message({"models": {"totoo": {}}})
    assert "did you mean 'toto'?" in said and "models.totoo.plugin: path/to/file.py:NAME" in said


PLAN = """
import sys
from greenlight.run.planning import make_plan
make_plan({"models": {"drift-1": {"plugin": sys.argv[1]}, "toto": {}, "kronos": {}}, "results_folder": sys.argv[2]}, [])
assert "torch" not in sys.modules
"""


def test_a_run_is_planned_without_torch(tmp_path):
    command = [sys.executable, "-c", PLAN, f"{DRIFT}:MODEL", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr


def test_a_plug_in_that_imports_torch_while_planning_is_refused(tmp_path):
    (tmp_path / "drift.py").write_text("import torch\n" + DRIFT.read_text())
    command = [sys.executable, "-c", PLAN, f"{tmp_path}/drift.py:MODEL", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode != 0 and "imports torch, which takes seconds" in done.stderr


INSTALLED = """
from pathlib import Path
from greenlight.errors import UserError
from greenlight.run.jobs import Plan
from greenlight.settings import load_settings
try:
    plan = Plan(load_settings({"models": {"drift-1": {}}}, []), {}, "cpu", "cpu")
    print(sorted(plan.contents(plan._code("predict", "drift-1", ("plain-eager",)))))
except UserError as error:
    print(error)
"""


def install(folder, package, drift=None):
    """A distribution that brings the example as `drift-1`."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("")
    (folder / package / "gate.py").write_text(drift or DRIFT.read_text())
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[greenlight.models]\ndrift-1 = {package}.gate:MODEL\n")


def with_installed(folder):
    own = {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", INSTALLED]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | own, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_package_brings_a_model_and_is_known_by_its_files(tmp_path):
    install(tmp_path, "theirs")
    said = with_installed(tmp_path)
    assert "'theirs/gate.py'" in said and "'theirs/__init__.py'" in said


def test_two_packages_that_bring_one_model_are_named(tmp_path):
    install(tmp_path, "theirs")
    install(tmp_path, "others")
    said = with_installed(tmp_path)
    assert "two installed packages bring a model 'drift-1'" in said and "theirs.gate" in said and "others.gate" in said


def jobs(config):
    settings = load_settings(config | {"symbols": ["A"]}, [])
    plan = Plan(settings, {"A": DRIFT}, "cpu", "cpu")
    return plan, dict(plan.all_jobs())


def test_its_code_is_its_file_and_what_it_imports_beside_it(plugin, tmp_path):
    (tmp_path / "helper.py").write_text("VALUE = 1")
    (tmp_path / "other.py").write_text("VALUE = 1")
    config = plugin(DRIFT.read_text() + "\n\ndef load():\n    import helper\n")
    (file,) = tmp_path.glob("drift_1_*.py")
    before, was = jobs(config)
    (tmp_path / "other.py").write_text("VALUE = 2")
    file.write_text(file.read_text() + "# a comment\n")
    assert jobs(config)[1] == was
    (tmp_path / "helper.py").write_text("VALUE = 2")
    after, now = jobs(config)
    trials = {name for name in was if was[name]["code"] != now[name]["code"]}
    stages = ("compile", "predict", "probe", "call", "repeat", "time")
    assert trials == {name for name in was if name.split("/")[0] in stages}
    name = "predict/drift-1/plain-eager/0"
    assert code_changes(before.modules(was[name]), after.modules(now[name])) == ["file helper.py has changed"]


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (*DECILES, 0.95, 0.93), (0.0, *DECILES), (0.2, 0.1, *DECILES[2:])])
def test_quantiles_are_those_that_accuracy_is_measured_at(levels):
    with pytest.raises(ValueError, match="levels of quantiles"):
        Forecast(levels=levels)
