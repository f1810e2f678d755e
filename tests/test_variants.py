"""Names of variants, and the order in which they are preferred."""

from __future__ import annotations

import pytest

from greenlight.plugins import model_of
from greenlight.variants import MODES, Variant


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("static-reduce-overhead", ("static", "reduce-overhead", "float32")),
        ("host-index-max-autotune-tf32", ("host-index", "max-autotune", "tf32")),
        ("static-eager-bf16", ("static", "eager", "bf16")),
    ],
)
def test_a_name_is_read_and_written(text, parts):
    variant = Variant.parse(text)

    assert (variant.implementation, variant.mode, variant.precision) == parts
    assert str(variant) == text


@pytest.mark.parametrize("text", ["static", "static-fast", "static-default-fp8", "-eager", "static-eager-float32"])
def test_another_name_is_refused_with_what_would_fit(text):
    with pytest.raises(ValueError, match=r"reduce-overhead.*-tf32 or -bf16"):
        Variant.parse(text)


def test_precision_weighs_more_than_mode():
    names = ["static-default-bf16", "static-max-autotune", "static-eager-tf32", "static-eager"]

    assert sorted(names, key=lambda name: Variant.parse(name).complexity) == [
        "static-eager",
        "static-max-autotune",
        "static-eager-tf32",
        "static-default-bf16",
    ]


def known(model):
    return model_of(model).variants_of(model_of(model).settings())


def test_every_known_variant_can_be_read():
    assert {Variant.parse(name).precision for name in known("kronos")} == {"float32", "bf16", "fp16"}
    assert {"upstream-eager-bf16", "static-eager-bf16"} <= set(known("kronos"))
    assert "static-eager-tf32" not in known("kronos")
    assert {f"static-{mode}-bf16" for mode in MODES} <= set(known("toto"))
    assert "upstream-eager-bf16" not in known("toto")
