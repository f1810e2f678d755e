"""The state of torch in which production calls: what is refused, what variants become, and what is set in a call."""

from __future__ import annotations

import threading

import pytest
import torch

from greenlight.errors import UserError
from greenlight.process import ProcessSettings, any_attention, process_of, stated_process
from greenlight.settings import load_settings

MODELS = {"toto": {"variants": ["upstream-eager", "upstream-default", "static-eager", "static-default"]}}
REDUCED = {"inference_mode": True, "autocast": "bfloat16", "matmul_precision": "high"}


def settings(process, models=MODELS):
    return load_settings({"models": models, "evaluation": {"call": {"process": process}}}, ["gate.yaml"])


@pytest.fixture(autouse=True)
def _torch_as_before():
    config, options = torch._inductor.config, ("coordinate_descent_tuning", "cpp.threads")
    kernels = ("flash_sdp", "mem_efficient_sdp", "math_sdp", "cudnn_sdp")
    before = {kernel: getattr(torch.backends.cuda, f"{kernel}_enabled")() for kernel in kernels}
    with config.patch({name: getattr(config, name) for name in options}):
        yield
    for kernel, enabled in before.items():
        getattr(torch.backends.cuda, f"enable_{kernel}")(enabled)


@pytest.mark.parametrize(
    ("process", "words"),
    [
        ({"autocast": "fp16"}, "process.autocast: Input should be 'float16' or 'bfloat16' .found 'fp16'"),
        ({"matmul_precision": "low"}, "process.matmul_precision: Input should be 'highest', 'high' or 'medium'"),
        (
            {"sdpa": ["flash", "flash"]},
            "process.sdpa: expected one or more of flash, efficient, math, cudnn, each once",
        ),
        ({"sdpa": []}, "process.sdpa: expected one or more"),
        ({"dynamo": {"recompile_limt": 3}}, "has no 'recompile_limt' .did you mean 'recompile_limit'"),
        ({"inductor": {"freezing": "yes"}}, "process.inductor: freezing is 'yes'; expected true or false"),
        ({"dynamo": {"recompile_limit": True}}, "recompile_limit is True; expected int"),
        ({"threads": 2}, "process.threads: unknown key"),
    ],
)
def test_what_can_t_be_set_is_refused_by_name(process, words):
    with pytest.raises(UserError, match=words):
        settings(process)


def test_by_default_nothing_is_set():
    found = settings({})
    assert found.evaluation.call.process.stated() == {} and found.evaluation.call.process.words() == ""
    assert found.models.toto.variants == tuple(MODELS["toto"]["variants"])


def test_each_variant_is_measured_in_the_process_precision_beside_the_eager_ones_in_float32():
    found = settings(REDUCED, {"toto": MODELS["toto"] | {"deployed": "upstream-default"}, "kronos": {}})
    suffix = "autocast-bf16-matmul-high"
    assert found.models.toto.variants == (
        "upstream-eager",
        f"upstream-eager-{suffix}",
        f"upstream-default-{suffix}",
        "static-eager",
        f"static-eager-{suffix}",
        f"static-default-{suffix}",
    )
    assert found.models.toto.deployed == f"upstream-default-{suffix}"
    assert found.models.toto.reference == "upstream-eager"
    # Of a model whose variants are not named, too.
    assert f"static-default-{suffix}" in found.models.kronos.variants
    assert "static-default" not in found.models.kronos.variants


def test_a_variant_in_another_precision_than_the_process_is_refused():
    models = {"toto": {"variants": ["upstream-eager", "upstream-default-tf32"]}}
    with pytest.raises(UserError, match="'upstream-default-tf32' computes in tf32, and evaluation"):
        settings(REDUCED, models)
    with pytest.raises(UserError, match="unknown variant 'upstream-fast'"):
        settings(REDUCED, {"toto": {"variants": ["upstream-eager", "upstream-fast"]}})


def test_a_call_is_made_in_the_state_and_leaves_nothing_behind():
    process = ProcessSettings(**REDUCED)
    for _ in range(2):
        with process.calling("cpu"):
            assert torch.is_inference_mode_enabled() and torch.is_autocast_enabled("cpu")
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
            assert torch.get_float32_matmul_precision() == "high"
            assert not list(process.differences()) and not list(process.differences_of_call("cpu"))
        assert not torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "highest"
    assert [said.split(",")[0] for said in process.differences_of_call("cpu")] == [
        "the call is made without autocast",
        "the call is made outside inference mode",
    ]
    assert next(process.differences()) == (
        "float32 products are at 'highest' here, and were at 'high' when it was judged"
    )


def test_the_one_switch_of_products_stays_until_the_last_of_several_calls_has_ended():
    process, within, ended, seen = ProcessSettings(matmul_precision="high"), threading.Event(), threading.Event(), []

    def longer():
        with process.calling("cpu"):
            within.set()
            ended.wait(10)
            seen.append(torch.get_float32_matmul_precision())

    thread = threading.Thread(target=longer)
    with process.calling("cpu"):
        thread.start()
        assert within.wait(10)
    ended.set()
    thread.join(10)
    assert seen == ["high"] and torch.get_float32_matmul_precision() == "highest"


def test_options_of_the_whole_process_are_set_and_what_is_not_so_is_named():
    process = ProcessSettings(inductor={"coordinate_descent_tuning": True, "cpp.threads": 3}, sdpa=("math",))
    assert len(list(process.differences())) == 3
    process.set_up()
    assert torch._inductor.config.coordinate_descent_tuning is True and torch._inductor.config.cpp.threads == 3
    assert not list(process.differences())
    with any_attention():
        assert torch.backends.cuda.flash_sdp_enabled()
    assert not torch.backends.cuda.flash_sdp_enabled() and torch.backends.cuda.math_sdp_enabled()
    torch._inductor.config.cpp.threads = 2
    assert list(process.differences()) == ["torch._inductor.config.cpp.threads is 2 here, and was 3 when it was judged"]
    gone = stated_process({"inductor": {"an_option_of_another_torch": 1}})
    assert list(gone.differences()) == [
        "torch._inductor.config.an_option_of_another_torch is unknown here, and was 1 when it was judged"
    ]


def test_what_is_stated_is_read_back_with_the_precision_of_the_variant():
    process = ProcessSettings(**REDUCED, dynamo={"recompile_limit": 9})
    again = process_of(process.beside_precision(), process.precision)
    assert again.stated() == process.stated() == stated_process(process.stated()).stated()
    assert process_of(process.beside_precision(), "float32").words() == (
        "inference mode, torch._dynamo.config.recompile_limit 9"
    )
    assert process_of({}, "tf32").stated() == process_of({}, "bf16").stated() == {}
