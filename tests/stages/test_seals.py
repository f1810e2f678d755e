"""Somebody else's results folder is code: its compile caches are not used, and its texts steer no terminal."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from greenlight.errors import UserError, shown
from greenlight.files import read_json, write_json
from greenlight.layout import Layout
from greenlight.run import seals
from greenlight.run.stages.compile_variant import compile_variant
from greenlight.run.trial import copy_own_cache
from greenlight.watch.caches import cache_digest

JOB = {"stage": "compile", "model": "toto", "variant": "static-default", "keep_trace": False}


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Become a user by name: each has written down what it compiled in a folder of its own."""

    def become(name):
        monkeypatch.setenv(seals.STATE, str(tmp_path / name))

    become("ada")
    return become


@pytest.fixture
def layout(tmp_path, user, monkeypatch):
    """A variant that Ada has compiled; what is compiled is a file."""
    monkeypatch.setattr("greenlight.run.stages.compile_variant.trial_request", lambda *_: {})

    def run(layout, job, module, request, *, cache):
        (cache / "inductor" / "ab").mkdir(parents=True)
        (cache / "inductor" / "ab" / "kernel.so").write_bytes(b"code")
        (cache / "tmp").mkdir()
        (cache / "tmp" / "header.gch").write_bytes(b"header")
        return {"kind": "ok", "sizes": {}}

    layout = Layout(tmp_path / "results")
    compile_variant(layout, JOB, argparse.Namespace(), run)
    return layout


def use(layout, tmp_path):
    copy_own_cache(layout, "toto", "static-default", tmp_path / "own")
    return sorted(path.name for path in (tmp_path / "own").rglob("*") if path.is_file())


def test_what_this_user_compiled_is_used_under_any_path(layout, tmp_path):
    assert use(layout, tmp_path) == ["header.gch", "kernel.so"]
    layout.root.rename(tmp_path / "moved")
    assert use(Layout(tmp_path / "moved"), tmp_path) == ["header.gch", "kernel.so"]


def test_what_another_user_compiled_is_not_used_and_is_stale(layout, tmp_path, user):
    record = read_json(layout.record("compile", "toto", "static-default"))
    assert seals.made_by_this_user(record["cache"]["sha256"])
    user("bob")
    assert not seals.made_by_this_user(record["cache"]["sha256"])
    with pytest.raises(UserError, match=r"was not made by this user.*--forcerun clear"):
        use(layout, tmp_path)
    assert not [path for path in (tmp_path / "own").rglob("*") if path.is_file()]


@pytest.mark.parametrize("part", ["inductor/ab/kernel.so", "tmp/header.gch", "inductor/new.so", "inductor/link.so"])
def test_a_cache_that_was_changed_is_not_used(layout, tmp_path, part):
    path = layout.cache("toto", "static-default") / part
    if part.endswith("link.so"):
        path.symlink_to(Path("/somewhere/evil.so"))
    else:
        path.write_bytes(b"other code")
    with pytest.raises(UserError, match="is not what its record describes"):
        use(layout, tmp_path)
    # Nor where the record was changed with it.
    record = layout.record("compile", "toto", "static-default")
    changed = read_json(record)
    changed["cache"]["sha256"] = cache_digest(layout.cache("toto", "static-default"))
    write_json(record, changed)
    with pytest.raises(UserError, match="was not made by this user"):
        use(layout, tmp_path)


@pytest.mark.parametrize("digest", [None, "", "../../x", "g" * 64, 7])
def test_no_name_of_a_file_comes_from_a_record(digest, user):
    seals.remember("0" * 64)
    assert seals.made_by_this_user("0" * 64) and not seals.made_by_this_user(digest)


def test_a_folder_that_others_may_write_to_proves_nothing(tmp_path, user):
    seals.remember("0" * 64)
    (tmp_path / "ada" / "caches").chmod(0o777)
    assert not seals.made_by_this_user("0" * 64)
    with pytest.raises(UserError, match=r"another user may write to it.*GREENLIGHT_STATE"):
        seals.remember("1" * 64)


def test_control_characters_are_shown_not_sent():
    text = "red \x1b[31m bell \x07 title \x1b]0;x\x07 turned \u202e line\nnext\ttab \x9b"
    assert shown(text) == ("red \\x1b[31m bell \\x07 title \\x1b]0;x\\x07 turned \\u202e line\nnext\ttab \\x9b")
