"""The configuration: what is refused, and in which words."""

from __future__ import annotations

import importlib
import json
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from greenlight.errors import UserError
from greenlight.files import json_text
from greenlight.plugins import model_of
from greenlight.settings import load_settings, schema
from greenlight.variants import Variant

ROOT = Path(__file__).parents[1]


def shipped(name="config.yaml"):
    return yaml.safe_load((ROOT / "config" / name).read_text())


def merged(base, changes):
    result = deepcopy(base)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def test_the_shipped_configuration_is_valid():
    settings = load_settings(shipped(), ["config/config.yaml"])
    assert [name for name, _ in settings.models.items()] == ["toto", "kronos"]


def test_full_configuration_names_every_implementation_in_every_mode():
    settings = load_settings(merged(shipped(), shipped("full.yaml")), ["config/full.yaml"])
    for name, model in settings.models.items():
        own = {Variant.parse(variant).implementation for variant in model_of(name).variants_of(model)}
        assert len(model.variants) == 4 * len(own)


@pytest.mark.parametrize("key", ["pairs", "control_pairs"])
def test_fewer_pairs_than_a_verdict_needs_are_refused(key):
    """With them no variant but the reference could ever pass, and a run would say so only at its end."""
    few = merged(shipped(), {"timing": {"processes": 2, key: 4}})
    with pytest.raises(UserError, match=rf"timing.{key}.* 8.*rules.speed.minimum_{key} asks for 10"):
        load_settings(few, ["config/config.yaml"])
    load_settings(merged(few, {"timing": {"processes": 3}}), ["config/config.yaml"])


@pytest.mark.parametrize(("processes", "pairs", "left"), [(1, 15, 7), (2, 7, 7)])
def test_pairs_of_which_too_few_are_left_to_confirm_a_choice_are_refused(processes, pairs, left):
    few = merged(shipped(), {"timing": {"processes": processes, "pairs": pairs, "control_pairs": 10}})
    with pytest.raises(UserError, match=rf"timing.pairs {pairs} .* leave {left} pairs .* takes 8"):
        load_settings(few, ["config/config.yaml"])
    load_settings(merged(few, {"timing": {"pairs": pairs + 1}}), ["config/config.yaml"])


def test_null_on_the_command_line_is_null():
    """Snakemake's own parser gives every word there as text."""
    without = load_settings(merged(shipped(), {"models": {"kronos": "null"}}), ["config/config.yaml"])
    assert [model for model, _ in without.models.items()] == ["toto"]


def test_production_is_refused_until_revisions_are_pinned():
    production = merged(shipped(), shipped("production.yaml"))
    with pytest.raises(UserError, match="revision must pin its commit"):
        load_settings(production, ["config/production.yaml"])
    pinned = {"revision": "0" * 40}
    production = merged(production, {"models": {"toto": pinned, "kronos": pinned | {"tokenizer_revision": "1" * 40}}})
    assert load_settings(production, []).models.toto.revision == "0" * 40


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"evalution": {}}, ["evalution", "did you mean 'evaluation'"]),
        ({"evaluation": {"horizn": 3}}, ["evaluation.horizn", "did you mean 'horizon'", "Correct or remove"]),
        ({"evaluation": {"horizon": "x"}}, ["evaluation.horizon", "integer", "'x'"]),
        ({"evaluation": {"horizon": 0}}, ["evaluation.horizon", "greater than or equal to 1", "found 0"]),
        ({"models": {"tto": {}}}, ["models.tto", "did you mean 'toto'"]),
        ({"models": {"toto": None, "kronos": None}}, ["models", "names no model"]),
        (
            {"models": {"toto": {"variants": ["static-defualt", "upstream-eager"]}}},
            ["models.toto.variants", "'static-defualt'", "did you mean 'static-default'"],
        ),
        ({"models": {"toto": {"variants": ["upstream-fast"]}}}, ["unknown variant 'upstream-fast'"]),
        (
            {"models": {"toto": {"variants": ["upstream-eager", "static-default"], "reference": "upstream-eager"}}},
            ["models.toto", "'static-default' draws other random numbers", "add 'static-eager'"],
        ),
        ({"models": {"toto": {"deployed": "host-index-default"}}}, ["deployed: 'host-index-default'", "not among"]),
        ({"models": {"toto": {"reference": "static-default"}}}, ["must be an eager variant"]),
        (
            {"models": {"toto": {"variants": ["upstream-eager-tf32"], "reference": "upstream-eager-tf32"}}},
            ["'upstream-eager-tf32' computes in tf32", "eager variant in float32"],
        ),
        (
            {"models": {"toto": {"variants": ["upstream-eager", "static-default-bf16"]}}},
            ["'static-default-bf16' draws other random numbers", "add 'static-eager' to"],
        ),
        (
            {"models": {"kronos": {"variants": ["static-default-tf32"]}}},
            ["unknown variant", "known are upstream"],
        ),
        ({"models": {"toto": {"dtype": "bfloat16"}}}, ["models.toto.dtype", "such as static-default-bf16"]),
        ({"models": {"toto": {"source": "Datadog/Toto-Open-Base-1.0"}}}, ["pin its commit"]),
        ({"models": {"toto": {"revision": "0" * 40}}}, ["models.toto.source", "ships", "no revision"]),
        ({"models": {"kronos": {"tokenizer_revision": "0" * 40}}}, ["models.kronos.tokenizer: 'embedded' is"]),
        ({"symbols": []}, ["symbols", "names no symbol"]),
        ({"device": {"device": "gpu"}}, ["device.device", "gpu"]),
        ({"rules": {"severity": {"maee": "warn"}}}, ["rules.severity", "'maee'"]),
        ({"data": {"repair": {"gaps": "fill"}}}, ["data.repair.gaps", "'fill'"]),
    ],
)
def test_mistakes_name_the_key_and_what_was_expected(change, words):
    with pytest.raises(UserError) as caught:
        load_settings(merged(shipped(), change), ["config/config.yaml"])
    message = str(caught.value)
    assert "config/config.yaml" in message
    for word in words:
        assert word in message


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UserError) as caught:
        load_settings(merged(shipped(), {"threads": 0, "seed": -1}), [])
    assert "threads" in str(caught.value) and "seed" in str(caught.value)


def test_symbols_from_the_command_line():
    assert load_settings(merged(shipped(), {"symbols": "GOOG, SIM_TINY"}), []).symbols == ("GOOG", "SIM_TINY")


def test_the_shipped_schema_is_that_of_the_code():
    """`make schema` writes it."""
    assert json.loads((ROOT / "config" / "config.schema.json").read_text()) == json.loads(json_text(schema()))


def test_every_key_is_described():
    def undescribed(node, path=""):
        for name, child in node.get("properties", {}).items():
            target = node["$defs"].get(child.get("$ref", "").rpartition("/")[2], {}) if "$defs" in node else {}
            if not (child.get("description") or target.get("description") or "$ref" in child):
                yield f"{path}.{name}"

    whole = schema()
    missing = list(undescribed(whole))
    for name, definition in whole["$defs"].items():
        missing += undescribed(definition, name)
    assert not missing


@pytest.mark.parametrize("name", ["scale", "agreement"])
def test_benchmarks_ask_for_what_can_be_run(name):
    benchmark = importlib.import_module(f"tools.{name}")
    settings = load_settings(benchmark.CONFIG, [])
    assert settings.models.toto.reference in settings.models.toto.variants
