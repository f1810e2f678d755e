"""Cache folders: emptied, copied and measured without touching anything else."""

import pytest

from greenlight.variants import MODES
from greenlight.watch.caches import cache_environment, cache_size, clear_cache, copy_cache
from greenlight.watch.modes import describe, same_as


def filled(folder):
    environment = cache_environment(folder)
    (folder / "inductor" / "ab").mkdir()
    (folder / "inductor" / "ab" / "kernel.so").write_bytes(b"x" * 100)
    (folder / "tmp" / "header.h.gch").write_bytes(b"y" * 1000)
    return environment


def test_environment_is_private_to_the_folder_and_exists(tmp_path):
    environment = cache_environment(tmp_path / "a")
    assert set(environment) == {"TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TMPDIR"}
    assert len(set(environment.values())) == 3
    for path in environment.values():
        assert path.startswith(str(tmp_path / "a")) and (tmp_path / path).is_dir()


def test_clear_counts_and_spares_what_is_not_a_cache(tmp_path):
    filled(tmp_path)
    (tmp_path / "mine.txt").write_text("keep")
    assert cache_size(tmp_path) == {"files": 2, "bytes": 1100}
    assert clear_cache(tmp_path) == {"files_removed": 2, "bytes_removed": 1100}
    assert cache_size(tmp_path) == {"files": 0, "bytes": 0}
    assert (tmp_path / "mine.txt").read_text() == "keep"
    assert clear_cache(tmp_path / "absent") == {"files_removed": 0, "bytes_removed": 0}


def test_clear_does_not_follow_a_link_out_of_the_folder(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("keep")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tmp").symlink_to(outside)
    clear_cache(tmp_path / "cache")
    assert (outside / "file").read_text() == "keep" and not (tmp_path / "cache" / "tmp").exists()


def test_copy_replaces_and_is_independent(tmp_path):
    filled(tmp_path / "a")
    filled(tmp_path / "b")
    (tmp_path / "b" / "inductor" / "old").write_text("old")
    assert copy_cache(tmp_path / "a", tmp_path / "b") == cache_size(tmp_path / "a")
    assert not (tmp_path / "b" / "inductor" / "old").exists()
    clear_cache(tmp_path / "a")
    assert (tmp_path / "b" / "tmp" / "header.h.gch").read_bytes() == b"y" * 1000
    assert not list((tmp_path / "b").glob(".*"))


def test_modes_that_are_the_same():
    assert same_as("reduce-overhead", "cpu").startswith("default: ")
    assert same_as("reduce-overhead", "cuda:0") is None
    assert same_as("default", "cpu") is None and same_as("max-autotune", "cpu") is None
    assert same_as("max-autotune", "cpu", {"engaged": False}).startswith("default: ")
    assert same_as("max-autotune", "cpu", {"engaged": True}) is None
    assert same_as("max-autotune", "cuda", {"engaged": False}) is None


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_has_words(mode):
    assert describe(mode, "cpu") and describe(mode, "cuda:0")
