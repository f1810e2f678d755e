"""What separates failing from passing cases, told from records of cases; and the page that says it."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from greenlight.report.diagnosis import Step, conclude
from greenlight.report.render import markdown_page

DEVICE = Step("a tiny tensor operation on cuda:0", "device", "ok")
BLOCKING = "with CUDA_LAUNCH_BLOCKING=1"
MIB = 2**20


def alone(variant, kind="ok", model="toto", cache=None, **more):
    cache = cache or ("none" if variant.endswith("-eager") else "fresh")
    name = f"{model} {variant} alone"
    message = more.pop("message", "" if kind == "ok" else f"{kind} happened")
    return Step(name, "alone", kind, ((model, variant),), cache, message=message, **more)


def again(step, kind, way="again", **more):
    return replace(step, name=f"{step.name}, {way}", kind=kind, repeats=step.name, **more)


def several(group, kind="ok", entries=(("toto", "static-default"), ("kronos", "static-default")), **more):
    return Step(group, group, kind, entries, "fresh", message="" if kind == "ok" else f"{kind} happened", **more)


def compiler(kind="ok"):
    return Step("compiling a function of one line", "compiler", kind, cache="fresh")


def on_gpu(*held):
    return tuple({"what": f"step {n}", "done": True, "device_bytes": value * MIB} for n, value in enumerate(held))


def outcome(variant="static-default", model="toto", engaged=True, notes=(), **more):
    graphs = {"recordings": 0, "skips": []}
    health = {"engaged": engaged, "notes": list(notes), "graphs": int(engaged), "graph_breaks": []}
    health |= {"recompiles_after_warm_up": 0, "cuda_graphs": graphs}
    return {"model": model, "variant": variant, "overwrites": {"passed": True}, "health": health} | more


EAGER, BOTH = alone("static-eager"), (alone("static-default"), alone("static-default", model="kronos"))
FAILED = alone("static-default", "compile-error")
KEPT = alone("static-default", "signal", cache="kept")
CRASHED = alone("static-reduce-overhead", "launch-failure", readings=on_gpu(1))
OUT_OF_MEMORY = alone("static-default", "out-of-device-memory")
MODEL = alone("upstream-eager", "other")
ROUNDED = alone("static-eager-bf16", "other")


@pytest.mark.parametrize(
    ("steps", "cause", "words"),
    [
        ([EAGER, FAILED, again(FAILED, "compile-error")], "compilation",
         "toto static-default fails alone: compilation; static-eager passes"),
        ([EAGER, FAILED, again(FAILED, "compile-error"), compiler()], "compilation", "a function of one line compiles"),
        ([EAGER, FAILED, again(FAILED, "compile-error"), compiler("compile-error")], "compiler",
         "and so does compiling a function of one line: the compiler"),
        ([EAGER, FAILED, again(FAILED, "ok")], "flaky", "fails now and then"),
        ([EAGER, KEPT, again(KEPT, "signal"), again(KEPT, "ok", "with a fresh cache", cache="fresh")], "cache",
         "passes with a fresh cache, fails with the kept one: the cache"),
        ([EAGER, KEPT, again(KEPT, "ok"), again(KEPT, "ok", "with a fresh cache", cache="fresh")], "flaky",
         "now and then"),
        ([EAGER, KEPT, again(KEPT, "signal"), again(KEPT, "signal", "with a fresh cache", cache="fresh")],
         "compilation", "static-eager passes"),
        ([EAGER, alone("static-default"), CRASHED, again(CRASHED, "launch-failure")], "cuda-graphs", "CUDA graphs"),
        ([EAGER, alone("static-default"), replace(CRASHED, readings=())], "mode", "mode reduce-overhead"),
        ([EAGER, alone("static-default"), alone("static-reduce-overhead"), alone("static-max-autotune", "signal")],
         "autotuning", "autotuning; static-eager, static-default and static-reduce-overhead pass"),
        ([EAGER, CRASHED, again(CRASHED, "launch-failure"), again(CRASHED, "ok", BLOCKING, blocking=True)],
         "order", "passes with CUDA_LAUNCH_BLOCKING=1, fails without"),
        ([EAGER, OUT_OF_MEMORY], "memory", "memory; static-eager passes"),
        ([EAGER, alone("static-default", "time-out")], "time", "time; static-eager passes"),
        ([MODEL, again(MODEL, "other")], "model", "without compilation"),
        ([MODEL, EAGER], "implementation", "without compilation, static-eager passes: the implementation"),
        ([EAGER, ROUNDED], "precision", "without compilation, static-eager passes: bf16"),
        ([EAGER, alone("static-eager-bf16"), alone("static-default"), alone("static-default-bf16", "signal")],
         "compilation", "compilation; static-eager-bf16 passes, and so does static-default"),
        ([alone("upstream-eager", "missing-weights", message="no file here")], "set-up", "no file here"),
        ([FAILED], "unknown", "its eager variant was not examined"),
        ([replace(DEVICE, kind="launch-failure")], "device", "before any model is loaded"),
    ],
)  # fmt: skip
def test_what_separates_one_variant(steps, cause, words):
    found = conclude([DEVICE, *steps] if steps[0].group != "device" else steps)
    first = found.findings[0]
    assert first.cause == cause
    assert words in " ".join(first.sentences)
    assert first.advice and first.failing[0] == found.first.name
    assert first.kind == found.first.kind != "ok"


@pytest.mark.parametrize(
    ("steps", "cause", "words"),
    [
        ([several("together", "out-of-device-memory"), several("in-turn")], "memory",
         "each passes alone, together in one process they fail: memory; one after the other"),
        ([several("together", "launch-failure"), several("in-turn")], "interference", "something that they share"),
        ([several("together"), several("in-turn", "launch-failure")], "unloading",
         "each passes alone, one after the other in one process they fail"),
        ([several("together", "other"), several("in-turn", "other")], "interference", "they fail"),
        ([several("together", "other"), again(several("together"), "ok")], "flaky", "now and then"),
    ],
)  # fmt: skip
def test_what_separates_variants_in_one_process(steps, cause, words):
    found = conclude([DEVICE, EAGER, *BOTH, *steps])
    assert found.findings[0].cause == cause
    assert words in found.findings[0].sentences[0]


def test_nothing_failed():
    found = conclude([DEVICE, EAGER, *BOTH, several("together"), several("in-turn")])
    assert (found.first, found.findings, found.failed, found.examined) == (None, (), 0, 6)
    assert found.summary == "Nothing failed: all 6 cases passed."


def test_nothing_examined_is_no_pass():
    assert conclude([]).summary == "Nothing was examined."


def test_what_failed_first_and_the_same_cause_once():
    second = alone("static-max-autotune", "compile-error", message="another text")
    failed_first = replace(FAILED, failed_in="toto static-default: compile and first call")
    found = conclude([DEVICE, EAGER, failed_first, again(failed_first, "compile-error"), second])
    assert found.first == failed_first and (found.failed, found.examined) == (2, 4)
    assert "2 of 4 cases failed, first toto static-default alone: compile-error" in found.summary
    assert "compile and first call" in found.summary
    (finding,) = found.findings
    assert finding.failing == (failed_first.name, second.name) and len(finding.sentences) == 2


def test_failing_as_eager_does_is_not_compilation():
    eager = alone("static-eager", "out-of-host-memory")
    found = conclude([DEVICE, eager, alone("static-default", "out-of-host-memory")])
    assert {finding.cause for finding in found.findings} == {"memory"}
    assert any("as static-eager does: it is not compilation" in s for f in found.findings for s in f.sentences)


def test_a_blocking_repeat_names_the_true_place():
    blocking = again(CRASHED, "device-assert", BLOCKING, blocking=True, failed_in="2 more calls", message="index")
    found = conclude([DEVICE, EAGER, CRASHED, again(CRASHED, "launch-failure"), blocking])
    assert any("device-assert in 2 more calls, index" in one for one in found.findings[0].sentences)


def test_a_variant_that_only_seems_compiled_is_told():
    quiet = alone("static-default", outcomes=(outcome(engaged=False, notes=["TORCHDYNAMO_DISABLE is set"]),))
    found = conclude([DEVICE, EAGER, quiet])
    assert found.failed == 0 and found.findings[0].cause == "not-compiled"
    assert "TORCHDYNAMO_DISABLE is set" in found.findings[0].sentences[0]
    assert "nothing compiled ran" in quiet.note


def test_memory_that_unloading_does_not_give_back():
    kept = several("in-turn", outcomes=(outcome(released=False),))
    assert conclude([DEVICE, EAGER, *BOTH, kept]).findings[0].cause == "not-released"
    (finding,) = conclude([DEVICE, EAGER, *BOTH, several("in-turn", readings=on_gpu(0, 900, 700))]).findings
    assert finding.cause == "not-released" and "700 MiB of device memory" in finding.sentences[0]
    assert conclude([DEVICE, EAGER, *BOTH, several("in-turn", readings=on_gpu(0, 900, 8))]).findings == ()


def test_the_page_shows_errors_as_text():
    """Names and messages of a failure can hold anything; nothing of it becomes markup."""
    text = "<script>alert(1)</script> | [x](javascript:y) `` ``` \n# heading"
    readings = ({"what": "load <b>", "done": False, "seconds": 0.0, "host_bytes": 3 * MIB} | dict.fromkeys(
        ("device_bytes", "device_reserved_bytes", "device_free_bytes")),)  # fmt: skip
    step = replace(FAILED, message=text, traceback=text, log_tail=text, failed_in=text, readings=readings, log="a b/c")
    steps = [DEVICE, EAGER, step]
    held = {"pid": 7, "name": "<i>", "user": "|", "memory_bytes": 5 * MIB}
    gpu = {"index": 0, "name": "GPU", "memory_free_bytes": MIB, "memory_total_bytes": None}
    gpu |= {"utilization_percent": 0, "compute_mode": "default", "processes": [held]}
    document = {
        "started": "s", "ended": "e", "commit": "c", "device": "cuda:0", "device_name": "<u>",
        "device_state": {"available": True, "reason": "", "driver": "1", "devices": [gpu]},
        "not_run": [("x|y", "<z>")],
    }  # fmt: skip
    page = markdown_page("diagnosis.md.jinja", document=document, steps=steps, conclusion=conclude(steps))
    outside = [part for n, part in enumerate(page.split("````")) if n % 2 == 0]
    for tag in ("<script", "<b>", "<i>", "<u>", "<z>"):
        assert not any(tag in part for part in outside)
    assert "3 MiB" in page and "process 7" in page and "a%20b/c" in page
    rows = [line for line in page.splitlines() if line.startswith("| toto static-default alone | compile-error")]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 8
    assert asdict(step)["message"] == text
