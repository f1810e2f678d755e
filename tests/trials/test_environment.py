"""What a shell has set steers no trial, and what the configuration sets does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from greenlight.errors import UserError
from greenlight.run.jobs import Plan
from greenlight.run.trial import trial_environment
from greenlight.settings import load_settings
from greenlight.trials.environment import dropped_words, steering
from greenlight.trials.runner import Limits, run_trial
from tests.children import python_path

SHELL = {
    "TORCHDYNAMO_DISABLE": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "TORCHDYNAMO_SUPPRESS_ERRORS": "1",
    "TORCHINDUCTOR_MAX_AUTOTUNE": "1",
    "NVIDIA_TF32_OVERRIDE": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "OMP_NUM_THREADS": "2",
    "OMP_PROC_BIND": "true",
    "MKL_NUM_THREADS": "2",
    "MKL_CBWR": "COMPATIBLE",
    "KMP_AFFINITY": "disabled",
    "PYTHONOPTIMIZE": "2",
    "LD_PRELOAD": "",
    "TOTO_COMPILE": "1",
    "SOMETHING_ELSE": "kept from trials too",
}


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """Run a small real trial from a shell that has SHELL set."""
    for name, value in SHELL.items():
        monkeypatch.setenv(name, value)

    def run(kind="ok", folder=Path(__file__).parent / "children", **configured):
        own = trial_environment(tmp_path / "cache", 1, configured) | python_path(folder)
        record = run_trial("steered", {}, folder=tmp_path / "trial", limits=Limits(120), environment=own)
        assert record["kind"] == kind, record
        return record, record["result"]

    return run


def test_nothing_of_the_shell_steers_a_trial(trial):
    record, seen = trial()
    assert (seen["threads"], seen["optimize"], seen["max_autotune"], seen["suppress_errors"]) == (1, 0, False, False)
    assert seen["graphs"] == 1 and seen["notes"] == []
    own = {name: value for name, value in seen["environment"].items() if name in SHELL}
    assert own == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    assert {"PATH", "TORCHINDUCTOR_CACHE_DIR"} <= set(seen["environment"])
    assert record["environment"]["OMP_NUM_THREADS"] == "1"


def test_what_is_configured_reaches_it_and_a_switch_is_named(trial):
    record, seen = trial(TORCHDYNAMO_DISABLE="1", OMP_NUM_THREADS="9")
    assert record["environment"]["TORCHDYNAMO_DISABLE"] == "1"
    assert seen["threads"] == 1, "threads are those of the configuration"
    assert seen["graphs"] == 0
    assert "TORCHDYNAMO_DISABLE=1" in seen["notes"][0]


def test_what_python_sets_at_its_start_stops_the_trial_unless_it_is_configured(trial, tmp_path):
    folder = tmp_path / "code"
    shutil.copytree(Path(__file__).parent / "children", folder)
    lines = "import os\nos.environ['TORCHINDUCTOR_MAX_AUTOTUNE'] = '1'\n"
    (folder / "sitecustomize.py").write_text(lines)

    record, _ = trial("not-as-planned", folder)
    assert "TORCHINDUCTOR_MAX_AUTOTUNE=1: set in the trial" in record["message"]
    assert "trials.environment" in record["message"] and "sitecustomize" in record["message"]
    record, seen = trial("ok", folder, TORCHINDUCTOR_MAX_AUTOTUNE="1")
    assert seen["max_autotune"] and record["environment"]["TORCHINDUCTOR_MAX_AUTOTUNE"] == "1"
    (folder / "sitecustomize.py").write_text(lines + "os.environ['OMP_NUM_THREADS'] = '2'\n")
    record, _ = trial("not-as-planned", folder, TORCHINDUCTOR_MAX_AUTOTUNE="1")
    assert record["message"].startswith("OMP_NUM_THREADS=2: set in the trial")


def test_what_is_dropped_is_said(monkeypatch):
    names = steering({**SHELL, "PATH": "/bin", "EDITOR": "vi", "CUDA_VISIBLE_DEVICES": "0"})
    assert {"TORCHDYNAMO_DISABLE", "NVIDIA_TF32_OVERRIDE", "PYTHONOPTIMIZE", "MKL_CBWR", "TOTO_COMPILE"} <= set(names)
    assert not {"PATH", "EDITOR", "CUDA_VISIBLE_DEVICES", "SOMETHING_ELSE"} & set(names)
    said = dropped_words(names, {"MKL_CBWR": "COMPATIBLE"})
    assert "TORCHDYNAMO_DISABLE" in said and "trials.environment" in said
    assert "MKL_CBWR" not in said and "OMP_NUM_THREADS" not in said
    assert dropped_words(["OMP_NUM_THREADS"], {}) == ""


def jobs(**environment):
    config = {"models": {"kronos": {}}, "trials": {"environment": environment}}
    return dict(Plan(load_settings(config, []), {"A": Path(__file__)}, "cpu", "cpu").all_jobs())


def test_what_is_configured_is_part_of_every_trial_and_of_the_decision():
    before, after = jobs(), jobs(KMP_BLOCKTIME=0)
    changed = {name.split("/")[0] for name in before if before[name] != after[name]}
    assert {"compile", "predict", "probe", "time", "judge"} <= changed
    assert not {"prepare", "weights"} & changed
    assert after["predict/kronos/static-default/0"]["environment"] == {"KMP_BLOCKTIME": "0"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OMP_NUM_THREADS", "4", "set by Greenlight itself"),
        ("TORCHINDUCTOR_CACHE_DIR", "/tmp", "set by Greenlight itself"),
        ("TOTO_COMPILE", "1", "deploy.env"),
        ("two words", "1", "name of a variable"),
        ("1X", "1", "name of a variable"),
        ("X", "a\nb", "can be printed"),
    ],
)
def test_what_can_not_be_set_is_refused(name, value, words):
    with pytest.raises(UserError, match=words):
        jobs(**{name: value})
