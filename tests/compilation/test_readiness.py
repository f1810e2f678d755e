"""CUDA-graph readiness, on graphs that need no GPU."""

from pathlib import Path

import pytest
import torch

from greenlight.watch.health import HealthRecorder
from greenlight.watch.readiness import ReadinessRecorder

BUFFER = torch.ones(1, 8, 4)
STEP = torch.ones(1, 1, 4)


class StaticCache(torch.nn.Module):
    """A key cache as it should be: a buffer of fixed size and a position that is a tensor."""

    def __init__(self):
        super().__init__()
        self.register_buffer("keys", torch.zeros(1, 8, 4))

    def forward(self, step, position):
        self.keys.index_copy_(1, position, step)
        return self.keys @ step.transpose(1, 2)


def cache_as_argument(keys, step, position):
    keys.index_copy_(1, position, step)  # argument
    return keys @ step.transpose(1, 2)


def takes_item(x):
    return x[: int(x.sum().item())]  # item


def loops_over_items(x):
    for value in x:
        x = x * value.item()  # loop
    return x


def branches(x):
    if x.sum() > 0:  # branch
        return x + 1
    return x


def only_positive(x):
    return x[x > 0].sum()  # shape


def line_of(text, file=__file__):
    lines = Path(file).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {text}"))


def look(function, *arguments, calls=2, kernels=False, **configuration):
    with torch._dynamo.config.patch(**configuration), torch.no_grad():
        with ReadinessRecorder(kernels=kernels) as recorder:
            compiled = torch.compile(function)
            for _ in range(calls):
                compiled(*arguments)
        return recorder.record()


def test_static_cache_is_ready():
    record = look(StaticCache(), STEP, torch.tensor([2]))
    assert record == {"ready": True, "graphs": 1, "nodes": [], "mutated_inputs": [], "note": ""}


@pytest.mark.parametrize("kernels", [False, True])
def test_mutated_argument_is_named_with_its_line(kernels):
    # One small kernel is compiled sooner without the precompiled header.
    with torch._inductor.config.patch(cpp_cache_precompile_headers=False):
        record = look(cache_as_argument, BUFFER.clone(), STEP, torch.tensor([2]), kernels=kernels)
    assert record["ready"] is False and record["nodes"] == []
    assert [(Path(one["file"]).name, one["line"]) for one in record["mutated_inputs"]] == [
        (Path(__file__).name, line_of("argument"))
    ]


def test_marked_argument_is_static():
    keys = BUFFER.clone()
    torch._dynamo.mark_static_address(keys, guard=True)
    assert look(cache_as_argument, keys, STEP, torch.tensor([2]))["ready"] is True


@pytest.mark.parametrize(("function", "mark"), [(takes_item, "item"), (loops_over_items, "loop"), (branches, "branch")])
def test_value_taken_to_the_host_is_listed_with_its_line(function, mark):
    record = look(function, torch.ones(4))
    assert record["ready"] is False
    assert ("aten._local_scalar_dense", line_of(mark)) in [(one["operation"], one["line"]) for one in record["nodes"]]


def test_captured_item_is_a_node_of_the_graph():
    record = look(takes_item, torch.ones(4), capture_scalar_outputs=True)
    assert record["ready"] is False
    first = record["nodes"][0]
    assert "_local_scalar_dense" in first["operation"] and first["line"] == line_of("item")
    assert "graph break" not in first["reason"]


def test_shape_that_depends_on_data_is_listed():
    record = look(only_positive, torch.ones(4), capture_dynamic_output_shape_ops=True)
    assert record["ready"] is False and record["nodes"][0]["line"] == line_of("shape")


def test_nothing_compiled_is_not_ready():
    with ReadinessRecorder() as recorder:
        pass
    assert recorder.record()["ready"] is None and recorder.record()["note"]


def test_together_with_health():
    with HealthRecorder() as health, ReadinessRecorder() as readiness, torch.no_grad():
        torch.compile(lambda x: x @ x)(torch.eye(4))
    assert health.record()["graphs"] == 1 and readiness.record()["ready"] is True


def test_graph_from_a_cache_is_not_judged(tmp_path):
    function = torch.nn.Linear(4, 4)
    assert look(function, torch.eye(4), kernels=True)["ready"] is True
    torch.compiler.reset()
    again = look(function, torch.eye(4), kernels=True)
    assert again["ready"] is None and "cache" in again["note"]


def test_an_equal_graph_of_the_same_cold_program_is_told_so():
    layer = torch.nn.Linear(4, 4)
    with torch.no_grad(), ReadinessRecorder(kernels=True) as recorder:
        for _ in range(2):
            torch.compile(layer)(torch.eye(4))
            torch.compiler.reset()
    record = recorder.record()
    assert record["graphs"] == 1 and record["ready"] is None
    assert record["note"].startswith("1 of 2 graphs came from a cache") and "clear the cache" not in record["note"]


@pytest.mark.slow
def test_published_toto_takes_the_index_of_its_cache_to_the_host():
    toto = pytest.importorskip("toto.model.toto")
    import toto.model.util as util

    torch.manual_seed(0)
    model = toto.Toto(
        patch_size=8, stride=8, embed_dim=16, num_layers=2, num_heads=2, mlp_hidden_dim=32, dropout=0.0,
        spacewise_every_n_layers=2, scaler_cls="<class 'model.scaler.CausalPatchStdMeanScaler'>",
        output_distribution_classes=["<class 'model.distribution.MixtureOfStudentTsOutput'>"],
        output_distribution_kwargs={"k_components": 2}, use_memory_efficient_attention=False,
    ).model.eval()  # fmt: skip
    cache = model.allocate_kv_cache(1, 1, 64, torch.device("cpu"), torch.float32)
    series = torch.randn(1, 1, 16)
    mask, ids = torch.ones(1, 1, 16, dtype=torch.bool), torch.zeros(1, 1, 16)
    with ReadinessRecorder(kernels=False) as recorder, torch.no_grad():
        torch.compile(model.backbone)(series, mask, ids, cache, 16)
    record = recorder.record()
    assert record["ready"] is False
    source = Path(util.__file__)
    lines = source.read_text().splitlines()
    found = [one for one in record["nodes"] if one["file"] == str(source)]
    assert found and all(one["operation"] == "aten._local_scalar_dense" for one in found)
    assert any("_layer_cache_map[layer_idx].item()" in lines[one["line"] - 1] for one in found)


def test_a_frame_past_its_recompile_limit_is_in_no_cuda_graph():
    class Counts(torch.nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    record = look(Counts(), torch.ones(4), calls=12)
    assert record["ready"] is False and record["nodes"] == []
    assert "forward at" in record["note"] and "recompile" in record["note"]
