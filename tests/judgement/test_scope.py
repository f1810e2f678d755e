"""The scope of a verdict: what the calls that it rests on asked for."""

from __future__ import annotations

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence, record_file
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from greenlight.judgement.scope import process_of_calls, scope_of, scope_words
from tests.judgement.evidence_builder import HORIZON, SAMPLES, Run, reseal

SCOPE = {"context_length": 64, "horizon": HORIZON, "samples": SAMPLES, "windows": [1, 4]}


def scopes(folder):
    expected = load_expected(folder / "expected.json")
    return judge(load_evidence(folder, expected), Rules(), Baselines()).to_dict()["models"]["toto"]["scope"]


def test_the_scope_is_what_the_judged_variant_ran_with(tmp_path):
    Run(deployed={"toto": "static-default"}).write(tmp_path)
    assert scopes(tmp_path) == SCOPE

    def smaller(record):
        record["trials"][0]["sizes"] = {"windows_per_call": 2, "timed_windows": 1}

    reseal(tmp_path / record_file("predict/0000", "toto", "static-eager"), smaller)
    assert scopes(tmp_path) == SCOPE, "of another variant"
    reseal(tmp_path / record_file("predict/0001", "toto", "static-default"), smaller)
    assert scopes(tmp_path) == SCOPE | {"windows": [1, 2]}, "one shard had to run with fewer"


def test_the_state_of_torch_that_calls_were_made_in_is_part_of_it(tmp_path):
    Run(deployed={"toto": "static-default"}).write(tmp_path)
    expected = load_expected(tmp_path / "expected.json")
    assert process_of_calls(expected, "static-default") == {}
    called = expected.model_copy(update={"process": {"inference_mode": True}})
    scope = judge(load_evidence(tmp_path, called), Rules(), Baselines()).scopes["toto"]
    assert scope == SCOPE | {"process": {"inference_mode": True}}
    assert scope_words(scope).endswith("; inference mode")
    assert process_of_calls(called, "static-default-autocast-fp16") == {
        "process": {"inference_mode": True, "autocast": "float16"}
    }


def test_a_model_that_gives_quantiles_names_no_samples(tmp_path):
    Run().write(tmp_path)
    expected = load_expected(tmp_path / "expected.json")
    levels = tuple(round(0.1 * number, 1) for number in range(1, 10))
    model = expected.models["toto"].model_copy(update={"levels": levels})
    scope = scope_of(expected.model_copy(update={"models": {"toto": model}}), "toto", {})
    assert "samples" not in scope
    assert scope_words(scope) == f"contexts of 64 rows, horizon {HORIZON}, 1 or 4 windows in a call"
