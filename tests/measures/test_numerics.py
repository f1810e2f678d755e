"""Probe arrays of a variant against float32 and float64: figures, places, and what can't be compared."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.measures.numerics import compare


def arrays(seed=0, noise=1e-6):
    rng = np.random.default_rng(seed)
    exact = rng.standard_normal((3, 5, 7))
    return exact, exact + noise * rng.standard_normal(exact.shape), exact + 2 * noise * rng.standard_normal(exact.shape)


def one(variant, reference, exact, **options):
    (entry,) = compare({"logits": variant}, {"logits": reference}, {"logits": exact}, **options)
    return entry


def test_errors_are_root_mean_squares_from_float64():
    exact, reference, variant = arrays()
    entry = one(variant, reference, exact, batch_size=3)

    assert entry["error_variant"] == pytest.approx(np.sqrt(np.mean((variant - exact) ** 2)))
    assert entry["error_reference"] == pytest.approx(np.sqrt(np.mean((reference - exact) ** 2)))
    assert entry["scale"] == pytest.approx(np.sqrt(np.mean(exact**2)))
    assert entry["max_abs"] == np.abs(variant - exact).max()
    assert (entry["windows"], entry["steps"], entry["elements"], entry["batch_size"]) == (3, 5, 105, 3)
    assert entry["finite"] and entry["problem"] == "" and entry["kind"] == "float"


def test_the_worst_place_is_named():
    exact, reference, variant = arrays()
    variant[2, 4, 1] += 1.0
    worst = one(variant, reference, exact, windows=["A/0", "A/1", "B/0"])["worst"]
    assert (worst["window"], worst["step"]) == ("B/0", 4)
    assert worst["value"] == variant[2, 4, 1] and worst["expected"] == exact[2, 4, 1]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_anywhere_is_never_agreement(which, value):
    found = [array.copy() for array in arrays()]
    found[which][1, 3, 2] = value
    exact, reference, variant = found
    entry = one(variant, reference, exact)
    assert not entry["finite"] and np.isnan(entry["error_variant"])
    assert (entry["worst"]["window"], entry["worst"]["step"]) == (1, 3)


def test_nan_everywhere_on_all_sides_is_not_agreement():
    nothing = np.full((2, 2, 2), np.nan)
    assert not one(nothing, nothing, nothing)["finite"]


def test_integers_are_compared_exactly_with_the_float32_reference():
    tokens = np.arange(24).reshape(2, 3, 4) + 10_000
    other = tokens.copy()
    other[1, 2, 3] += 1
    entry = one(other, tokens, tokens)
    assert (entry["kind"], entry["mismatches"]) == ("exact", 1)
    assert entry["worst"] == {"window": 1, "step": 2, "value": 10024.0, "expected": 10023.0}
    assert one(tokens, tokens, other)["mismatches"] == 0


def test_quantities_that_cannot_be_compared_are_entries_with_a_reason():
    exact, reference, variant = arrays()
    entries = compare(
        {"a": variant, "extra": variant, "shape": variant[:, :4], "kind": variant},
        {"a": reference, "gone": reference, "shape": reference, "kind": reference.astype(int)},
        {"a": exact, "gone": exact, "shape": exact, "kind": exact},
    )
    problems = {entry["quantity"]: entry["problem"] for entry in entries}
    assert problems["a"] == ""
    assert "variant lack" in problems["gone"]
    assert "reference and the float64 reference lack" in problems["extra"]
    assert "shapes differ" in problems["shape"] and "kinds differ" in problems["kind"]
    assert all(not entry["finite"] for entry in entries if entry["problem"])


@pytest.mark.parametrize("shape", [(0, 4, 2), (5,), (3, 0)])
def test_nothing_is_not_agreement(shape):
    nothing = np.zeros(shape)
    entry = one(nothing, nothing, nothing)
    assert not entry["finite"] and "is not [windows, steps, ...]" in entry["problem"]


def test_equal_arrays_have_no_error_at_any_size():
    for size in (1e-300, 1.0, 1e300):
        exact = np.full((1, 2, 3), size)
        entry = one(exact, exact, exact)
        assert entry["error_variant"] == 0.0 and entry["scale"] == pytest.approx(size)
