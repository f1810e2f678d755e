"""After an edit, exactly the stages that use what was edited are stale: `snakemake -n` against a table."""

from __future__ import annotations

import json
import os
from copy import deepcopy

import pytest

from tests.workflow.project import copy_of

pytestmark = pytest.mark.slow

# What follows from a stage that runs again. Rules of shards and models carry their number or name.
JUDGING = {"diff", "judge", "report", "archive", "gate"}
SCORING = {"score_toto", "score_kronos", "expect"} | JUDGING
TRIALS = {"predict_0", "predict_1", "probe", "time"}
COMPILING = {"clear", "compile"} | TRIALS
TOTO = {"weights"} | COMPILING | {"score_toto", "expect"} | JUDGING
KRONOS = {"weights"} | (TRIALS - {"time"}) | {"score_kronos", "expect"} | JUDGING
EVERYTHING = COMPILING | SCORING
PACKAGE = "workflow/greenlight/"


def add_code(project, path):
    """A change that is code, but changes no result."""
    file = project.folder / PACKAGE / path
    file.write_text(file.read_text() + "\n_EDITED = True\n")


def edit_text(project, path, old, new):
    file = project.folder / path
    text = file.read_text()
    assert old in text, f"{path} has no {old!r}"
    file.write_text(text.replace(old, new, 1))


def configure(project, section, **changes):
    config = deepcopy(project.config)
    target = config
    for key in section:
        target = target.setdefault(key, {})
    target.update(changes)
    (project.folder / "small.json").write_text(json.dumps(config))


def touch_everything(project):
    for file in sorted(project.folder.rglob("*")):
        if file.is_file() and ".snakemake" not in file.parts:
            os.utime(file)


def change_last_row(project, symbol, keep_time=False):
    file = project.folder / "prices" / f"{symbol}.csv"
    before = file.stat()
    lines = file.read_text().rstrip("\n").split("\n")
    cells = lines[-1].split(",")
    lines[-1] = ",".join([*cells[:-1], str(int(float(cells[-1])) + 1)])
    file.write_text("\n".join(lines) + "\n")
    if keep_time:
        os.utime(file, (before.st_atime - 10_000, before.st_mtime - 10_000))


def rewrite_same_bytes(project, symbol):
    file = project.folder / "prices" / f"{symbol}.csv"
    file.write_bytes(file.read_bytes())


FIRST_SHARD = {"prepare_0", "predict_0", "probe", "time"} | SCORING
SECOND_SHARD = {"prepare_1", "predict_1"} | SCORING
EDITS = {
    "nothing": (lambda p: None, set()),
    "touch every file of the checkout": (touch_everything, set()),
    "a comment": (lambda p: edit_text(p, PACKAGE + "files.py", "import json", "import json  # a comment"), set()),
    "a docstring": (lambda p: edit_text(p, PACKAGE + "files.py", '"""Write UTF-8', '"""Writes UTF-8'), set()),
    "layout of the code": (lambda p: edit_text(p, PACKAGE + "models/base.py", "MODES = (", "MODES = \\\n    ("), set()),
    "same bytes, new time": (lambda p: rewrite_same_bytes(p, "SIM_00000"), set()),
    "an unknown environment variable": (lambda p: os.environ.__setitem__("GREENLIGHT_UNKNOWN", "1"), set()),
    "the engine of one model": (lambda p: add_code(p, "models/toto/upstream.py"), TOTO),
    "the engine of the other": (lambda p: add_code(p, "models/kronos/network.py"), KRONOS),
    "a metric": (lambda p: add_code(p, "measures/accuracy.py"), SCORING),
    "how checks are made": (lambda p: add_code(p, "judgement/decision.py"), JUDGING),
    "a check's threshold": (lambda p: configure(p, ["rules", "accuracy"], margin=0.02), JUDGING),
    "the report's template": (
        lambda p: edit_text(p, PACKAGE + "report/templates/report.md.jinja", "#", "##"),
        {"report", "archive", "gate"},
    ),
    "the archive": (lambda p: add_code(p, "stages/archive.py"), {"archive", "gate"}),
    "a symbol's last row, first shard": (lambda p: change_last_row(p, "SIM_00000"), FIRST_SHARD),
    "a symbol's last row, second shard": (lambda p: change_last_row(p, "SIM_00002"), SECOND_SHARD),
    "new bytes, older time": (lambda p: change_last_row(p, "SIM_00002", keep_time=True), SECOND_SHARD),
    "a symbol removed": (lambda p: (p.folder / "prices/SIM_00002.csv").unlink(), SCORING),
    "how prices are read": (lambda p: add_code(p, "data/reader.py"), {"prepare_0", "prepare_1"} | TRIALS | SCORING),
    "a repair rule": (
        lambda p: configure(p, ["data", "repair"], gaps="forward-fill"),
        {"prepare_0", "prepare_1"} | TRIALS | SCORING,
    ),
    "pairs of a timing": (lambda p: configure(p, ["timing"], pairs=11), {"time", "expect"} | JUDGING),
    "windows that are probed": (
        lambda p: configure(p, ["evaluation"], probe_windows=1),
        {"probe", "expect"} | JUDGING,
    ),
    "the deployed variant": (
        lambda p: configure(p, ["models", "toto"], deployed="static-default"),
        {"expect"} | JUDGING,
    ),
    "context length": (
        lambda p: configure(p, ["evaluation"], context_length=40),
        EVERYTHING | {"prepare_0", "prepare_1"},
    ),
    "the seed": (lambda p: configure(p, [], seed=8), EVERYTHING),
    "two swapped settings": (
        lambda p: configure(p, ["evaluation"], samples=2, windows_per_call=8),
        EVERYTHING,
    ),
    "a setting of one model": (
        lambda p: configure(p, ["models", "kronos"], temperature=0.9),
        {"predict_0", "predict_1", "probe", "score_kronos", "expect"} | JUDGING,
    ),
    "a deleted forecast": (
        lambda p: next(p.folder.glob("results/forecasts/model=kronos/**/symbol=SIM_00002/*.parquet")).unlink(),
        {"predict_1", "score_kronos"} | JUDGING,
    ),
    "a deleted report": (lambda p: (p.folder / "results/report.md").unlink(), {"report", "archive", "gate"}),
}


@pytest.fixture(scope="module")
def table(finished, tmp_path_factory):
    """A copy of the finished project, in which edits are made and undone."""
    project = copy_of(finished, tmp_path_factory.mktemp("stale") / "copy")
    project.failed = finished.read("verdict.json")["gate"] != "pass"
    return project


@pytest.mark.parametrize("name", EDITS)
def test_exactly_what_uses_it_is_stale(table, name, monkeypatch):
    edit, expected = EDITS[name]
    monkeypatch.delenv("GREENLIGHT_UNKNOWN", raising=False)
    kept = {file: file.read_bytes() for file in table.folder.rglob("*") if _is_source(file)}
    try:
        edit(table)
        stale = set(table.stale())
    finally:
        for file, content in kept.items():
            if not file.exists() or file.read_bytes() != content:
                file.write_bytes(content)
        os.environ.pop("GREENLIGHT_UNKNOWN", None)
    assert stale == expected | ({"gate"} if table.failed else set())


def _is_source(file):
    return file.is_file() and ".snakemake" not in file.parts and (
        "results" not in file.parts or (file.suffix in (".md", ".parquet") and "archive" not in file.parts)
    )  # fmt: skip
