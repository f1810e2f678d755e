"""The call as production makes it: what a call job found, and what the gate says of it."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.reading import record_file
from greenlight.judgement.rules import Rules
from greenlight.judgement.scope import scope_words
from greenlight.measures.numerics import compare
from tests.judgement.effects import Effects
from tests.judgement.evidence_builder import Run, reseal

VARIANT = "upstream-default"
SHAPES = [[64, 8, 1, 16], [96, 8, 1, 16], [64, 8, 4, 16]]
MODELS = {
    "kronos": {"upstream-eager": {"coupled_with_reference": True}, VARIANT: {"coupled_with_reference": True}},
}


def quantities(batch, error=1.1e-7):
    """Of the first and last windows of a call."""
    rng = np.random.default_rng(3)
    exact, noise = rng.standard_normal((2, min(batch, 4), 4, 300))
    arms = ({"logits": exact * (1 + size * noise)} for size in (error, 1e-7))
    return compare(*arms, {"logits": exact}, windows=[f"PRACTICE{n}/0" for n in range(4)], batch_size=batch)


def good():
    """What a variant leaves that is called in three shapes, by two threads (in its probe), and 60 times."""
    first = {"seconds": 9.0, "compiled": 2, "graphs_run": 3, "guard": ""}
    again = first | {"seconds": 0.01, "compiled": 0}
    names = ("context", "horizon", "batch", "samples")
    agreement = {"paths": 100, "parted": 0, "farthest": 1e-8}
    shape = {"first": first, "again": again, "agreement": agreement}
    return {
        "eager": "upstream-eager",
        "shapes": [
            dict(zip(names, sizes, strict=True)) | copy.deepcopy(shape) | {"quantities": quantities(sizes[2])}
            for sizes in SHAPES
        ],
        "limit_hits": [],
        "together": {
            "threads": 2,
            "calls": 16,
            "shares_generator": False,
            "numerics_apart": None,
            "differing": 0,
            "paths": 0,
            "parted": 0,
            "farthest": 0.0,
            "errors": [],
            "compiled": 0,
            "seconds_alone": [0.01] * 16,
            "seconds_together": [0.015] * 16,
            "wall_seconds": 0.13,
        },
        "soak": {
            "calls": 60,
            "changed": 0,
            "compiled": 0,
            "calls_a_reading": 1,
            "seconds": [0.01] * 60,
            "memory_readings": [300 << 20] * 60,
            "device_memory_readings": [],
        },
    }


def in_stages(found):
    """What the probe, and what the call job found, as effects."""
    return {
        "calls": {name: value for name, value in found.items() if name != "together"},
        "together": found["together"],
    }


def asking(variant, manifest, shapes=SHAPES, concurrency=2, calls=60):
    """Ask for threads in a variant's probe, and for a call job."""
    jobs = manifest["models"]["kronos"]["variants"][variant]["jobs"]
    jobs["probe"]["threads"] = concurrency
    jobs["call"] = {"key": "key", "call": {"shapes": shapes, "calls": calls}}


def verdict_of(folder, found, shapes=SHAPES, concurrency=2, calls=60, deployed=None):
    """The verdict on a run whose variant was called so."""

    effects = {("kronos", VARIANT): Effects(latency=0.7, **in_stages(found))}
    adjust = partial(asking, VARIANT, shapes=shapes, concurrency=concurrency, calls=calls)
    run = Run(models=MODELS, effects=effects, adjust=adjust, deployed={"kronos": deployed} if deployed else {})
    results = run.write(folder)
    return judge(load_evidence(results, load_expected(results / "expected.json")), Rules(), Baselines())


def judged(folder, found, **asked):
    """The checks of the variant, by name."""
    return {check.name: check for check in verdict_of(folder, found, **asked).checks if check.variant == VARIANT}


def test_what_holds_in_every_shape_and_thread_passes(tmp_path):
    checks = judged(tmp_path, good())
    assert {name: checks[name].status for name in ("shapes-stable", "concurrent-calls", "soak", "soak-drift")} == {
        "shapes-stable": "pass",
        "concurrent-calls": "pass",
        "soak": "pass",
        "soak-drift": "pass",
    }
    assert "6 frames compiled in the first pass, none in the second" in checks["shapes-stable"].reason
    assert checks["concurrent-calls"].details["throughput"] == pytest.approx(0.16 / 0.13)


def test_the_scope_names_shapes_and_threads_that_passed(tmp_path):
    scope = verdict_of(tmp_path, good()).scopes["kronos"]
    assert (scope["swept"], scope["threads"]) == (SHAPES, 2)
    assert scope_words(scope).endswith(
        "; numerics and recompiles in 3 shapes (contexts 64 to 96, horizons 8 to 8, windows in a call 1 to 4, "
        "samples 16 to 16); called from 2 threads at once"
    )


def test_the_scope_names_nothing_that_did_not_pass(tmp_path):
    found = good()
    found["together"]["errors"] = ["thread 0, call 0: RuntimeError: busy"]
    scope = verdict_of(tmp_path, found, deployed=VARIANT).scopes["kronos"]
    assert "threads" not in scope and scope["swept"] == SHAPES


def shape(number, part, **changes):
    def change(found):
        found["shapes"][number][part] |= changes

    return change


def numerics(found):
    found["shapes"][1]["quantities"] = quantities(1, error=1e-4)


def together(**changes):
    return lambda found: found["together"].update(changes)


def soak(**changes):
    return lambda found: found["soak"].update(changes)


GROWTH = [(300 << 20) + 200_000 * call for call in range(60)]
DEFECTS = {
    "a recompile in the second pass": (
        shape(2, "again", compiled=3, guard="L['n'] == 4"),
        "shapes-stable",
        "3 frames compiled anew in the second pass, in context 64, horizon 8, batch 4, 16 samples (last guard: L['n']",
    ),
    "a frame past its limit": (
        lambda found: found["limit_hits"].append({"function": "step", "file": "net.py", "line": 7}),
        "shapes-stable",
        "1 frame reached the recompile limit in the sweep and run eagerly: step, net.py:7",
    ),
    "a shape that is not compiled": (shape(1, "again", graphs_run=0), "shapes-stable", "it gave up compiling"),
    "numerics of one shape": (numerics, "shapes-stable", "context 96, horizon 8, batch 1, 16 samples: RMS error"),
    "forecasts of one shape": (
        shape(0, "agreement", parted=60, farthest=0.2),
        "shapes-stable",
        "60% of the sample paths differ from upstream-eager by more than 1% of the band, by up to 20% of the price",
    ),
    "some forecasts in every shape": (
        lambda found: [shape(number, "agreement", parted=9)(found) for number in range(3)],
        "shapes-stable",
        "9% of the sample paths of all shapes differ",
    ),
    "numerics of fewer windows": (
        lambda found: found["shapes"][2].update(quantities=quantities(2)),
        "evidence-call",
        "logits of 2 windows in a call of 2 in context 64, horizon 8, batch 4, 16 samples",
    ),
    "a shape that was left out": (lambda found: found["shapes"].pop(), "shapes-stable", "no evidence: 2 shapes of 3"),
    "a shape in place of another": (
        lambda found: found["shapes"][0].update(context=65),
        "shapes-stable",
        "no evidence",
    ),
    "forecasts that were not compared": (
        lambda found: found["shapes"][0].update(agreement=None),
        "shapes-stable",
        "was not compared with upstream-eager",
    ),
    "a race": (
        together(differing=7, paths=112, parted=80, farthest=0.03),
        "concurrent-calls",
        "7 of 16 calls of 2 threads on one object give other forecasts than one by one",
    ),
    "a race where threads share the generator": (
        together(differing=16, paths=256, parted=100, farthest=0.4, shares_generator=True, numerics_apart=0.0),
        "concurrent-calls",
        "forecast something else than one by one",
    ),
    "numerics of threads": (
        together(differing=16, paths=256, shares_generator=True, numerics_apart="NaN"),
        "concurrent-calls",
        "the numerics of 2 threads on one object differ",
    ),
    "numerics of threads that were not compared": (
        together(differing=16, paths=256, shares_generator=True),
        "concurrent-calls",
        "no evidence: numerics of threads were not compared",
    ),
    "a call that raises": (
        together(errors=["thread 1, call 0: RuntimeError: busy"]),
        "concurrent-calls",
        "raised: thread 1, call 0: RuntimeError: busy",
    ),
    "a compile in a thread": (together(compiled=2), "concurrent-calls", "2 frames compiled anew in other threads"),
    "fewer threads": (together(threads=3), "concurrent-calls", "no evidence: 2 threads were asked for, 3 called"),
    "no threads": (lambda found: found.update(together=None), "concurrent-calls", "none called"),
    "a leak": (soak(memory_readings=GROWTH), "soak", "in 60 calls memory grows by 195.3 KiB a call"),
    "a result that changes": (soak(changed=2), "soak", "2 of 60 calls give other forecasts than the first did"),
    "a compile in a soak": (soak(compiled=1), "soak", "1 frame compiled anew within 60 calls"),
    "a soak that was cut short": (soak(calls=59), "soak", "no evidence: 59 of 60 calls were made"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_stops_the_variant_by_name(tmp_path, name):
    change, check, words = DEFECTS[name]
    found = good()
    change(found)
    checks = judged(tmp_path, found)
    assert checks[check].status == "fail" and checks[check].blocking
    assert words in checks[check].reason
    others = {"shapes-stable", "concurrent-calls", "soak"} - {check}
    assert all(checks[other].status == "pass" for other in others)


def test_other_random_numbers_of_one_generator_are_no_race(tmp_path):
    found = good()
    found["together"] |= {"differing": 16, "paths": 256, "shares_generator": True, "numerics_apart": 0.0}
    check = judged(tmp_path, found)["concurrent-calls"]
    assert check.status == "pass" and "but for their random numbers" in check.reason


def test_time_that_drifts_only_warns(tmp_path):
    found = good()
    found["soak"]["seconds"] = [0.01] * 30 + [0.02] * 30
    checks = judged(tmp_path, found)
    assert (checks["soak-drift"].status, checks["soak"].status) == ("warn", "pass")
    assert "p50 10 ms in the first third of 60 calls, 20 ms in the last" in checks["soak-drift"].reason


def test_what_is_not_asked_for_is_not_measured(tmp_path):
    found = good() | {"shapes": [], "together": None, "soak": None}
    checks = judged(tmp_path, found, shapes=[], concurrency=1, calls=0)
    for name in ("shapes-stable", "concurrent-calls", "soak", "soak-drift"):
        assert checks[name].status == "not-measured" and not checks[name].blocking


def test_a_call_job_without_a_result_is_no_pass(tmp_path):
    found = good()
    del found["soak"]["changed"]
    checks = judged(tmp_path, found)
    assert checks["evidence-call"].status == checks["shapes-stable"].status == checks["soak"].status == "fail"
    assert checks["concurrent-calls"].status == "pass"


@pytest.mark.parametrize("first", ["signal", "ok"])
def test_threads_that_end_the_process_stop_the_variant_and_cost_no_other_evidence(tmp_path, first):
    """A probe that failed is run once more without them, and both trials are told; no other is run twice."""
    effects = {("kronos", VARIANT): Effects(latency=0.7)}
    results = Run(models=MODELS, effects=effects, adjust=partial(asking, VARIANT, shapes=[], calls=0)).write(tmp_path)

    def ended(record):
        before = {**record["trials"][0], "kind": first, "message": "ended by SIGSEGV"}
        record["trials"].insert(0, before if first == "ok" else before | {"result": None})

    reseal(results / record_file("probe", "kronos", VARIANT), ended)
    verdict = judge(load_evidence(results, load_expected(results / "expected.json")), Rules(), Baselines())
    checks = {check.name: check for check in verdict.checks if check.variant == VARIANT}
    stopped = {check.name for check in verdict.blocking("kronos", VARIANT)}
    assert {"concurrent-calls", "evidence-probe", "trials"} <= stopped and checks["numerics"].status == "pass"
    words = "1 of 8 trials failed: signal: ended by SIGSEGV" if first == "signal" else "more than expected"
    assert words in checks["trials"].reason
    assert ("the record holds 2 of 1 trials" in checks["evidence-probe"].reason) == (first == "ok")
    assert "2 threads were asked for, none called" in checks["concurrent-calls"].reason


@pytest.mark.parametrize("fault", ["numerics of a shape", "threads"])
def test_wrong_results_of_an_eager_partner_stop_what_is_paired_with_it_and_its_threads_do_not(tmp_path, fault):
    found = good() | {"eager": None}
    if fault == "threads":
        found["together"] |= {"errors": ["RuntimeError: no"]}
    else:
        found["shapes"][1]["quantities"] = quantities(SHAPES[1][2], error=1e-3)
    effects = {("kronos", "upstream-eager"): Effects(**in_stages(found)), ("kronos", VARIANT): Effects(latency=0.7)}
    results = Run(models=MODELS, effects=effects, adjust=partial(asking, "upstream-eager")).write(tmp_path)
    verdict = judge(load_evidence(results, load_expected(results / "expected.json")), Rules(), Baselines())

    stopped = {check.name for check in verdict.blocking("kronos", "upstream-eager")}
    held = {check.name: check.reason for check in verdict.blocking("kronos", VARIANT)}
    if fault == "threads":
        assert stopped == {"concurrent-calls"} and not held
    else:
        assert stopped == {"shapes-stable"} and list(held) == ["pairing-anchor"]
        assert "upstream-eager, which it is held to, fails shapes-stable" in held["pairing-anchor"]
