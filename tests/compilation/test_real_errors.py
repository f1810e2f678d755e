"""Errors as this torch really raises them are told by their kind."""

from pathlib import Path

import pytest
import torch

from greenlight.trials.kinds import classify_exception, exception_chain
from greenlight.trials.runner import Limits, run_trial
from greenlight.watch.caches import cache_environment
from tests.children import python_path


def kind_of(raising, *arguments):
    with pytest.raises(Exception) as caught, torch.no_grad():
        raising(*arguments)
    return classify_exception(list(exception_chain(caught.value)))


def compile_with(compiler, folder):
    """The record of a trial that compiles with a C++ compiler; what Inductor learns of it stays in the child."""
    environment = cache_environment(folder / "cache") | python_path(Path(__file__).parent / "children")
    return run_trial(
        "compile_with",
        {"compiler": str(compiler)},
        folder=folder,
        limits=Limits(seconds=120),
        environment=environment,
    )


def test_recompile_under_fail_on_recompile():
    compiled = torch.compile(lambda x: x @ x, backend="eager", dynamic=False)
    compiled(torch.eye(2))
    with torch.compiler.set_stance("fail_on_recompile"):
        kind, advice = kind_of(compiled, torch.eye(3))
    assert kind == "compile-error" and "failing guard" in advice


def test_backend_that_fails():
    def broken(graph, inputs):
        raise ValueError("no kernel for this")

    assert kind_of(torch.compile(lambda x: x @ x, backend=broken), torch.eye(2))[0] == "compile-error"


def test_backend_that_runs_out_of_device_memory():
    def greedy(graph, inputs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    found, _ = kind_of(torch.compile(lambda x: x @ x, backend=greedy), torch.eye(2))
    assert found == "out-of-device-memory"


@pytest.mark.slow
def test_compiler_that_is_not_there(tmp_path):
    record = compile_with("no-such-compiler", tmp_path)
    assert record["kind"] == "missing-dependency" and "C++ compiler" in record["advice"]


@pytest.mark.slow
def test_compiler_that_rejects_the_code(tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo "g++ (GCC) 13.2.0";; *) echo "x.cpp:1:1: error: no"; exit 1;; esac\n'
    )
    compiler.chmod(0o755)
    record = compile_with(compiler, tmp_path)
    assert record["kind"] == "compile-error" and "C++ compile error" in record["message"]
    assert "x.cpp:1:1: error: no" in record["traceback"]


def test_graph_break_under_fullgraph():
    def breaks(x):
        torch._dynamo.graph_break()
        return x

    assert kind_of(torch.compile(breaks, fullgraph=True), torch.eye(2))[0] == "compile-error"


def test_host_memory_of_the_allocator():
    assert kind_of(lambda: torch.empty(2**56, dtype=torch.uint8))[0] == "out-of-host-memory"


def test_cuda_without_cuda():
    if torch.backends.cuda.is_built():
        pytest.skip("about a torch without CUDA")
    assert kind_of(lambda: torch.ones(1, device="cuda"))[0] == "missing-dependency"


def test_weights_that_do_not_fit():
    module = torch.nn.Linear(2, 2)
    assert kind_of(module.load_state_dict, {"weight": torch.zeros(3, 3)})[0] == "missing-weights"
