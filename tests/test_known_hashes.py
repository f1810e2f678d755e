"""Hashes of files that were hashed before: taken as known only while the file system shows no change."""

from __future__ import annotations

import os
import time

import pytest

from greenlight.files import KnownHashes, sha256_of, write_json


@pytest.fixture
def file(tmp_path):
    """A file that nothing has changed for a minute, as far as KnownHashes can see: the clock is a minute on."""
    path = tmp_path / "weights"
    path.write_bytes(b"one " * 1000)
    return path


@pytest.fixture
def later(monkeypatch):
    now = time.time_ns
    monkeypatch.setattr("greenlight.files.time.time_ns", lambda: now() + 60 * 10**9)


def remembered(file, tmp_path):
    """KnownHashes of a next process, with a wrong hash for the file: whoever gives it has not read the file."""
    first = KnownHashes()
    first.sha256(file)
    first.save(tmp_path / "hashes.json")
    kept = tmp_path / "hashes.json"
    kept.write_text(kept.read_text().replace(sha256_of(file), "remembered"))
    known = KnownHashes()
    known.load(kept)
    return known


def test_a_file_as_it_was_is_not_read_again(file, tmp_path, later):
    assert remembered(file, tmp_path).sha256(file) == "remembered"


def edit_and_restore_times(file):
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"two ")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(file):
    before = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"two " * 1000)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize(
    "change", [edit_and_restore_times, replace, lambda file: file.write_bytes(b"two"), lambda file: file.touch()]
)
def test_a_file_that_changed_is_read_again(file, tmp_path, later, change):
    known = remembered(file, tmp_path)
    change(file)
    assert known.sha256(file) == sha256_of(file)


def test_a_file_that_had_just_changed_is_read_again(file, tmp_path):
    """Within the grain of the file system's clock it may have changed once more."""
    assert remembered(file, tmp_path).sha256(file) == sha256_of(file)


@pytest.mark.parametrize("content", ["not JSON", "[]", '{"x": 1}'])
def test_what_can_t_be_read_is_not_used(file, tmp_path, content):
    (tmp_path / "hashes.json").write_text(content)
    known = KnownHashes()
    known.load(tmp_path / "hashes.json")
    assert known.sha256(file) == sha256_of(file)


def test_nothing_is_written_if_nothing_is_new(file, tmp_path, later):
    remembered(file, tmp_path)
    known = KnownHashes()
    known.load(tmp_path / "hashes.json")
    known.sha256(file)
    os.utime(tmp_path / "hashes.json", ns=(1, 1))
    known.save(tmp_path / "hashes.json")
    assert (tmp_path / "hashes.json").stat().st_mtime_ns == 1
    write_json(file, {})
    known.sha256(file)
    known.save(tmp_path / "hashes.json")
    assert (tmp_path / "hashes.json").stat().st_mtime_ns > 1
