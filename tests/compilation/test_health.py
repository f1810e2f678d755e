"""The self-test of compile health: one small function for each thing that the record must tell.

It is what shows that a new torch has changed underneath. The functions use matrix products only, which Inductor
hands to the library, so that no C++ compiler runs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from greenlight.trials.runner import Limits, run_trial
from greenlight.watch.caches import cache_environment
from greenlight.watch.health import HealthRecorder
from greenlight.watch.observer import InternalsMoved
from tests.children import python_path

X = torch.eye(4)


def watch(function, *calls, warm=None, **options):
    """The record of compiling `function` and calling it with each of `calls`; `warm` calls count as warm-up."""
    compiled = torch.compile(function, **options)
    with HealthRecorder() as recorder, torch.no_grad():
        for index, arguments in enumerate(calls or [(X,)]):
            if index == warm:
                recorder.end_of_warm_up()
            compiled(*arguments)
        if warm is not None and warm >= len(calls or [(X,)]):
            recorder.end_of_warm_up()
    record = recorder.record()
    json.dumps(record, allow_nan=False)
    return record


def line_of(text):
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {text}"))


def whole(x):
    return x @ x @ x


def plain_break(x):
    y = x @ x
    torch._dynamo.graph_break()  # plain
    return y @ x


def called_twice(x):
    return plain_break(x) @ plain_break(x)


def break_in_for(x):
    for _ in range(2):
        x = x @ x
        torch._dynamo.graph_break()  # for
    return x


def break_in_while(x):
    count = 0
    while count < 2:
        x = x @ x
        torch._dynamo.graph_break()  # while
        count += 1
    return x


def break_in_try(x):
    try:
        x = x @ x
        torch._dynamo.graph_break()  # try
    except ValueError:
        pass
    return x


def break_in_with(x):
    with open("/dev/null"):  # with
        return x @ x


def break_in_generator(x):
    def products():
        for _ in range(2):
            torch._dynamo.graph_break()  # generator
            yield x @ x

    return sum(products())


def branch_on_tensor(x):
    if x.sum() > 0:  # branch
        return x @ x
    return x


def item(x):
    return x @ x * float(x.sum().item())  # item


@torch.compiler.disable
def disabled(x):
    return x @ x


def calls_disabled(x):
    return disabled(x @ x) @ x  # disabled


class Layer(torch.nn.Module):
    def forward(self, x):
        torch._dynamo.graph_break()  # module
        return x @ x


def power(x, number):
    for _ in range(number):
        x = x @ x
    return x


BREAKS = [
    (plain_break, "plain", 0),
    (called_twice, "plain", 0),
    (break_in_for, "for", 1),
    (break_in_while, "while", 1),
    (break_in_try, "try", 1),
    (break_in_with, "with", 1),
    (break_in_generator, "generator", 1),
    (branch_on_tensor, "branch", 0),
    (item, "item", 0),
    (calls_disabled, "disabled", 0),
    (torch.nn.Sequential(torch.nn.Identity(), Layer()), "module", 0),
]


@pytest.mark.parametrize(("function", "mark", "eager"), BREAKS, ids=[f"{one[1]}-{i}" for i, one in enumerate(BREAKS)])
def test_each_break_is_told_once_with_its_line(function, mark, eager):
    backend = "eager" if mark in ("generator", "item", "branch") else "inductor"
    record = watch(function, (X,), (X,), backend=backend)
    assert [(Path(one["file"]).name, one["line"]) for one in record["graph_breaks"]] == [
        (Path(__file__).name, line_of(mark))
    ]
    assert record["graph_breaks"][0]["reason"]
    assert "torch_dynamo_resume" not in json.dumps(record)
    assert record["frames"]["eager"] == len(record["eager_frames"]) == eager
    if eager:
        assert "Unsupported" in record["eager_frames"][0]["reason"]


class GivesUp:
    """A forecaster that runs eagerly from the third call after warm-up on."""

    def __init__(self):
        self.calls, self.compiled = 0, torch.compile(whole)

    def forecast(self, x):
        self.calls += 1
        return (whole if self.calls > 3 else self.compiled)(x)


def test_forecasts_after_warm_up_that_run_no_graph_are_counted():
    forecaster = GivesUp()
    with HealthRecorder() as recorder, torch.no_grad():
        forecaster.forecast(X)
        recorder.end_of_warm_up(forecaster)
        for _ in range(5):
            forecaster.forecast(X)

    assert recorder.record()["forecasts"] == {"calls": 5, "idle": 3, "first_idle": 3, "fewest": 0, "most": 1}


def test_a_whole_graph():
    record = watch(whole, (X,), (X,), (X,), warm=1)
    assert record["graphs"] == 1
    assert record["frames"] == {"seen": 1, "compiled": 1, "eager": 0}
    assert record["graph_breaks"] == record["eager_frames"] == record["recompiles"] == []
    assert record["recompiles_after_warm_up"] == record["compilations_after_warm_up"] == 0
    assert record["engaged"] and record["calls"] == {"total": 3, "after_warm_up": 2}
    seconds = record["compile_seconds"]
    assert all(seconds[one] > 0 for one in ("dynamo", "aot_autograd", "inductor"))
    assert seconds["total"] == pytest.approx(seconds["dynamo"] + seconds["aot_autograd"] + seconds["inductor"])
    assert record["cache"]["fx_misses"] == 1 and record["cache"]["fx_hits"] == 0
    assert record["autotuning"]["engaged"] is False
    assert record["cuda_graphs"]["requested"] is False and record["cuda_graphs"]["engaged"] is None
    assert record["torch"] == torch.__version__


def test_recompile_names_the_guard():
    record = watch(power, (X, 1), (X, 2), warm=1)
    assert len(record["recompiles"]) == 1
    assert "number" in record["recompiles"][0]["guard"]
    assert record["recompiles"][0]["function"] == "power"
    assert record["recompiles_after_warm_up"] == 1 and record["recompile_limit_hits"] == []


def test_recompile_while_warming_up_does_not_count_against():
    record = watch(power, (X, 1), (X, 2), (X, 1), warm=2)
    assert len(record["recompiles"]) == 1 and record["recompiles_after_warm_up"] == 0


def test_new_frame_after_warm_up_is_a_compilation():
    record = watch(lambda x, deep: break_in_for(x) if deep else x @ x, (X, False), (X, True), warm=1)
    assert record["compilations_after_warm_up"] >= 1


@pytest.mark.parametrize("warm", [1, 11, 12])
def test_recompile_limit_is_told_and_counts_whenever_it_was_hit(warm):
    calls = [(X, number) for number in range(1, 13)]
    record = watch(power, *calls, warm=warm, dynamic=False, backend="eager")
    assert [one["function"] for one in record["recompile_limit_hits"]] == ["power"]
    assert "number" in record["recompile_limit_hits"][0]["reason"]
    assert len(record["recompiles"]) == 7  # the limit is 8 compiled versions
    assert record["recompiles_after_warm_up"] == (8 if warm == 1 else 1)
    assert record["frames"] == {"seen": 1, "compiled": 1, "eager": 1}
    assert record["graph_breaks"] == []


def test_compile_that_is_never_reached_is_not_engaged():
    module = torch.nn.Linear(4, 4)
    module.compile()
    with HealthRecorder() as recorder, torch.no_grad():
        module.forward(X)  # compile() replaces only what calling the module does
    record = recorder.record()
    assert record["frames"]["seen"] == 0 and record["graphs"] == 0 and not record["engaged"]


def test_compiled_but_never_called_is_not_engaged():
    with HealthRecorder() as recorder:
        torch.compile(whole)
    assert not recorder.record()["engaged"]


def test_frame_without_tensors_is_no_fallback():
    record = watch(lambda x: 3)
    assert record["frames"] == {"seen": 1, "compiled": 0, "eager": 0}
    assert record["graph_breaks"] == [] and not record["engaged"]


def test_force_eager_is_noted():
    with torch.compiler.set_stance("force_eager"):
        record = watch(whole)
    assert not record["engaged"] and "force_eager" in record["notes"][0]


def test_backend_that_fails_and_is_suppressed_is_an_eager_frame():
    def broken(graph, inputs):
        raise RuntimeError("no kernel for this")

    with torch._dynamo.config.patch(suppress_errors=True):
        record = watch(whole, backend=broken)
    assert record["frames"]["eager"] == 1 and "no kernel for this" in record["eager_frames"][0]["reason"]
    assert record["graph_breaks"] == [] and not record["engaged"]


def test_reset_in_between_loses_nothing():
    with HealthRecorder() as recorder, torch.no_grad():
        torch.compile(plain_break)(X)
        torch.compiler.reset()
        torch.compile(whole)(X)
    record = recorder.record()
    assert len(record["graph_breaks"]) == 1 and record["graphs"] == 3


def test_recorder_leaves_torch_as_it_was():
    from torch._inductor.output_code import CompiledFxGraph

    before = (CompiledFxGraph.__call__, CompiledFxGraph.post_compile, torch.cuda.CUDAGraph.replay)
    first = watch(whole)
    torch.compiler.reset()
    second = watch(whole)
    assert before == (CompiledFxGraph.__call__, CompiledFxGraph.post_compile, torch.cuda.CUDAGraph.replay)
    assert first["graphs"] == second["graphs"] == 1


@pytest.mark.parametrize(
    "moved", ["torch._inductor.compile_fx._compile_fx_inner", "torch._dynamo.convert_frame._compile"]
)
def test_a_torch_that_moved_its_internals_is_refused_and_left_as_it_was(monkeypatch, moved):
    from torch._inductor.output_code import CompiledFxGraph

    before = CompiledFxGraph.post_compile
    with monkeypatch.context() as changes:
        changes.delattr(moved)
        with pytest.raises(InternalsMoved, match=moved.rpartition(".")[2]), HealthRecorder():
            pass
    assert CompiledFxGraph.post_compile is before
    assert watch(whole)["graphs"] == 1


def test_only_one_recorder_at_a_time():
    with HealthRecorder(), pytest.raises(RuntimeError, match="another observer"), HealthRecorder():
        pass
    with HealthRecorder() as recorder:
        pass
    assert recorder.record()["frames"]["seen"] == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without CUDA")
def test_cuda_graphs_asked_for_without_cuda_are_told():
    graphs = watch(whole, mode="reduce-overhead")["cuda_graphs"]
    assert graphs["requested"] and not graphs["available"] and graphs["engaged"] is False
    assert graphs["recordings"] == 0 and graphs["replays"] is None
    assert "CUDA graphs need a CUDA device" in graphs["skips"][0]["reason"]


def test_a_skip_that_torch_reports_is_told_with_the_users_line():
    """Torch's own function, called as Inductor calls it: what a GPU run showed, without a GPU."""
    text = (
        'skipping cudagraphs due to mutated inputs (2 instances). Found from : \n File "/srv/m.py", line 60, in append'
    )
    with HealthRecorder() as recorder:
        torch._inductor.cudagraph_utils.log_cudagraph_skip_and_bump_counter(text)
    assert recorder.record()["cuda_graphs"]["skips"] == [
        {"reason": "mutated inputs (2 instances). At /srv/m.py:60, in append."}
    ]


def test_a_skip_that_torch_only_counts_is_told():
    with HealthRecorder() as recorder:
        torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] += 1
    assert recorder.record()["cuda_graphs"]["skips"] == [{"reason": "torch counted a skip and gave no reason"}]


def test_a_recording_is_counted():
    from torch._dynamo.callback import CallbackTrigger, callback_handler

    with HealthRecorder() as recorder:
        torch.compile(whole)(X)
        with callback_handler.install_callbacks(CallbackTrigger.CUDAGRAPH_RECORDING, "0/0"):
            pass
    assert recorder.record()["cuda_graphs"]["recordings"] == 1


def test_a_python_number_that_changes_is_a_recompile_with_its_guard():
    record = watch(power, (X, 1), (X, 2), (X, 3), warm=1)
    assert record["recompiles_after_warm_up"] == len(record["recompiles"]) > 0
    assert "number" in record["recompiles"][0]["guard"]


def test_autotuning_is_told_where_a_product_is_tuned():
    """Two computed operands of a batched product: the one thing that max-autotune tunes on a CPU."""

    def products(x):
        return (x * 2).bmm(x + 1)

    changes = {"cpp_cache_precompile_headers": False}
    with torch._inductor.config.patch(changes):
        record = watch(products, (torch.rand(2, 32, 32),), mode="max-autotune")
    assert record["autotuning"]["engaged"] is True and record["autotuning"]["operations"] >= 1


@pytest.mark.slow
def test_cache_hit_in_another_process(tmp_path):
    environment = cache_environment(tmp_path / "cache") | python_path(Path(__file__).parent / "children")
    records = [
        run_trial("compile_small", {}, folder=tmp_path / name, limits=Limits(seconds=120), environment=environment)
        for name in ("cold", "warm")
    ]
    assert [one["kind"] for one in records] == ["ok", "ok"], records
    cold, warm = (one["result"] for one in records)
    assert (cold["cache"]["fx_misses"], cold["cache"]["fx_hits"]) == (1, 0)
    assert (warm["cache"]["fx_misses"], warm["cache"]["fx_hits"]) == (0, 1)
    assert warm["cache"]["aot_hits"] == 1 and cold["cache"]["aot_misses"] == 1
    assert cold["engaged"] and warm["engaged"] and warm["graphs"] == 1
    # What was tuned when the cache was filled is not seen when it is read.
    assert cold["autotuning"]["engaged"] is False and warm["autotuning"]["engaged"] is None


@pytest.mark.parametrize("what", ["nothing", "compile", "inductor"])
def test_what_compiles_is_watched_from_its_import_on_and_is_not_imported_for_that(what, tmp_path):
    """Of a process that compiles nothing, torch's compiler is not even loaded; what compiles later is seen whole."""
    children = Path(__file__).parent / "children"
    command = [sys.executable, children / "late.py", what]
    environment = os.environ | cache_environment(tmp_path) | python_path(children)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    health, compiles = said["health"], what != "nothing"
    assert bool(said["loaded"]) is health["engaged"] is compiles
    counted = health["graphs"], health["calls"]["total"], health["frames"]["seen"]
    assert counted == ((4, 4, 2) if compiles else (0, 0, 0))
    assert [(one["function"], one["reason"][:30]) for one in health["graph_breaks"]] == (
        [("broken", "Call to `torch._dynamo.graph_b")] if compiles else []
    )
    assert health["recompiles_after_warm_up"] == (2 if compiles else None)
