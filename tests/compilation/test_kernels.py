"""Kernels of a graph in one file: the same results, one library, found again in the cache; equal layers once."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenlight.trials.runner import Limits, run_trial
from greenlight.watch.caches import cache_environment
from greenlight_forecasters.engine.kernels import common_source, is_simple
from tests.children import python_path

SIMPLE = '\n#include <torch/csrc/inductor/cpp_prefix.h>\nextern "C"  void  kernel(const float* in_ptr0)\n{\n}\n'


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What a process with an empty cache reports, and what the next one does."""
    folder = tmp_path_factory.mktemp("layers")
    environment = cache_environment(folder / "cache") | python_path(Path(__file__).parent / "children")
    records = [
        run_trial("compile_layers", {}, folder=folder / name, environment=environment, limits=Limits(seconds=300))
        for name in ("cold", "warm")
    ]
    assert [record["kind"] for record in records] == ["ok", "ok"], records
    return [record["result"] for record in records]


def test_results_are_those_of_eager_mode(runs):
    for run in runs:
        assert run["error"] < 1e-5


def test_all_kernels_are_one_file_without_a_precompiled_header(runs):
    cold, _ = runs
    assert cold["files"] == 1
    assert cold["kernels"][0] >= 2
    assert len(cold["libraries"]) == 1
    assert cold["headers"] == 0


def test_four_equal_layers_are_one_in_the_source(runs):
    assert runs[0]["softmaxes"] == 1


def test_the_next_process_compiles_nothing(runs):
    cold, warm = runs
    assert cold["cache"]["fx_misses"] == 1
    assert warm["cache"]["fx_hits"] == 1
    assert warm["cache"]["fx_misses"] + warm["cache"]["fx_bypasses"] == 0
    assert warm["libraries"] == cold["libraries"]


def test_a_source_with_more_than_a_function_is_left_to_inductor():
    assert is_simple(SIMPLE)
    assert not is_simple(SIMPLE + SIMPLE)
    assert not is_simple(SIMPLE.replace("extern", "#include <mkl.h>\nextern"))
    assert not is_simple(SIMPLE.replace("kernel(", "other("))


def test_kernels_have_names_of_their_own():
    source = common_source([(("const float*",), SIMPLE), (("const float*",), SIMPLE)])
    for number in (0, 1):
        assert source.count(f"namespace kernel_{number} {{") == 1
        assert f'{{"kernel_{number}", ' in source
    assert 'extern "C"' not in source
    assert source.count("#include <torch/csrc/inductor/cpp_prefix.h>") == 1
